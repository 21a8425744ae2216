"""Why the database cannot be used: a code for the log, and what the operator can do about it.

A SQLSTATE or SQLite's error code decides. Where there is none, as for a connection that was refused, the text of libpq
or of the server does, in English. No text is repeated but a host, a port and the name of an option.
"""

import re
import sqlite3
from dataclasses import dataclass

from users.storage.database_url import ENCODING


@dataclass(frozen=True)
class Cause:
    """One cause. In `words`, {server} stands for host and port, {option} for the name of an option."""

    code: str
    words: str
    sqlstates: tuple[str, ...] = ()
    texts: str = "(?!)"  # a pattern that libpq's or the server's text holds; by default none
    sqlite: tuple[int, ...] = ()

    def found(self, server: str = "", option: str = "") -> "Found":
        """Return the cause with what the error says of it."""
        words = self.words.format(server=server or "the server in DATABASE_URL", option=option or "an option")
        return Found(self.code, f"The database cannot be used: {words}.")


@dataclass(frozen=True)
class Found:
    """The code of a cause, and the sentence for the operator."""

    code: str
    sentence: str


UNKNOWN = Found(
    "unknown",
    "The database cannot be used. Check DATABASE_URL, that its server runs, that its user may create and change "
    "tables there and that its disk is not full.",
)
LOCKED = Cause(
    "locked",
    "another program holds a lock in it. Look for a long transaction or a tool that has it open",
    ("55P03", "40001", "40P01"),
    sqlite=(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
)
SLOW = Cause(
    "slow",
    "it gave no answer in time. Look at its load, at locks that are held there, at the connections that a pooler has "
    "left, at a synchronous standby, and at the network",
    ("57014",),
    r"^$|timeout|timed out",
)
BUSY = Cause(
    "busy",
    "all connections of this process are in use. Look at the database's load, or raise ENROL_DATABASE_POOL",
)
COMMITS = Cause(
    "commits",
    "it did not answer the last COMMITs in time, so Enrol writes no more until it does. If a synchronous standby is "
    "gone, bring it back or take it out of synchronous_standby_names",
)
ISOLATION = Cause(
    "isolation",
    "it is a standby whose role makes every session serializable, and a pooler stands before it. Run on its "
    "primary, with the user in DATABASE_URL for enrol: ALTER ROLE enrol SET default_transaction_isolation = 'read "
    "committed', and reconnect the pooler",
    texts=r"serializable mode in a hot standby",
)

PRIVILEGES = Cause(
    "privileges",
    "its user may not create, change or read tables there. Run as the owner of the database, with the user in "
    "DATABASE_URL for enrol: GRANT USAGE, CREATE ON SCHEMA public TO enrol. Tables that another user has made must "
    "be made its own with ALTER TABLE … OWNER TO enrol",
    ("42501",),
)

# In this order: of several hosts one may be down, and another tells more.
CAUSES = (
    Cause(
        "no_primary",
        "no host in DATABASE_URL is what its target_session_attrs asks for. Promote a standby, or name the primary",
        texts=r"session is (not )?read-only|server is (not )?in hot standby mode",
    ),
    Cause(
        "password",
        f"{{server}} refuses the password in DATABASE_URL, or there is none. {ENCODING}",
        ("28P01",),
        r"password authentication failed|no password supplied|SASL authentication failed",
    ),
    Cause(
        "pg_hba",
        "{server} lets this user not come from this machine to this database, or not without TLS. Add a line to its "
        "pg_hba.conf and reload it, or write sslmode=require in DATABASE_URL",
        texts=r"pg_hba\.conf|SSL required",
    ),
    Cause(
        "role",
        "the user in DATABASE_URL does not exist at {server} or may not log in. Make it there, for example with: "
        "createuser --pwprompt enrol",
        ("28000",),
        r'role ".*" (does not exist|is not permitted to log in)|no such user',
    ),
    Cause(
        "database",
        "the database that DATABASE_URL names after its last / (its user, if there is no name) does not exist at "
        "{server}. Make it, for example with: createdb --owner=enrol enrol",
        ("3D000",),
        r'database ".*" does not exist|no such database',
    ),
    Cause(
        "connections",
        "{server} has no connection left. Raise its limit (max_connections, that of the role or database, or the "
        "pooler's), or lower ENROL_DATABASE_POOL",
        ("53300",),
        r"too many (clients|connections)|connection slots are reserved|no more connections allowed",
    ),
    Cause(
        "disk_full",
        "its disk is full. Free some space there",
        ("53100",),
        r"No space left on device",
        (sqlite3.SQLITE_FULL,),
    ),
    PRIVILEGES,
    Cause(
        "search_path",
        "its user finds no schema there: the search_path names none that exists and that the user may use. Run: ALTER "
        "ROLE enrol SET search_path = public, with the user in DATABASE_URL for enrol, or correct options in "
        "DATABASE_URL. If that is right, run as the owner: GRANT USAGE, CREATE ON SCHEMA public TO enrol",
        ("3F000",),
    ),
    Cause(
        "tls_missing",
        "{server} speaks no TLS, which sslmode in DATABASE_URL demands. Set ssl=on there with a certificate, or leave "
        "sslmode out",
        texts=r"does not support SSL",
    ),
    Cause(
        "tls_host",
        "the certificate of {server} is for another host name. Write the name of the certificate in DATABASE_URL",
        texts=r"does not match host name",
    ),
    Cause(
        "tls_file",
        "a file for TLS is missing or cannot be read. Give sslrootcert, sslcert and sslkey in DATABASE_URL the paths "
        "of files that this user can read; a key has mode 0600",
        texts=r"certificate file|private key file|certificate present|revocation list",
    ),
    Cause(
        "tls_ca",
        "the certificate of {server} is not signed by the CA in sslrootcert, or has ended. Name the file of its CA in "
        "DATABASE_URL: sslrootcert=/path/to/ca.pem",
        texts=r"certificate verify failed",
    ),
    Cause(
        "pooler_option",
        "the pooler at {server} refuses {option}. Leave it out of DATABASE_URL and PGOPTIONS, or name it in "
        "ignore_startup_parameters of PgBouncer",
        texts=r"unsupported startup parameter(?: in options)?: (?P<option>\w+)?",
    ),
    Cause(
        "option",
        "libpq or {server} refuses {option} after the ? of DATABASE_URL or in PGOPTIONS. Correct it, or leave it out",
        texts=r'configuration parameter "(?P<option>\w+)|for parameter "(?P<value>\w+)'
        r'|invalid integer value "[^"]*" for connection option "(?P<number>\w+)|invalid (?P<choice>\w+) value'
        r"|definition of service|network address|could not match|authentication method requirement|channel binding"
        r"|GSSAPI",
    ),
    Cause(
        "pooler_mode",
        "the pooler at {server} is in statement mode, which has no transactions. Set pool_mode = transaction there",
        texts=r"statement pooling mode",
    ),
    ISOLATION,
    Cause(
        "pooler_queries",
        "the pooler at {server} refuses simple queries, which Enrol sends too. Set disable_pqexec = 0 there",
        texts=r"PQexec disallowed",
    ),
    Cause(
        "pooler",
        "the pooler at {server} does not reach its Postgres, or has no connection for Enrol. Its log says more",
        texts=r"pgbouncer cannot connect|server login|query_wait_timeout|client_login_timeout",
    ),
    Cause(
        "starting",
        "{server} is starting or stopping. Enrol uses it again once it has started",
        ("57P01", "57P02", "57P03"),
        r"database system is|not (yet )?accepting connections",
    ),
    Cause(
        "session_timeout",
        "{server} ended the session after a time-out of its own: idle_in_transaction_session_timeout, "
        "idle_session_timeout or transaction_timeout. Set them to 10s or more, or to 0, for the user in DATABASE_URL: "
        "ALTER ROLE enrol SET idle_in_transaction_session_timeout = 0",
        ("25P03", "25P04", "57P05"),
        r"due to (idle-in-transaction|idle-session|transaction) timeout",
    ),
    Cause(
        "no_postgres",
        "what answers at {server} is not Postgres. Check the port in DATABASE_URL",
        texts=r"invalid response to SSL negotiation|expected authentication request",
    ),
    Cause(
        "host",
        "the host name {server} is not known. Check it in DATABASE_URL. " + ENCODING,
        texts=r"failed to resolve host|could not translate host name",
    ),
    Cause(
        "refused",
        "no server answers at {server}. Check host and port in DATABASE_URL, that the server runs, and that it listens "
        "there (listen_addresses)",
        texts=r"Connection refused|on socket .* failed: (No such file|Permission denied)",
    ),
    Cause(
        "unreachable",
        "{server} cannot be reached. Check the host in DATABASE_URL, the network and the firewall",
        texts=r"unreachable|No route to host|connection timeout expired|Connection timed out",
    ),
    LOCKED,
    SLOW,
    Cause(
        "lost",
        "the connection was lost. Look at the log of the server and of what stands before it",
        ("25P03", "25P04", "57P05"),
        r"server closed|connection (is|was) (lost|closed|bad)|reset by peer|eof|consuming input|Broken pipe",
    ),
    Cause(
        "file",
        "its file cannot be opened. Its folder must be there, and this user must be able to write to both",
        texts=r"^\[Errno",
        sqlite=(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY),
    ),
    Cause(
        "damaged",
        "its file is damaged or not a database of SQLite. Restore a backup",
        sqlite=(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
    ),
    Cause("disk", "its disk has an error. Look at the log of the system", ("58030",), sqlite=(sqlite3.SQLITE_IOERR,)),
)

# Of these errors the text decides, which carries no row: PgBouncer gives one to all its errors, and Postgres one to all
# that it does not support.
TEXT_SQLSTATES = {"08P01", "0A000"}

_SERVER = re.compile(
    r'server at "([^"]+)"(?: \([^)]*\))?, port (\d+)|on socket "([^"]+)"'
    r"|host: '([^']+)', port: '(\d+)'|resolve host '([^']+)'"
)


def find(error: BaseException | None) -> Found:
    """Return the cause of the driver's `error`."""
    sqlite_code = getattr(error, "sqlite_errorcode", None)
    sqlstate = getattr(error, "sqlstate", None)
    if (sqlite_code is None and sqlstate is None) or sqlstate in TEXT_SQLSTATES:
        return _by_text(str(error))
    for cause in CAUSES:
        if sqlstate in cause.sqlstates or (sqlite_code or 0) & 0xFF in cause.sqlite:  # the upper bits are the reason
            return cause.found()
    return UNKNOWN


def _by_text(text: str) -> Found:
    for cause in CAUSES:
        if match := re.search(cause.texts, text):
            option = next(filter(None, match.groupdict().values()), "")
            return cause.found(_server(text, match.start()), option)
    return UNKNOWN


def _server(text: str, position: int) -> str:
    """Return the server that the text names last before `position`, else the first one; "" if it names none."""
    found = [*_SERVER.finditer(text)]
    before = [one for one in found if one.start() <= position] or found[:1]
    return ":".join(filter(None, before[-1].groups())) if before else ""
