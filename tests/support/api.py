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

    def get(self, path: str, **more: Any) -> Answer:
        """Send a GET."""
        return self.call("GET", path, **more)
