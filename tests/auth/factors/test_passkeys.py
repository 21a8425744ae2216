"""What is read of a browser's answer: every damage to it is a BadPasskey, never another error."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fido2 import cbor
from fido2.cose import ES256, CoseKey
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import Aaguid, AttestedCredentialData

from support.passkeys import ORIGIN, RP_ID, Passkey
from users.auth.factors import passkeys
from users.auth.factors.passkeys import BadPasskey, Site
from users.storage.models import SecondFactor

SITE = Site(RP_ID, ORIGIN)
RAW = bytes(range(32))
CHALLENGE = websafe_encode(RAW)
LONG = 60_000
BAD_TEXTS = {
    "empty": "",
    "not JSON": "{",
    "no object": "[]",
    "null": "null",
    "a number": "1e999",
    "deep": "[" * LONG,
    "deep objects": '{"response":' * 5000 + "1" + "}" * 5000,
    "a surrogate": '{"id": "\\ud800", "rawId": "\\ud800", "response": {}}',
}
BAD_BYTES = {
    "nothing": b"",
    "a byte": b"\xff",
    "deep": b"\x81" * LONG,
    "a huge length": b"\xbb" + b"\xff" * 8,
    "a huge text": b"\x7b" + b"\xff" * 8,
    "a list": cbor.encode([1, 2]),
    "a map": cbor.encode({1: 2}),
    "a text": cbor.encode("x" * LONG),
    "no utf-8": b"\x62\xff\xff",
    "JSON": b'{"type":"webauthn.get"}',
    "JSON of wrong types": b'{"type":[],"challenge":5,"origin":{}}',
}

BAD_PARTS: list[Any] = [1, [], {}, True, "é", "!", "AAAA", "=" * LONG]


@pytest.fixture
def passkey() -> Passkey:
    """A passkey as its user holds it."""
    return Passkey()


def added(passkey: Passkey) -> SecondFactor:
    """Return what is kept of the passkey."""
    secret, counter = passkeys.new_secret(SITE, RAW, passkey.made(CHALLENGE))
    return SecondFactor(secret=secret, counter=counter)


def with_part(answer: str, name: str, part: Any) -> str:
    """Return the answer with another value for this part of its response."""
    read = json.loads(answer)
    return json.dumps({**read, "response": {**read["response"], name: part}})


def flips(answer: str, name: str, step: int = 1) -> list[str]:
    """Return the answer with each `step`th byte of this part flipped in turn, and cut off at some of them."""
    whole = websafe_decode(json.loads(answer)["response"][name])
    spoilt = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(0, len(whole), step)]
    cut = [whole[:n] for n in range(0, len(whole), 10)]
    return [with_part(answer, name, websafe_encode(one)) for one in spoilt + cut]


@pytest.mark.parametrize("name", ["clientDataJSON", "authenticatorData", "signature"])
def test_damaged_signature(passkey: Passkey, name: str) -> None:
    """No byte of it can be another, or be missing: every second one is tried."""
    kept, right = added(passkey), passkey.signed(CHALLENGE)
    for answer in flips(right, name, step=2):
        with pytest.raises(BadPasskey):
            passkeys.take(SITE, [kept], RAW, answer)
    assert passkeys.take(SITE, [kept], RAW, right) is kept


def test_damaged_new_passkey(passkey: Passkey) -> None:
    """It is refused, or is another credential: nothing signs what an authenticator tells of itself."""
    kept = added(passkey)
    for answer in flips(passkey.made(CHALLENGE), "attestationObject", step=3):
        try:
            secret, _ = passkeys.new_secret(SITE, RAW, answer)
        except BadPasskey:
            continue
        assert secret[:32] == kept.secret[:32]


ACTS: list[Callable[[SecondFactor, str], object]] = [
    lambda _, answer: passkeys.new_secret(SITE, RAW, answer),
    lambda kept, answer: passkeys.take(SITE, [kept], RAW, answer),
]


@pytest.mark.parametrize("act", ACTS, ids=["new", "sign-in"])
def test_hostile_answers(passkey: Passkey, act: Callable[[SecondFactor, str], object]) -> None:
    """Whatever JSON, base64 or CBOR is sent."""
    kept = added(passkey)
    right = passkey.made(CHALLENGE) if act is ACTS[0] else passkey.signed(CHALLENGE)
    parts = list(json.loads(right)["response"])
    hostile = list(BAD_TEXTS.values())
    hostile += [with_part(right, name, websafe_encode(part)) for name in parts for part in BAD_BYTES.values()]
    hostile += [with_part(right, name, part) for name in parts for part in BAD_PARTS]
    hostile += [json.dumps({**json.loads(right), name: part}) for name in ("rawId", "id") for part in BAD_PARTS]
    for answer in hostile:
        with pytest.raises(BadPasskey):
            act(kept, answer)


@pytest.mark.parametrize(
    ("key", "credential_id"),
    [
        ({1: 2, 3: -65535, -1: 1, -2: b"x", -3: b"y"}, b"id"),  # RS1, with SHA-1
        ({1: 2, 3: 0}, b"id"),
        ({3: 99}, b"id"),
        ({3: "ES256"}, b"id"),
        ({1: 2, 3: -7, -1: 1, -2: bytes(LONG // 2)}, b"id"),
        (None, bytes(1024)),
    ],
)
def test_unusable_credential(passkey: Passkey, key: dict[int, object] | None, credential_id: bytes) -> None:
    """A key whose signatures cannot be checked would lock its user out; a huge one would fill the database."""
    public_key = passkey.credential().public_key if key is None else key
    told = bytes(Aaguid.NONE) + len(credential_id).to_bytes(2) + credential_id + cbor.encode(public_key)
    with pytest.raises(BadPasskey):
        passkeys.new_secret(SITE, RAW, passkey.made(CHALLENGE, credential=told))


def test_longest_credential(passkey: Passkey) -> None:
    """An id has 1,023 bytes at most (section 4)."""
    key: CoseKey = passkey.credential().public_key
    assert isinstance(key, ES256)
    told = AttestedCredentialData.create(Aaguid.NONE, bytes(1023), key)
    secret, _ = passkeys.new_secret(SITE, RAW, passkey.made(CHALLENGE, credential=told))
    assert passkeys.is_among(secret, [SecondFactor(secret=secret)])
    assert not passkeys.is_among(secret, [added(passkey)])


def test_made_for(passkey: Passkey) -> None:
    """A passkey works at the host name that it was made for, whatever the port."""
    kept = [added(passkey)]
    assert passkeys.made_for(Site(RP_ID, f"{ORIGIN}:8000"), kept) == kept
    assert passkeys.made_for(Site("enrol.example.com", ORIGIN), kept) == []
    assert passkeys.made_for(None, kept) == []
