"""The acts that can be done to many users at once, and what each needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from users.actors import Actor
from users.roles import Permission, Role, needed_to_act_on, permissions_of


class Act(StrEnum):
    """What is done to each user."""

    DEACTIVATE = "deactivate"
    DELETE = "delete"
    LINKS = "links"  # each user gets a new password link
    REACTIVATE = "reactivate"
    RESTORE = "restore"
    ROLE = "role"


class Fate(StrEnum):
    """What became of a user who was not refused. A refusal is the code of its error, or YOURSELF."""

    DONE = "done"
    UNCHANGED = "unchanged"  # it was so already


# No act on many is done to the user who asks for it: half-way they would lose the right to the other half.
YOURSELF = "YOURSELF"
_DELETES = (Act.DELETE, Act.RESTORE)


@dataclass(frozen=True)
class Wanted:
    """An act, with the role that it gives."""

    act: Act
    role: Role | None = None  # of the act ROLE: None takes the role away

    @property
    def permissions(self) -> frozenset[Permission]:
        """Return what an actor needs for it, beside all that the user holds."""
        if self.act is Act.ROLE:
            return permissions_of(self.role) | {Permission.ROLES_ASSIGN, Permission.USERS_UPDATE}
        return frozenset({Permission.USERS_DELETE if self.act in _DELETES else Permission.USERS_UPDATE})

    def is_for(self, actor: Actor) -> bool:
        """Tell whether the actor may do it to a user who holds nothing."""
        return self.permissions <= actor.permissions

    @property
    def ends_administration(self) -> bool:
        """Tell whether an administrator to whom it is done is none afterwards."""
        takes_role = self.act is Act.ROLE and self.role is not Role.ADMIN
        return takes_role or self.act in (Act.DEACTIVATE, Act.DELETE)

    def as_json(self) -> dict[str, Any]:
        """Return the options of its job, for `from_job`."""
        return {"role": self.role}

    @classmethod
    def from_job(cls, act: str, options: Mapping[str, Any]) -> "Wanted":
        """Return what the job is to do."""
        role = options["role"]
        return cls(Act(act), Role(role) if role else None)


def may_be_touched(role_id: str | None, actor: Actor) -> bool:
    """Tell whether the actor holds all that a user with this role holds."""
    return needed_to_act_on(role_id) <= actor.permissions
