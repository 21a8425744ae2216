"""The actor of an act: the permissions that it checks and the facts that its audit event records."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from users.errors import Denied
from users.form_errors import ConfirmationNeeded
from users.roles import ALL_PERMISSIONS, Permission


class ActorKind(StrEnum):
    """How an actor came to act, as audit events record it."""

    KEY = "key"
    PASSWORD_LINK = "password_link"  # noqa: S105  (the link with which a user chooses a password)
    SESSION = "session"
    SETUP = "setup"  # the link of the first run
    TERMINAL = "terminal"
    VERIFICATION = "verification"  # the link that verifies an email
    VISITOR = "visitor"  # not signed in


@dataclass(frozen=True)
class Actor:
    """Who acts, with which permissions now, and from where."""

    kind: ActorKind
    permissions: frozenset[Permission]
    user_id: str | None = None  # the key's owner, or the user who is signed in
    key_id: str | None = None
    session_hash: bytes | None = field(default=None, repr=False)  # of the session, as in the table
    ip_address: str | None = None
    request_id: str | None = None
    client_request_id: str | None = None  # chosen by the caller
    needs_confirmation: bool = False  # of a session: the last proof that it is the user is too old

    def require(self, *permissions: Permission) -> None:
        """Raise Denied unless the actor holds all of `permissions`."""
        missing = set(permissions) - self.permissions
        if missing:
            raise Denied(missing)

    def require_confirmation(self) -> None:
        """Raise ConfirmationNeeded unless the user has confirmed lately that it is them. Keys and commands pass."""
        if self.needs_confirmation:
            raise ConfirmationNeeded

    def signed_in_as(
        self,
        user_id: str,
        permissions: frozenset[Permission],
        session_hash: bytes,
        *,
        needs_confirmation: bool = False,
    ) -> "Actor":
        """Return this actor signed in as the user `user_id` with `permissions`, in the same request."""
        return replace(
            self,
            kind=ActorKind.SESSION,
            permissions=permissions,
            user_id=user_id,
            session_hash=session_hash,
            needs_confirmation=needs_confirmation,
        )

    def with_permissions(self, permissions: frozenset[Permission]) -> "Actor":
        """Return the same actor with these permissions."""
        return self if permissions == self.permissions else replace(self, permissions=permissions)


def terminal(request_id: str) -> Actor:
    """Return the operator at the command line. Operators may do everything, since they can read the database."""
    return Actor(kind=ActorKind.TERMINAL, permissions=ALL_PERMISSIONS, request_id=request_id)
