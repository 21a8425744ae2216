"""Ids that sort by creation time: a prefix and a UUIDv7 (RFC 9562, section 5.7). And the random ids of requests.

The UUIDv7 is written here because `uuid.uuid7` needs Python 3.14.
"""

import re
import secrets
import time
from datetime import UTC, datetime, timedelta

_USER_ID = re.compile(r"usr_[0-9a-f]{32}", re.ASCII)
_KEY_ID = re.compile(r"akid_[0-9a-f]{32}", re.ASCII)
_FACTOR_ID = re.compile(r"fct_[0-9a-f]{32}", re.ASCII)
_EVENT_ID = re.compile(r"evt_[0-9a-f]{32}", re.ASCII)
_IMPORT_ID = re.compile(r"imp_[0-9a-f]{32}", re.ASCII)
_ACT_ID = re.compile(r"act_[0-9a-f]{32}", re.ASCII)
_REQUEST_ID = re.compile(r"req_[A-Za-z0-9]{8,60}", re.ASCII)
_UUID_7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", re.ASCII)
_EPOCH = datetime.fromtimestamp(0, UTC)
_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)


def new_id(prefix: str, at: datetime | None = None) -> str:
    """Return `prefix` + `_` + 32 lower-case hex digits of a new UUIDv7, of now or of a time since 1970.

    The 12 bits after the milliseconds count 4,096ths of a millisecond (RFC 9562, section 6.2, method 3), so that
    ids made one after another on one machine sort in that order.
    """
    since_1970 = time.time_ns() if at is None else (at - _EPOCH) // timedelta(microseconds=1) * 1000
    milliseconds, nanoseconds = divmod(since_1970, 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    number = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{prefix}_{number:032x}"


def new_request_id() -> str:
    """Return a new id for one request or one command: `req_` and 24 random characters."""
    return f"req_{secrets.token_hex(12)}"


def first(prefix: str, moment: datetime) -> str:
    """Return the lower bound of all ids that are made in the millisecond of `moment` or later."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return f"{prefix}_{milliseconds << 80:032x}"


def moment_of(id_: str) -> datetime:
    """Return the time at which the id was made, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=int(id_.rpartition("_")[2][:12], 16))


def is_user_id(text: str) -> bool:
    """Tell whether `text` has the form of a user's id; only such a text is looked up."""
    return bool(_USER_ID.fullmatch(text))


def is_version_7(id_: str) -> bool:
    """Tell whether the id of a user, a key or an event is a UUIDv7. Only such an id sorts by the time it was made."""
    return bool(_UUID_7.fullmatch(id_.rpartition("_")[2]))


def is_key_id(text: str) -> bool:
    """Tell whether `text` has the form of an API key's id; only such a text is looked up."""
    return bool(_KEY_ID.fullmatch(text))


def is_factor_id(text: str) -> bool:
    """Tell whether `text` has the form of a second factor's id; only such a text is looked up."""
    return bool(_FACTOR_ID.fullmatch(text))


def is_event_id(text: str) -> bool:
    """Tell whether `text` has the form of an audit event's id."""
    return bool(_EVENT_ID.fullmatch(text))


def is_import_id(text: str) -> bool:
    """Tell whether `text` has the form of an import's id; only such a text is looked up."""
    return bool(_IMPORT_ID.fullmatch(text))


def is_act_id(text: str) -> bool:
    """Tell whether `text` has the form of the id of an act on many users; only such a text is looked up."""
    return bool(_ACT_ID.fullmatch(text))


def is_request_id(text: str) -> bool:
    """Tell whether `text` has the form of a request's id."""
    return bool(_REQUEST_ID.fullmatch(text))


def is_client_request_id(text: str) -> bool:
    """Tell whether a caller may choose `text` as the id of a request.

    Enrol's own request ids have this form too.
    """
    return bool(_CLIENT_REQUEST_ID.fullmatch(text))
