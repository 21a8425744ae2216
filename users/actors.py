"""Who acts: what every act asks for, and what its audit row says of them."""

from dataclasses import dataclass, field, replace

from users.errors import Denied
from users.roles import ALL_PERMISSIONS, Permission, permissions_of


@dataclass(frozen=True)
class Actor:
    """Who acts, what they may do now and where the act comes from; what an audit row says of them."""

    # "key", "terminal", "session", "setup" (the link of the first run), "verification" (the link that verifies an
    # address) or "visitor" (nobody yet)
    kind: str
    permissions: frozenset[Permission]
    user_id: str | None = None  # the key's owner, or who is signed in
    key_id: str | None = None
    session_hash: bytes | None = field(default=None, repr=False)  # of who is signed in, as the table has it
    ip_address: str | None = None
    request_id: str | None = None
    client_request_id: str | None = None  # that the caller gave it

    def require(self, *permissions: Permission) -> None:
        """Raise Denied unless the actor holds all of `permissions`."""
        missing = set(permissions) - self.permissions
        if missing:
            raise Denied(missing)

    def signed_in_as(self, user_id: str, role: str | None, session_hash: bytes) -> "Actor":
        """Return the user who holds `role`, signed in, who acts from the same place in the same request."""
        held = permissions_of(role)
        return replace(self, kind="session", permissions=held, user_id=user_id, session_hash=session_hash)

    def with_permissions(self, permissions: frozenset[Permission]) -> "Actor":
        """Return the same actor, who may do this now."""
        return self if permissions == self.permissions else replace(self, permissions=permissions)


def terminal(request_id: str) -> Actor:
    """Return the operator at the command line, who may do everything: whoever can run it can read the database."""
    return Actor(kind="terminal", permissions=ALL_PERMISSIONS, request_id=request_id)
