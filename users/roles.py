"""The permissions and the roles, which are sets of permissions. In code, not in a table."""

from enum import StrEnum


class Permission(StrEnum):
    """One thing a caller may do, as `object:act`."""

    AUDIT_READ = "audit:read"
    HASHES_READ = "hashes:read"
    KEYS_MANAGE = "keys:manage"
    ROLES_ASSIGN = "roles:assign"
    USERS_CREATE = "users:create"
    USERS_DELETE = "users:delete"
    USERS_IMPORT = "users:import"
    USERS_READ = "users:read"
    USERS_UPDATE = "users:update"
    USERS_VERIFY = "users:verify"


class Role(StrEnum):
    """A named set of permissions that a user can hold; a user without a role holds none."""

    ADMIN = "role_admin"
    OPERATOR = "role_operator"
    AUDITOR = "role_auditor"
    MEMBER = "role_member"

    @property
    def permissions(self) -> frozenset[Permission]:
        """Return the permissions of this role."""
        return _GRANTS[self]


ALL_PERMISSIONS = frozenset(Permission)

_GRANTS = {
    Role.ADMIN: ALL_PERMISSIONS,
    Role.OPERATOR: frozenset({Permission.USERS_CREATE, Permission.USERS_READ, Permission.USERS_UPDATE}),
    Role.AUDITOR: frozenset({Permission.AUDIT_READ, Permission.USERS_READ}),
    Role.MEMBER: frozenset[Permission](),
}


def permissions_of(role_id: str | None) -> frozenset[Permission]:
    """Return the permissions of a user with this `global_role_id`: none for None and for an unknown role."""
    return Role(role_id).permissions if role_id in set(Role) else frozenset()


def needed_to_act_on(role_id: str | None) -> frozenset[Permission]:
    """Return the permissions needed to change, verify or delete a user with this `global_role_id`, or try the password.

    They are all permissions that the user holds. An unknown role counts as `role_admin`: a newer version may have given
    it, and after a downgrade an operator could otherwise take over an administrator.
    """
    return permissions_of(role_id) if role_id is None or role_id in set(Role) else ALL_PERMISSIONS


def grantable_by(held: frozenset[Permission]) -> list[Role]:
    """Return the roles that a holder of these permissions may give: none has a permission that the holder lacks."""
    return [role for role in Role if Permission.ROLES_ASSIGN in held and role.permissions <= held]
