"""Hashes of passwords: their cost, their input and their verification."""

import unicodedata

import argon2
import bcrypt
import pytest

from users.passwords import argon2id, foreign, policy
from users.passwords.argon2id import HashParameters
from users.passwords.hash_queue import HashQueue, Share
from users.passwords.hashing import Hasher, WrongPassword

cheap = Hasher(HashParameters(memory=8, time=1, lanes=1), HashQueue(1))


def hash_of(password: str, hasher: Hasher = cheap) -> str:
    """Return the hash of a password."""
    with hasher.place(Share.CREATE) as place:
        return place.hash(password)


def verify(stored: str | None, password: str, hasher: Hasher = cheap, make: str | None = None) -> str:
    """Return the hash to keep."""
    with hasher.place(Share.TYPED) as place:
        return place.verify(stored, password, make)


def test_default_parameters() -> None:
    """The default parameters are argon2-cffi's."""
    assert str(HashParameters()) == "m=65536,t=3,p=4"
    assert not HashParameters().below_floor()


@pytest.mark.parametrize(("memory", "time"), [(47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5)])
def test_floor(memory: int, time: int) -> None:
    """The floor is each of OWASP's configurations."""
    assert not HashParameters(memory, time, 1).below_floor()
    assert not HashParameters(memory, time, 4).below_floor()
    assert not HashParameters(memory + 1, time + 1, 1).below_floor()
    assert HashParameters(memory - 1, time, 1).below_floor()
    assert HashParameters(memory, time - 1, 1).below_floor()


@pytest.mark.parametrize(("memory", "time"), [(8, 1), (7167, 100), (2**22, 0)])
def test_below_floor(memory: int, time: int) -> None:
    """No other parameter compensates for too little memory or no pass."""
    assert HashParameters(memory, time, 1).below_floor()


def test_hash() -> None:
    """A hash is argon2id with the given parameters and its own salt."""
    first, second = (
        hash_of("correct horse", Hasher(HashParameters(memory=16, time=2, lanes=2), HashQueue(1))) for _ in range(2)
    )
    assert first.startswith("$argon2id$v=19$m=16,t=2,p=2$")
    assert first != second
    assert "correct horse" not in first


@pytest.mark.parametrize(
    ("typed", "typed_elsewhere"),
    [
        ("correct horse battery", "correct horse battery"),
        ("Zoë's password", "Zoe\u0308's password"),
        ("ｆｕｌｌｗｉｄｔｈ", "fullwidth"),
        ("ﬁfty ﬁshes", "fifty fishes"),
        (" spaces are kept ", " spaces are kept "),
    ],
)
def test_normal_form(typed: str, typed_elsewhere: str) -> None:
    """A password matches its hash from each keyboard."""
    stored = hash_of(typed)
    assert argon2.PasswordHasher().verify(stored, unicodedata.normalize("NFKC", typed_elsewhere))
    assert argon2.PasswordHasher().verify(hash_of(typed_elsewhere), unicodedata.normalize("NFKC", typed))


@pytest.mark.parametrize("other", ["correct horse", " correct horse battery", "Correct horse battery", ""])
def test_password_is_hashed_unchanged(other: str) -> None:
    """No password is trimmed, cut or case-folded before hashing."""
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(hash_of("correct horse battery"), other)


def test_longest_password() -> None:
    """Each byte of the longest password counts."""
    longest = "x" * policy.MAX_BYTES
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(hash_of(longest), longest[:-1] + "y")


def test_lone_surrogate() -> None:
    """argon2 cannot hash a lone surrogate, therefore the policy refuses it."""
    with pytest.raises(UnicodeEncodeError):
        hash_of("pass\ud800word")


@pytest.mark.parametrize("stored", ["", "plain text", "$2b$12$CjwKCAjw", "$argon2id$v=19$m=8,t=1,p=1$c2Fsd$ZGlnZXN0"])
def test_malformed_hash(stored: str) -> None:
    """No password matches a text that is no hash."""
    with pytest.raises(WrongPassword):
        verify(stored, "correct horse battery")


def test_verify_takes_the_same_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right and wrong passwords take the same hashes, at least at today's cost."""
    today = HashParameters(memory=64, time=2, lanes=1)
    costlier, made = Hasher(today, HashQueue(1)), []
    fitting, making = argon2id.is_hash_of, argon2id.hash_of

    def fits(known: str, password: bytes) -> bool:
        made.append(known.split("$")[3])
        return fitting(known, password)

    def make(password: bytes, parameters: HashParameters) -> str:
        made.append(str(parameters))
        return making(password, parameters)

    right, old = hash_of("correct horse battery", costlier), hash_of("correct horse battery")
    monkeypatch.setattr(argon2id, "is_hash_of", fits)
    monkeypatch.setattr(argon2id, "hash_of", make)
    for stored, work in [
        (None, [str(today)]),
        (right, [str(today)]),
        (old, ["m=8,t=1,p=1", str(today)]),
        ("$2b$12$CjwKCAjw", [str(today)]),  # no hash at all
    ]:
        made.clear()
        with pytest.raises(WrongPassword):
            verify(stored, "battery horse \ud800", costlier)
        assert made == work
        if stored in (right, old):
            made.clear()
            kept = verify(stored, "correct horse battery", costlier)
            assert made == work
            assert (kept == stored) is (stored == right)
            assert verify(kept, "correct horse battery", costlier) == kept


def test_repr_of_a_hasher() -> None:
    """A hasher shows neither password nor hash."""
    hash_of("correct horse battery")
    assert "correct horse" not in repr(vars(cheap))


def test_foreign_hash_takes_the_same_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that another system made costs itself and one of today's, and so does the decoy of its make."""
    done: list[str] = []
    matching, making, fitting = foreign.matches, argon2id.hash_of, argon2id.is_hash_of

    def match(text: str, password: str) -> bool:
        done.append(foreign.judge(text).make)
        return matching(text, password)

    def make(password: bytes, parameters: HashParameters) -> str:
        done.append("ours")
        return making(password, parameters)

    def fit(known: str, password: bytes) -> bool:
        done.append(known.split("$")[3])
        return fitting(known, password)

    monkeypatch.setattr(foreign, "matches", match)
    monkeypatch.setattr(argon2id, "hash_of", make)
    monkeypatch.setattr(argon2id, "is_hash_of", fit)
    bcrypt_08 = bcrypt.hashpw(b"correct horse battery", bcrypt.gensalt(8)).decode()
    argon2_i = argon2.PasswordHasher(1, 4096, 1, type=argon2.Type.I).hash("correct horse battery")
    argon2_id = argon2.PasswordHasher(1, 8, 1, hash_len=32).hash("correct horse battery")  # with today's parameters
    for known, made, work in (
        (bcrypt_08, "bcrypt-08", ["bcrypt-08", "ours"]),
        (argon2_i, "argon2i-4096-1-1", ["argon2i-4096-1-1", "ours"]),
        (argon2_id, "argon2id-8-1-1", ["m=8,t=1,p=1", "ours"]),
    ):
        done.clear()
        renewed = verify(known, "correct horse battery", make=made)
        assert done == work
        assert renewed != known
        assert verify(renewed, "correct horse battery") == renewed
        for stored in (known, None):
            done.clear()
            with pytest.raises(WrongPassword):
                verify(stored, "wrong horse battery", make=made)
            assert done == work


def test_decomposed_password_of_a_foreign_argon2id() -> None:
    """Other systems hash what was sent. Our own hash is always one of the normal form."""
    decomposed = unicodedata.normalize("NFD", "Zoë trinkt Kaffee")
    known = argon2.PasswordHasher(1, 8, 1, hash_len=32).hash(decomposed)
    with pytest.raises(WrongPassword):
        verify(known, decomposed)
    renewed = verify(known, decomposed, make="argon2id-8-1-1")
    assert verify(renewed, "Zoë trinkt Kaffee") == renewed


def test_too_long_for_a_foreign_hash() -> None:
    """No password of more than 1,024 bytes matches, also where the hash reads only its beginning."""
    known = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(8)).decode()
    assert verify(known, "x" * policy.MAX_BYTES, make="bcrypt-08")
    with pytest.raises(WrongPassword):
        verify(known, "x" * (policy.MAX_BYTES + 1), make="bcrypt-08")
