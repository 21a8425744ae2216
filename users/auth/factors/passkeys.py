"""Passkeys as a second factor (W3C Web Authentication, level 3), by python-fido2, which takes a while to import.

`SecondFactor.secret` holds the SHA-256 of the relying party's id, then the credential (section 6.5.1).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from users.storage.models import SecondFactor, User

if TYPE_CHECKING:
    from fido2.server import Fido2Server
    from fido2.webauthn import AttestedCredentialData, CollectedClientData

CHALLENGE_BYTES = 32
CHALLENGE_LIFETIME = timedelta(minutes=5)
_HASH_BYTES = 32
_LONGEST_ID = 1023  # bytes of a credential's id (section 4)
_LONGEST = 8192  # bytes of a credential; the longest known public keys have 2.6 kB


@dataclass(frozen=True)
class Site:
    """Where passkeys are made for: the relying party's id, which is a host name, and the exact origin of the pages."""

    rp_id: str
    origin: str


class BadPasskey(Exception):
    """The browser's answer is not the signature that was asked for. `sign_count`: the counter has fallen back."""

    def __init__(self, *, sign_count: bool = False) -> None:
        super().__init__()
        self.sign_count = sign_count


def made_for(site: Site | None, passkeys: Sequence[SecondFactor]) -> list[SecondFactor]:
    """Return those of the passkeys that work at the site: a passkey is bound to the id of its relying party."""
    return [one for one in passkeys if site and one.secret[:_HASH_BYTES] == _hash_of(site)]


def creation_options(site: Site, user: User, passkeys: Sequence[SecondFactor], challenge: bytes, name: str) -> str:
    """Return the options with which the browser makes a passkey, as JSON. `name` is that of the service."""
    from fido2.webauthn import PublicKeyCredentialUserEntity, ResidentKeyRequirement, UserVerificationRequirement

    options, _ = _server(site, name).register_begin(
        PublicKeyCredentialUserEntity(id=user.id.encode(), name=user.email, display_name=user.email),
        _credentials(passkeys),
        resident_key_requirement=ResidentKeyRequirement.DISCOURAGED,
        user_verification=UserVerificationRequirement.DISCOURAGED,  # the password was asked for
        challenge=challenge,
    )
    return json.dumps(dict(options.public_key))


def new_secret(site: Site, challenge: bytes, answer: str) -> tuple[bytes, int]:
    """Return the secret and the counter of the passkey in the browser's answer. Raises BadPasskey."""
    from fido2.cose import CoseKey
    from fido2.webauthn import RegistrationResponse

    try:
        response = RegistrationResponse.from_dict(json.loads(answer))
        _refuse_other_pages(response.response.client_data)
        made = _server(site).register_complete(_state(challenge), response)
        credential, counter = made.credential_data, made.counter
        algorithm = credential.public_key[3]  # type: ignore[union-attr]  # fido2 has seen to it
    except Exception:  # a hostile answer can be anything, and fido2 raises whatever then happens
        raise BadPasskey from None
    # Any other algorithm would make a passkey whose signatures cannot be checked.
    if not credential or algorithm not in CoseKey.supported_algorithms():
        raise BadPasskey
    if len(credential.credential_id) > _LONGEST_ID or len(credential) > _LONGEST:
        raise BadPasskey
    return _hash_of(site) + bytes(credential), counter


def is_among(secret: bytes, passkeys: Sequence[SecondFactor]) -> bool:
    """Tell whether one of the passkeys has the same credential id as this secret."""
    return _credential(secret).credential_id in {one.credential_id for one in _credentials(passkeys)}


def request_options(site: Site, passkeys: Sequence[SecondFactor], challenge: bytes) -> str:
    """Return the options with which the browser asks for one of these passkeys, as JSON."""
    from fido2.webauthn import UserVerificationRequirement

    options, _ = _server(site).authenticate_begin(
        _credentials(passkeys), user_verification=UserVerificationRequirement.DISCOURAGED, challenge=challenge
    )
    return json.dumps(dict(options.public_key))


def take(site: Site, passkeys: Sequence[SecondFactor], challenge: bytes, answer: str) -> SecondFactor:
    """Return the passkey that signed the challenge, with its new counter; its row must be locked. Raises BadPasskey.

    A counter that does not rise tells of a copied passkey; 0 says that the passkey has none (section 6.1.1).
    """
    from fido2.webauthn import AuthenticationResponse

    try:
        response = AuthenticationResponse.from_dict(json.loads(answer))
        _refuse_other_pages(response.response.client_data)
        used = _server(site).authenticate_complete(_state(challenge), _credentials(passkeys), response)
        counter = response.response.authenticator_data.counter
    except Exception:  # as above
        raise BadPasskey from None
    passkey = next(one for one in passkeys if one.secret[_HASH_BYTES:] == used)
    if (counter or passkey.counter) and counter <= passkey.counter:
        raise BadPasskey(sign_count=True)
    passkey.counter = counter
    return passkey


def _server(site: Site, name: str = "") -> "Fido2Server":
    from fido2.server import Fido2Server
    from fido2.webauthn import AttestationConveyancePreference, PublicKeyCredentialRpEntity

    server = Fido2Server(
        PublicKeyCredentialRpEntity(id=site.rp_id, name=name or site.rp_id),
        AttestationConveyancePreference.NONE,
        verify_origin=lambda origin: origin == site.origin,
    )
    # When the browser closes its dialog; fido2 declares the attribute as None alone.
    server.timeout = round(CHALLENGE_LIFETIME.total_seconds() * 1000)  # type: ignore[assignment]
    return server


def _refuse_other_pages(client_data: "CollectedClientData") -> None:
    """Raise ValueError if the page stood in a frame of another site (7.1, step 10; 7.2, step 13); fido2 does not."""
    if client_data.cross_origin:
        raise ValueError


def _credentials(passkeys: Sequence[SecondFactor]) -> "list[AttestedCredentialData]":
    return [_credential(one.secret) for one in passkeys]


def _credential(secret: bytes) -> "AttestedCredentialData":
    from fido2.webauthn import AttestedCredentialData

    return AttestedCredentialData(secret[_HASH_BYTES:])


def _hash_of(site: Site) -> bytes:
    return hashlib.sha256(site.rp_id.encode()).digest()


def _state(challenge: bytes) -> dict[str, Any]:
    from fido2.utils import websafe_encode

    return {"challenge": websafe_encode(challenge), "user_verification": None}
