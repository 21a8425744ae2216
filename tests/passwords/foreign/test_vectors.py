"""Hashes made by the libraries themselves: see `make_vectors.py`."""

import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from users.field_errors import RowCode
from users.passwords import foreign
from users.passwords.foreign import NotKept

FILE = Path(__file__).with_name("vectors.json")
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
CHEAP = [one for one in VECTORS if one["make"] not in ("argon2id-65536-3-4", "scrypt-32768-8-1")]
each = pytest.mark.parametrize("vector", VECTORS, ids=[f"{one['maker']}-{one['make']}" for one in VECTORS])


@each
def test_vector(vector: dict[str, Any]) -> None:
    """A hash of a library is kept as it is, and its password alone matches."""
    kept = foreign.judge(vector["hash"])
    assert (kept.make, kept.text) == (vector["make"], vector["hash"])
    assert foreign.matches(kept.text, vector["password"])
    assert not foreign.matches(kept.text, f"{vector['password'].upper()}x"[-40:])


@each
def test_repr(vector: dict[str, Any]) -> None:
    """The answer of a judgement does not show the hash."""
    assert vector["hash"][-8:] not in repr(foreign.judge(vector["hash"]))


@each
def test_decoy(vector: dict[str, Any]) -> None:
    """For each make there is a hash of the same make that no password has."""
    decoy = foreign.decoy(vector["make"])
    assert decoy
    assert foreign.judge(decoy).make == vector["make"]
    assert not foreign.matches(decoy, vector["password"])


def test_unknown_make() -> None:
    """A make that a newer version has written has no decoy here."""
    assert foreign.decoy("yescrypt-7") is None


def code_of(text: str) -> RowCode | None:
    """Return the code with which a text is refused, None if it is kept."""
    try:
        foreign.judge(text)
    except NotKept as refusal:
        return refusal.code
    return None


@each
def test_damaged_by_one_character(vector: dict[str, Any]) -> None:
    """A character that is lost, doubled or another one is told, or gives a whole hash of another salt or cost."""
    text: str = vector["hash"]
    told = {RowCode.PASSWORD_HASH_INVALID, RowCode.PASSWORD_HASH_UNSUPPORTED}
    by_cost = {RowCode.PASSWORD_HASH_TOO_COSTLY, RowCode.PASSWORD_HASH_WEAK, None}
    for at in range(len(text)):
        lost, doubled = (code_of(text[:at] + put + text[at + 1 :]) for put in ("", 2 * text[at]))
        assert {lost, doubled} <= (told if vector["make"].startswith("bcrypt") else told | by_cost)
        assert code_of(f"{text[:at]}\x7f{text[at + 1 :]}") in told


@pytest.mark.parametrize("vector", CHEAP[::5], ids=lambda one: str(one["maker"]))
def test_another_character(vector: dict[str, Any]) -> None:
    """A hash with another last character is another hash, or the same by bits that say nothing."""
    text = vector["hash"]
    for end in "Ax0":
        at = -1 - text.endswith("=") - text.endswith("==")
        other = f"{text[:at]}{end}{text[at:][1:]}"
        try:
            kept = foreign.judge(other)
        except NotKept:
            continue
        assert isinstance(foreign.matches(kept.text, vector["password"]), bool)


def test_spare_bits() -> None:
    """The last characters of salt and digest have bits that say nothing. Some libraries set them."""
    text = next(one["hash"] for one in VECTORS if one["maker"] == "passlib bcrypt 2b")
    alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt, digest = (alphabet.index(text[at]) for at in (28, 59))
    assert (salt % 16, digest % 4) == (0, 0)
    spare = f"{text[:28]}{alphabet[salt + 15]}{text[29:59]}{alphabet[digest + 3]}"
    assert foreign.judge(spare).text == spare
    assert foreign.matches(spare, "correct horse battery")
    another = f"{text[:59]}{alphabet[(digest + 4) % 64]}"
    assert not foreign.matches(another, "correct horse battery")


def test_bcrypt_ends_after_72_bytes() -> None:
    """bcrypt itself reads no more: what stands behind is not looked at, as in the system that made the hash."""
    vector = next(one for one in VECTORS if one["make"] == "bcrypt-09")
    password = vector["password"]
    assert foreign.matches(vector["hash"], password[:72])
    assert foreign.matches(vector["hash"], password[:72] + "anything")
    assert not foreign.matches(vector["hash"], password[:71])


def test_nul_matches_nothing() -> None:
    """bcrypt in C ends at NUL: a password that begins alike must not match."""
    empty = next(one["hash"] for one in VECTORS if one["password"] == "")
    assert foreign.matches(empty, "")
    assert not foreign.matches(empty, "\0")
    assert not foreign.matches(empty, "\0rest")


def test_normal_form() -> None:
    """A password is tried as it was sent, and then in its normal form: a library hashed one of them."""
    vector = next(one for one in VECTORS if one["maker"] == "bcrypt" and "☕" in one["password"])
    assert foreign.matches(vector["hash"], unicodedata.normalize("NFD", vector["password"]))
    import bcrypt

    decomposed = unicodedata.normalize("NFD", "Zoë trinkt")
    as_sent = bcrypt.hashpw(decomposed.encode(), bcrypt.gensalt(8)).decode()
    assert foreign.matches(as_sent, decomposed)
    assert not foreign.matches(as_sent, "Zoë trinkt")


def test_lone_surrogate() -> None:
    """JSON can send half a character. It matches nothing, without an error."""
    for vector in CHEAP[:8]:
        assert not foreign.matches(vector["hash"], "\ud800")


def test_text_that_is_no_hash() -> None:
    """No password matches another text."""
    assert not foreign.matches("correct horse battery", "correct horse battery")
    assert not foreign.matches("$2b$08$short", "correct horse battery")


def test_judging_is_fast() -> None:
    """A million hashes are judged while an import runs: this is a small part of each row."""
    start = time.perf_counter()
    for _ in range(20):
        for vector in VECTORS:
            foreign.judge(vector["hash"])
    assert (time.perf_counter() - start) / (20 * len(VECTORS)) < 0.000_5
