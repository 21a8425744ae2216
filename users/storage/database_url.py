"""DATABASE_URL: SQLAlchemy's form of it, or the sentence that says which part is wrong and how to write it."""

import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote, unquote, unquote_plus

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

# What to write in a part that holds such a character. libpq, SQLAlchemy and RFC 3986 agree on it.
ENCODING = "In a user name, password or database write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"

_SCHEME = re.compile(r"postgres(ql)?(\+psycopg)?://")
# A password that holds both / and ? is not looked for: it could be a database and its options.
_PARTS = re.compile(
    r"(?:(?P<user>[^:/?]*)(?P<password>:(?:[^@?]*|[^@/]*))?@)?(?P<hosts>[^/?]*)"
    r"(?P<database>/[^?]*)?(?P<options>\?.*)?",
    re.DOTALL,
)
_SQLALCHEMYS_HOSTS = re.compile(r"[?&]host=([^&]*:\d|[^&]*&(.*&)?host=)")  # ?host=a:5432&host=b:5432
_PLAIN_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+")
_OPTIONS = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}


class BadDatabaseUrl(ValueError):
    """The URL cannot be read. The text says which part and how to write it; it repeats no user name and password."""


def read(given: str) -> str:
    """Return `given` as a URL of SQLAlchemy: a SQLite file, or Postgres by psycopg 3. Raises BadDatabaseUrl."""
    if given.startswith("sqlite://"):
        return _sqlite_url(given)
    given = given.strip()  # a secret from a file often ends with a line break
    scheme = _SCHEME.match(given)
    if not scheme:
        raise BadDatabaseUrl(_wrong_scheme(given))
    options = _postgres_options(given[scheme.end() :])
    _check_servers(options)
    return _postgres_url(options).render_as_string(hide_password=False)


def _wrong_scheme(given: str) -> str:
    if given[:1] in ("'", '"'):
        return "it stands in quotation marks. Leave them out"
    found = re.match(r"[A-Za-z0-9+.-]{1,30}(?=://)", given)
    begins = f"it begins with {found[0]}://" if found else "it does not begin with a scheme"
    return f"{begins}. Begin it with postgresql:// or sqlite:///, in lower case and without another driver"


def _sqlite_url(given: str) -> str:
    """Return the URL of a SQLite file. A database in memory would be a different one for each connection."""
    try:
        url = make_url(given)
        url.get_dialect()().create_connect_args(url)
    except (ArgumentError, ValueError):
        raise BadDatabaseUrl("SQLite's part after sqlite:// or after the ? is wrong") from None
    if re.match(r"$|:memory:|file:", url.database or ""):
        raise BadDatabaseUrl("it names no file. Write sqlite:////path/to/file.db, with four slashes")
    return given


def _postgres_options(rest: str) -> dict[str, Any]:
    """Return libpq's options in the part of the URL after the scheme.

    libpq's own reader decides, so several hosts work as in
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS. Only for several hosts in
    SQLAlchemy's form its reader does.
    """
    parts = _split(rest)
    try:
        if _SQLALCHEMYS_HOSTS.search(rest):
            url = make_url(f"postgresql+psycopg://{rest}")
            return dict(url.get_dialect()().create_connect_args(url)[1])
        return conninfo_to_dict(f"postgresql://{''.join(_encode(parts).values())}")
    except (ArgumentError, ProgrammingError, ValueError):
        raise BadDatabaseUrl(_wrong_part(parts)) from None


def _split(rest: str) -> dict[str, str]:
    """Return the parts of the URL after its scheme, each with the character that begins it."""
    match = cast("re.Match[str]", _PARTS.fullmatch(rest))  # every text has these parts
    parts = {name: part or "" for name, part in match.groupdict().items()}
    if "@" in parts["hosts"] or "@" in parts["database"]:
        raise BadDatabaseUrl(f"the user name, the password or the database holds an @. {ENCODING}")
    if match["user"] is not None:
        parts["hosts"] = "@" + parts["hosts"]
    return parts


def _encode(parts: Mapping[str, str]) -> dict[str, str]:
    """Return the parts in libpq's spelling. Characters that can only stand for themselves need not be encoded."""
    raw = {"user": r"@\s", "password": r"/\s", "database": r"\s"}
    encoded = {
        name: re.sub(rf"[{raw.get(name, '')}\0]|%(?![0-9A-Fa-f]{{2}})", lambda found: quote(found[0], safe=""), part)
        for name, part in parts.items()
    }
    # libpq takes a + for itself, and no = in a value.
    encoded["options"] = re.sub(
        "=([^&]*)", lambda found: f"={quote(unquote_plus(found[1]), safe='')}", parts["options"]
    )
    return encoded


def _wrong_part(parts: Mapping[str, str]) -> str:
    """Return which part of the URL libpq refused."""
    whole = "".join(parts.values())
    if re.search(r"%00|\0", whole):
        return "it holds %00, which Postgres cannot use"
    if "\N{REPLACEMENT CHARACTER}" in unquote(whole):
        return f"a % and what stands after it make no character. {ENCODING}"
    names = [pair.partition("=")[0] for pair in parts["options"].lstrip("?").split("&") if pair]
    unknown = [name for name in names if name not in _OPTIONS]
    if unknown and "@" not in parts["options"] and re.fullmatch("[A-Za-z_]{1,40}", unknown[0]):
        todo = "write options=-csearch_path%3DNAME" if unknown[0] == "schema" else "leave it out"
        return f"after the ? libpq knows no option {unknown[0]}: {todo}"
    if parts["options"]:
        return f"the part after the ? is not name=value, joined by &, with options of libpq. {ENCODING}"
    return f"the host is wrong. An IPv6 address stands in brackets, like [::1]:5432. {ENCODING}"


def _check_servers(options: Mapping[str, Any]) -> None:
    """Refuse ports and times that libpq would refuse at each connection."""
    hosts = str(options.get("host") or options.get("hostaddr") or "").split(",")
    ports = str(options.get("port") or "").split(",")
    if any(port and not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535) for port in ports):
        raise BadDatabaseUrl(f"the port is not a number from 1 to 65535. {ENCODING}")
    if len(ports) not in (1, len(hosts)):
        raise BadDatabaseUrl("there are not as many ports as hosts")
    if not re.fullmatch("-?[0-9]{1,6}", str(options.get("connect_timeout") or 0)):
        raise BadDatabaseUrl("connect_timeout is not a number of seconds")


def _postgres_url(options: Mapping[str, Any]) -> URL:
    """Return the URL of SQLAlchemy for libpq's options. What its own parts cannot hold stands after the `?`."""
    rest = {name: str(value) for name, value in options.items()}
    user, password, database = (rest.pop(name, None) for name in ("user", "password", "dbname"))
    host, port = rest.get("host", ""), rest.get("port", "")
    if _PLAIN_HOST.fullmatch(host):
        rest.pop("host")
        rest.pop("port", None)
        return URL.create("postgresql+psycopg", user, password, host, int(port) if port else None, database, rest)
    if port and "," not in port:  # SQLAlchemy wants one port for each host
        rest["port"] = ",".join([port] * len(host.split(",")))
    return URL.create("postgresql+psycopg", user, password, None, None, database, rest)
