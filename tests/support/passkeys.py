"""A software authenticator, as `navigator.credentials` of a browser has it, and passkeys added with it."""

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import sha256, websafe_encode
from fido2.webauthn import Aaguid, AttestedCredentialData, AuthenticatorData, CollectedClientData

from support.api import Answer
from support.factors import FACTOR, FACTORS
from support.visitors import Visitor, token_in

ORIGIN, RP_ID = "http://localhost", "localhost"  # where the visitors of the tests are
NEW, NEW_OPTIONS, OPTIONS = f"{FACTORS}/passkey", f"{FACTORS}/passkey/options", "/account/passkey-options"
PRESENT = AuthenticatorData.FLAG.UP


@dataclass
class Passkey:
    """A passkey that does as it is told: `origin`, `rp_id` and the rest can be wrong."""

    origin: str = ORIGIN
    rp_id: str = RP_ID
    counter: int = 0
    flags: AuthenticatorData.FLAG = PRESENT
    in_frame: bool = False
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def credential(self) -> AttestedCredentialData:
        """Return what the authenticator tells of the passkey when it is made."""
        public_key = ES256.from_cryptography_key(self._key.public_key())  # type: ignore[no-untyped-call]
        return AttestedCredentialData.create(Aaguid.NONE, self.credential_id, public_key)

    def made(self, challenge: str, *, kind: str = "webauthn.create", credential: bytes | None = None) -> str:
        """Return the JSON of a new passkey; `credential` in place of its own data."""
        told = self._told(AuthenticatorData.FLAG.AT, credential or self.credential())
        attestation = {"fmt": "none", "attStmt": {}, "authData": told}
        return self._answer(self._client_data(kind, challenge), attestationObject=cbor.encode(attestation))

    def signed(self, challenge: str, *, kind: str = "webauthn.get") -> str:
        """Return the JSON of a signature of the challenge."""
        told, client_data = self._told(), self._client_data(kind, challenge)
        signature = self._key.sign(told + sha256(client_data), ec.ECDSA(SHA256()))
        return self._answer(client_data, authenticatorData=told, signature=signature)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return CollectedClientData.create(kind, challenge, self.origin, self.in_frame)

    def _told(self, flags: AuthenticatorData.FLAG | int = 0, credential: bytes = b"") -> bytes:
        rp_id_hash = sha256(self.rp_id.encode())
        return bytes(rp_id_hash + bytes([self.flags | flags]) + self.counter.to_bytes(4) + credential)

    def _answer(self, client_data: bytes, **response: bytes) -> str:
        own_id = websafe_encode(self.credential_id)
        parts = {name: websafe_encode(part) for name, part in {"clientDataJSON": client_data, **response}.items()}
        return json.dumps({"id": own_id, "rawId": own_id, "type": "public-key", "response": parts})


def options_in(visitor: Visitor, path: str, page: str) -> dict[str, Any]:
    """Return the options that the script gets at `path` for the form on `page`."""
    answer = visitor.client.post(path, data={"csrf_token": visitor.token(page)})
    assert (answer.status_code, answer.mimetype) == (200, "application/json"), answer.text
    assert answer.json
    return dict(answer.json)


def add_passkey(visitor: Visitor, passkey: Passkey, name: str = "") -> Answer:
    """Add the passkey as the page does; the answer shows recovery codes if it is the first factor."""
    challenge = options_in(visitor, NEW_OPTIONS, NEW)["challenge"]
    return send_new(visitor, passkey.made(challenge), name=name)


def send_new(visitor: Visitor, credential: str, **more: str) -> Answer:
    """Send the form of a new passkey."""
    return visitor.client.post(NEW, data={"csrf_token": visitor.token(NEW), "credential": credential, **more})


def own_passkey(visitor: Visitor, **more: Any) -> Passkey:
    """Return a new passkey that counts: the first factor of the visitor."""
    passkey = Passkey(**more)
    done = activate(visitor, add_passkey(visitor, passkey))
    assert done.location == FACTORS, done.text
    return passkey


def activate(visitor: Visitor, shown: Answer) -> Answer:
    """Say on the page with the recovery codes that they are saved."""
    path = re.findall(r'action="(/account/factors/\w+/activate)"', shown.text)[0]
    return visitor.client.post(path, data={"csrf_token": token_in(shown)})


def challenge_for(visitor: Visitor, page: str = FACTOR) -> str:
    """Return a new challenge, as the script gets it at a sign-in, or on the page that confirms."""
    return str(options_in(visitor, OPTIONS, page)["challenge"])


def send_signed(visitor: Visitor, credential: str, page: str = FACTOR) -> Answer:
    """Send what a passkey signed, at a sign-in or on the page that confirms."""
    return visitor.client.post(page, data={"csrf_token": visitor.token(page), "credential": credential})


def use_passkey(visitor: Visitor, passkey: Passkey, page: str = FACTOR) -> Answer:
    """Sign a new challenge and send it."""
    return send_signed(visitor, passkey.signed(challenge_for(visitor, page)), page)
