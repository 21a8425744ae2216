"""A body that arrives slowly: a key or role that ended meanwhile gets no answer."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from support.databases import rows
from support.people import PASSWORD
from support.scenes import API_ACTS, STOPS, Scene, stop


class HeldBack(io.RawIOBase):
    """A body that calls `happens` before its last byte."""

    def __init__(self, body: bytes, happens: Callable[[], None]) -> None:
        self._rest, self._happens = body, happens

    def readable(self) -> bool:
        """Return True: it is a stream to read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Give all bytes but the last, then call `happens`, then give the last."""
        if len(self._rest) == 1:
            self._happens()
        part, self._rest = (self._rest[:-1], self._rest[-1:]) if len(self._rest) > 1 else (self._rest, b"")
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("how", ["revoked", "owner stopped", "role taken"])
def test_slow_body(scene: Scene, how: str) -> None:
    body = b'{"email": "jo@example.com", "password": "correct horse battery"}'
    stream = HeldBack(body, lambda: stop(scene, how))
    held_back = {"wsgi.input": stream}
    answer = scene.api("POST", "", data=body, content_type="application/json", environ_overrides=held_back)
    assert answer.json["error"]["code"] == STOPS[how][1]
    assert rows(scene.app, "SELECT 1 FROM users WHERE email = 'jo@example.com'") == []


READS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "batch": ("batch", {"user_ids": ["usr_01900000000070008000000000000000"]}, {}),
    "validate only": ("?validate_only=true", {"email": "new@example.com", "password": PASSWORD}, {}),
    "validate only an invitation": ("invite?validate_only=true", {"email": "new@example.com"}, {}),
    "replay": ("", {"email": "jo@example.com", "password": PASSWORD}, {"Idempotency-Key": "7c1b8a6e"}),
}


@pytest.mark.parametrize("read", READS)
def test_slow_body_of_a_read(scene: Scene, read: str) -> None:
    API_ACTS["create once"](scene)
    path, body, headers = READS[read]
    data = json.dumps(body).encode()
    for how, status in (("scopes given", 200), ("revoked", 401)):
        stream = HeldBack(data, lambda how=how: stop(scene, how) if how in STOPS else None)  # type: ignore[misc]
        answer = scene.api(
            "POST",
            path,
            data=data,
            content_type="application/json",
            headers=headers,
            environ_overrides={"wsgi.input": stream},
        )
        assert answer.status_code in (status, status + 1), how
