"""A caller of the API."""

from dataclasses import dataclass, field
from typing import Any

from flask.testing import FlaskClient

from support.people import PASSWORD

Answer = Any  # a werkzeug TestResponse, whose `json` is typed as if it could be None
USER_FIELDS = [
    "email",
    "first_name",
    "last_name",
    "id",
    "is_active",
    "last_verified",
    "global_role_id",
    "created_at",
    "updated_at",
]


@dataclass
class Api:
    """A caller of the API with a key; `key=None` sends none."""

    client: FlaskClient
    key: str | None = field(repr=False)

    def call(self, method: str, path: str, *, key: str | None = "own", **more: Any) -> Answer:
        """Send one request, with the caller's own key unless another is given."""
        headers = dict(more.pop("headers", {}))
        key = self.key if key == "own" else key
        if key is not None:
            headers.setdefault("X-API-Key", key)
        return self.client.open(path, method=method, headers=headers, **more)

    def create(self, **members: Any) -> Answer:
        """Create a user; email and password are there unless given."""
        body = {"email": "jo@example.com", "password": PASSWORD, **members}
        return self.call("POST", "/v1/user/", json=body)

    def invite(self, query: str = "", *, once: str | None = None, **more: Any) -> Answer:
        """Invite a user, under an Idempotency-Key where `once` is given."""
        headers = {**more.pop("headers", {}), **({"Idempotency-Key": once} if once else {})}
        given = {"json": {"email": "jo@example.com"}, **more}
        return self.call("POST", f"/v1/user/invite{query}", **given, headers=headers)

    def link(self, user_id: str, method: str = "POST", **more: Any) -> Answer:
        """Call the path of a user's password link, by a POST of an empty object unless told otherwise."""
        given = {"json": {}, **more} if method == "POST" else more
        return self.call(method, f"/v1/user/{user_id}/password-link", **given)

    def patch_user(
        self, user_id: str, *, if_match: str | None = None, key: str | None = "own", **members: Any
    ) -> Answer:
        """Change a user, if their entity tag matches where `if_match` is given."""
        headers = {"If-Match": if_match} if if_match is not None else {}
        return self.call("PATCH", f"/v1/user/{user_id}", json=members, headers=headers, key=key)

    def delete_user(self, user_id: str, *, if_match: str | None = None, key: str | None = "own") -> Answer:
        """Delete a user, if their entity tag matches where `if_match` is given."""
        headers = {"If-Match": if_match} if if_match is not None else {}
        return self.call("DELETE", f"/v1/user/{user_id}", headers=headers, key=key)

    def get(self, path: str, **more: Any) -> Answer:
        """Send a GET."""
        return self.call("GET", path, **more)


def status_and_code(answer: Answer) -> tuple[int, str]:
    """Return the status and the code of an error."""
    return answer.status_code, answer.json["error"]["code"]
