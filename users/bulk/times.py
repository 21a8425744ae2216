"""Times that people and other systems write: RFC 3339, and the forms of spreadsheets and databases."""

import re
from datetime import UTC, datetime

_TIME = re.compile(
    r"""
    (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})
    (?: [ Tt] (?P<minute>[0-9]{2}:[0-9]{2})
        (?: (?P<second>:[0-9]{2}) (?: \.(?P<fraction>[0-9]{1,20}) )? (?P<zone> [Zz] | [+-][0-9]{2}:[0-9]{2} )? )?
    )?
    """,
    re.ASCII | re.VERBOSE,
)


def parse(text: str) -> datetime:
    """Return the time in `text` in UTC, to the microsecond. Without a zone it is taken as UTC.

    Takes RFC 3339 and `YYYY-MM-DD[( |T)HH:MM[:SS[.f]]]`. Raises ValueError.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError
    if found["fraction"] is None and found["zone"] == "Z":  # a short cut for most
        return datetime.fromisoformat(text)
    minute, second, fraction = found["minute"] or "00:00", found["second"] or ":00", found["fraction"] or ""
    zone = (found["zone"] or "Z").upper().replace("Z", "+00:00")
    moment = datetime.fromisoformat(f"{found['date']}T{minute}{second}.{fraction[:6]:0<6}{zone}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first or the last hours of the calendar
        raise ValueError from None
