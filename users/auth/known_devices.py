"""The cookie that makes a browser known for the users who have signed in there.

It holds a random id and a mark for each of the last five users: a keyed hash of that id, the user, the time of the
user's last new password and the day. The cookie does not name the users, and a new password ends older marks.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from users import clock, settings
from users.storage.models import User

LIFETIME = timedelta(days=180)
MAX_USERS = 5
_NO_USER = SimpleNamespace(id="usr_" + 32 * "0", password_changed_at=None, created_at=datetime.fromtimestamp(0, UTC))
_MARK = r"[0-9a-f]{1,8}\.[A-Za-z0-9_-]{22}"
_COOKIE = re.compile(rf"([A-Za-z0-9_-]{{22}})((?:~{_MARK}){{1,{MAX_USERS}}})", re.ASCII)


@dataclass(frozen=True)
class Device:
    """A browser: its `id` and the marks of the users who have signed in there, the newest first."""

    id: str
    marks: tuple[str, ...] = ()

    def knows(self, user: Any) -> bool:
        """Tell whether the user (a row, or None) has signed in here within LIFETIME and since their last new password.

        It takes as long for None: the time does not tell whether there is such a user.
        """
        found = [self._is_mark_of(mark, user or _NO_USER) for mark in self.marks]
        return user is not None and any(found)

    def with_user(self, user: User) -> "Device":
        """Return the device after a sign-in of `user`."""
        others = [mark for mark in self.marks if not self._is_mark_of(mark, user)]
        mark = _mark(settings.current().secret_key, self.id, user, _today())
        return Device(self.id, (mark, *others)[:MAX_USERS])

    def as_cookie(self) -> str:
        """Return the value of the cookie."""
        return "~".join([self.id, *self.marks])

    def _is_mark_of(self, mark: str, user: Any) -> bool:
        day = int(mark.partition(".")[0], 16)
        if not 0 <= _today() - day <= LIFETIME.days:
            return False
        keys = settings.current().secret_keys
        found = [hmac.compare_digest(mark, _mark(key, self.id, user, day)) for key in keys]
        return any(found)


def read(cookie: str) -> Device:
    """Return the device that sent this cookie, or a new one."""
    found = _COOKIE.fullmatch(cookie)
    if not found:
        return Device(_text(secrets.token_bytes(16)))
    return Device(found[1], tuple(found[2].removeprefix("~").split("~")))


def _mark(secret: str, device_id: str, user: Any, day: int) -> str:
    since = user.password_changed_at or user.created_at
    marked = f"device {device_id} of {user.id} since {since.isoformat()} on {day}"
    return f"{day:x}.{_text(hmac.digest(secret.encode(), marked.encode(), hashlib.sha256)[:16])}"


def _today() -> int:
    return int(clock.now().timestamp()) // 86_400


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
