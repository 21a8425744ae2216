"""The settings, read once from the environment and checked. A bad value stops the start and names its variable."""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flask import current_app

from users.passwords import cores, hash_queue, password_lists
from users.passwords.argon2id import HashParameters
from users.passwords.password_lists import DigestList
from users.passwords.policy import MIN_LENGTH
from users.rate_limits import Rate
from users.roles import Role, permissions_of
from users.rules import environment, hosts, secret_keys, web_urls
from users.rules.validation import Rules
from users.storage import database_url

LONGEST_NAME = 40  # of an instance, in characters
# Every variable and what it takes, in the order of the table in OPERATIONS.md, which a test compares with this one.
TAKES = {
    "DATABASE_URL": "an address like postgresql://user@host/database or sqlite:////path/to/file.db",
    "SECRET_KEY": "at least 32 characters that nobody can guess; make one with: "
    "python3 -c 'import secrets; print(secrets.token_hex(32))'",
    "SECRET_KEY_FALLBACKS": "older secret keys of at least 32 characters, separated by commas",
    "ENROL_DATABASE_POOL": "how many connections to the database one process may have, from 1 to 256",
    "ENROL_PUBLIC_URL": "the address people use, like https://users.example.com, without a path",
    "ENROL_INSTANCE_NAME": f"a name of at most {LONGEST_NAME} characters, like Example Accounts",
    "ENROL_PASSWORD_MIN_LENGTH": f"a whole number from {MIN_LENGTH} to 256",
    "ENROL_PASSWORD_BLOCKLIST": "on or off",
    "ENROL_PASSWORD_BLOCKLIST_FILE": "the path of a UTF-8 text file with one password a line",
    "ENROL_PASSWORD_DONE_URL": "the address to go on to after a password is chosen, like https://app.example.com/start",
    "ENROL_PASSWORD_HASH": "argon2id parameters like m=65536,t=3,p=4, no weaker than m=19456,t=2,p=1 "
    "unless ENROL_PASSWORD_HASH_UNSAFE is 1",
    "ENROL_PASSWORD_HASH_UNSAFE": "1 or off",
    "ENROL_HASH_SLOTS": "how many passwords to hash at once in one process, from 1 to 256",
    "ENROL_HASH_QUEUE": "how many may wait to be hashed, from 0 to 10000",
    "ENROL_IMPORT_MAX_BYTES": "how many bytes a file to import may have, from 1024 to 999999999999",
    "ENROL_SPOOL_DIR": "the absolute path of a folder for files on their way in; several hosts share it",
    "ENROL_RATE_LIMIT": "a number and a time, like 100/second, 6000/minute or 360000/hour, or off",
    "ENROL_REQUIRE_SECOND_FACTOR": "off, administrators or all",
    "ENROL_TRUSTED_PROXIES": "the number of proxies in front, from 0 to 10",
    "ENROL_TRUSTED_HOSTS": "host names or IP addresses without ports, separated by commas; a leading dot takes in the "
    "names below",
    "ENROL_ALLOW_DOMAINS": "domain names separated by commas, like local,corp.test",
    "ENROL_CHECK_DELIVERABILITY": "on or off",
    "ENROL_LOG_FORMAT": "text or json",
}

REQUIRE_SECOND_FACTOR = ("off", "administrators", "all")

_DATABASE_POOL = 16  # hashing a password holds no connection
_IMPORT_MAX_BYTES = 512 * 1024 * 1024
_SECRET_KEY_FILE = "secret_key"  # noqa: S105  (a file's name)
_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


class BadSetting(Exception):
    """A setting or the instance folder cannot be used. The text is one sentence that says what to do."""


@dataclass(frozen=True)
class Settings:
    """The checked settings. The URL of the database and the keys stay out of the repr."""

    database_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    secret_key_file: Path | None  # None if SECRET_KEY is set
    secret_key_fallbacks: tuple[str, ...] = field(repr=False)
    database_pool: int
    public_url: str | None
    instance_name: str  # which people know this service by
    rules: Rules
    password_done_url: str | None
    password_hash: HashParameters
    hash_slots: int
    hash_queue: int
    require_second_factor: str  # one of REQUIRE_SECOND_FACTOR
    import_max_bytes: int
    spool_folder: Path
    rate_limit: Rate | None  # None: off
    trusted_proxies: int
    trusted_hosts: tuple[str, ...]
    log_format: str
    ignored_variables: tuple[str, ...]  # a sentence about each

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """Return the secret key, then the older ones, which only check what they once signed."""
        return self.secret_key, *self.secret_key_fallbacks

    def requires_second_factor(self, role_id: str | None) -> bool:
        """Tell whether a user with this `global_role_id` must sign in to the pages with a second factor."""
        if self.require_second_factor == "administrators":
            return role_id == Role.ADMIN
        return self.require_second_factor == "all" and bool(permissions_of(role_id))

    def rules_for_own_password(self, role_id: str | None) -> Rules:
        """Return the rules for a password that a user with this `global_role_id` chooses for themselves."""
        if not permissions_of(role_id):
            return self.rules
        return self.rules.stricter(second_factor_required=self.requires_second_factor(role_id))


def current() -> Settings:
    """Return the settings of the current application."""
    settings: Settings = current_app.extensions["enrol.settings"]
    return settings


def load(values: Mapping[str, str], instance: Path) -> Settings:
    """Return the settings in `values`, which is the environment or a mapping like it.

    The default database and the secret key are files in the folder `instance`; the first start makes the key. Raises
    BadSetting for a misspelt ENROL_ variable, a value that cannot be read or a folder that cannot be written.
    """
    if sentence := environment.misspelt(values, TAKES):
        raise BadSetting(sentence)
    return Settings(
        database_url=_database_url(values, instance),
        secret_key=_secret_key(values, instance),
        secret_key_file=None if values.get("SECRET_KEY") else instance / _SECRET_KEY_FILE,
        secret_key_fallbacks=tuple(
            _strong_key("SECRET_KEY_FALLBACKS", key) for key in _list(values, "SECRET_KEY_FALLBACKS")
        ),
        database_pool=_whole_number(values, "ENROL_DATABASE_POOL", 1, 256, default=_DATABASE_POOL),
        public_url=_url(values, "ENROL_PUBLIC_URL", web_urls.read_base_url),
        instance_name=_instance_name(values),
        rules=Rules(
            password_min_length=_whole_number(values, "ENROL_PASSWORD_MIN_LENGTH", MIN_LENGTH, 256, default=MIN_LENGTH),
            password_blocklist=_choice(values, "ENROL_PASSWORD_BLOCKLIST", ("off", "on")) == "on",
            password_blocklist_file=_password_list(values, "ENROL_PASSWORD_BLOCKLIST_FILE"),
            allow_domains=_domains(values),
            check_deliverability=_choice(values, "ENROL_CHECK_DELIVERABILITY", ("off", "on")) == "on",
        ),
        password_done_url=_url(values, "ENROL_PASSWORD_DONE_URL", web_urls.read_web_url),
        password_hash=_password_hash(values),
        hash_slots=_whole_number(values, "ENROL_HASH_SLOTS", 1, 256, default=cores.usable()),
        hash_queue=_whole_number(values, "ENROL_HASH_QUEUE", 0, 10000, default=hash_queue.QUEUE),
        require_second_factor=_choice(values, "ENROL_REQUIRE_SECOND_FACTOR", REQUIRE_SECOND_FACTOR),
        import_max_bytes=_whole_number(
            values, "ENROL_IMPORT_MAX_BYTES", 1024, 999_999_999_999, default=_IMPORT_MAX_BYTES
        ),
        spool_folder=_spool_folder(values, instance),
        rate_limit=_rate_limit(values),
        trusted_proxies=_whole_number(values, "ENROL_TRUSTED_PROXIES", 0, 10, default=0),
        trusted_hosts=_hosts(values),
        log_format=_choice(
            values, "ENROL_LOG_FORMAT", ("text", "json") if _under_flask_command(values) else ("json", "text")
        ),
        ignored_variables=environment.ignored(values, TAKES),
    )


def _under_flask_command(values: Mapping[str, str]) -> bool:
    """Tell whether this process is a `flask` command, which a person reads at a terminal."""
    return values.get("FLASK_RUN_FROM_CLI") == "true"


def _bad(name: str) -> BadSetting:
    """Return the error for the variable `name`, without its value, which may be a secret."""
    return BadSetting(f"{name} cannot be read. It takes {TAKES[name]}.")


def _list(values: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in values.get(name, "").split(",") if part.strip()]


def _choice(values: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return one of `choices`; the first if the variable is not set or empty."""
    value = values.get(name) or choices[0]
    if value not in choices:
        raise _bad(name)
    return value


def _whole_number(values: Mapping[str, str], name: str, lowest: int, highest: int, *, default: int) -> int:
    value = values.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,12}", value) or not lowest <= int(value) <= highest:
        raise _bad(name)
    return int(value)


def _database_url(values: Mapping[str, str], instance: Path) -> str:
    given = values.get("DATABASE_URL")
    if not given:
        _require_writable(instance)
        return f"sqlite:///{instance / 'enrol.db'}"
    try:
        return database_url.read(given)
    except database_url.BadDatabaseUrl as error:
        raise BadSetting(f"DATABASE_URL cannot be read: {error}. It takes {TAKES['DATABASE_URL']}.") from None


def _require_writable(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> BadSetting:
    return BadSetting(
        f"The folder {folder} must be there and writable by this user ({error.strerror}). "
        "Make it so, or set both DATABASE_URL and SECRET_KEY."
    )


def _secret_key(values: Mapping[str, str], instance: Path) -> str:
    given = values.get("SECRET_KEY")
    return _strong_key("SECRET_KEY", given) if given else _secret_key_of_instance(instance)


def _strong_key(name: str, key: str) -> str:
    if not secret_keys.is_strong(key):
        raise BadSetting(f"{name} is too short or well known. It takes {TAKES[name]}.")
    return key


def _secret_key_of_instance(instance: Path) -> str:
    """Return the key in `instance/secret_key`, which the first start makes."""
    path = instance / _SECRET_KEY_FILE
    try:
        return secret_keys.read_or_make(path)
    except ValueError:
        raise BadSetting(f"{path} holds no usable key. Remove it, and the next start makes a new one.") from None
    except OSError as error:
        raise _unwritable(instance, error) from None


def _url(values: Mapping[str, str], name: str, read: Callable[[str], str]) -> str | None:
    given = values.get(name)
    try:
        return read(given) if given else None
    except ValueError:
        raise _bad(name) from None


def _instance_name(values: Mapping[str, str]) -> str:
    name = values.get("ENROL_INSTANCE_NAME", "").strip() or "Enrol"
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise _bad("ENROL_INSTANCE_NAME")
    return name


def _password_list(values: Mapping[str, str], name: str) -> DigestList | None:
    given = values.get(name)
    try:
        return password_lists.read(Path(given)) if given else None
    except (OSError, ValueError):
        raise _bad(name) from None


def _password_hash(values: Mapping[str, str]) -> HashParameters:
    unsafe = _choice(values, "ENROL_PASSWORD_HASH_UNSAFE", ("off", "1")) == "1"
    given = values.get("ENROL_PASSWORD_HASH") or str(HashParameters())
    try:
        parameters = HashParameters.read(given)
    except ValueError:
        raise _bad("ENROL_PASSWORD_HASH") from None
    if parameters.below_floor() and not unsafe:
        raise _bad("ENROL_PASSWORD_HASH")
    return parameters


def _spool_folder(values: Mapping[str, str], instance: Path) -> Path:
    folder = Path(values.get("ENROL_SPOOL_DIR") or instance / "imports")
    if not folder.is_absolute():
        raise _bad("ENROL_SPOOL_DIR")
    return folder


def _rate_limit(values: Mapping[str, str]) -> Rate | None:
    given = values.get("ENROL_RATE_LIMIT") or "6000/minute"
    match = _RATE.fullmatch(given)
    if not match and given != "off":
        raise _bad("ENROL_RATE_LIMIT")
    return Rate(int(match[1]), _SECONDS[match[2]]) if match else None


def _hosts(values: Mapping[str, str]) -> tuple[str, ...]:
    names = tuple(host.lower() for host in _list(values, "ENROL_TRUSTED_HOSTS"))
    if not all(hosts.is_host(host) for host in names):
        raise _bad("ENROL_TRUSTED_HOSTS")
    return names


def _domains(values: Mapping[str, str]) -> frozenset[str]:
    domains = _list(values, "ENROL_ALLOW_DOMAINS")
    if not all(re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", domain) for domain in domains):
        raise _bad("ENROL_ALLOW_DOMAINS")
    return frozenset(domain.lower() for domain in domains)
