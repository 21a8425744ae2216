"""Passkeys as a second factor (W3C Web Authentication, level 3), by python-fido2, which takes a while to import."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from users.storage.models import SecondFactor, User

if TYPE_CHECKING:
    from fido2.server import Fido2Server

CHALLENGE_BYTES = 32


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


def new_credential(site: Site, challenge: bytes, answer: str) -> tuple[bytes, int]:
    """Return the credential and the counter in the browser's answer. Raises BadPasskey."""
    try:
        made = _server(site).register_complete(_state(challenge), json.loads(answer))
        assert made.credential_data  # noqa: S101  (fido2 asserts it too)
        return bytes(made.credential_data), made.counter
    except Exception:  # a hostile answer can be anything, and fido2 raises whatever then happens
        raise BadPasskey from None


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
        used = _server(site).authenticate_complete(_state(challenge), _credentials(passkeys), response)
        counter = response.response.authenticator_data.counter
    except Exception:  # as above
        raise BadPasskey from None
    (passkey,) = [one for one in passkeys if one.secret == bytes(used)]
    if (counter or passkey.counter) and counter <= passkey.counter:
        raise BadPasskey(sign_count=True)
    passkey.counter = counter
    return passkey


def _server(site: Site, name: str = "") -> "Fido2Server":
    from fido2.server import Fido2Server
    from fido2.webauthn import AttestationConveyancePreference, PublicKeyCredentialRpEntity

    return Fido2Server(
        PublicKeyCredentialRpEntity(id=site.rp_id, name=name or site.rp_id),
        AttestationConveyancePreference.NONE,
        verify_origin=lambda origin: origin == site.origin,
    )


def _credentials(passkeys: Sequence[SecondFactor]) -> list[Any]:
    from fido2.webauthn import AttestedCredentialData

    return [AttestedCredentialData(one.secret) for one in passkeys]


def _state(challenge: bytes) -> dict[str, Any]:
    from fido2.utils import websafe_encode

    return {"challenge": websafe_encode(challenge), "user_verification": None}
