"""Settings: a value that cannot be read stops the start with the variable's name and what it takes."""

import re
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from support.application import CHEAP, SECRET_KEY
from users import settings
from users.passwords import cores
from users.passwords.argon2id import HashParameters
from users.rate_limits import Rate
from users.rules.validation import Rules
from users.settings import TAKES, BadSetting, Settings, load

OTHER_KEY = SECRET_KEY[::-1]
SET = {
    "SECRET_KEY": SECRET_KEY,
    "DATABASE_URL": "sqlite:////tmp/enrol.db",
}  # with these, the instance folder is not needed
NOWHERE = Path("/nowhere/at/all")


def read(**values: str) -> Settings:
    """Return the settings of these variables, with a key and a database."""
    return load({**SET, **values}, NOWHERE)


def refusal(values: dict[str, str], instance: Path = NOWHERE) -> str:
    """Return the sentence that refuses `values`."""
    with pytest.raises(BadSetting) as caught:
        load({**SET, **values}, instance)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_variables() -> None:
    """They are the contract's."""
    assert list(TAKES) == [
        "DATABASE_URL",
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "ENROL_DATABASE_POOL",
        "ENROL_PUBLIC_URL",
        "ENROL_INSTANCE_NAME",
        "ENROL_PASSWORD_MIN_LENGTH",
        "ENROL_PASSWORD_BLOCKLIST",
        "ENROL_PASSWORD_BLOCKLIST_FILE",
        "ENROL_PASSWORD_DONE_URL",
        "ENROL_PASSWORD_HASH",
        "ENROL_PASSWORD_HASH_UNSAFE",
        "ENROL_HASH_SLOTS",
        "ENROL_HASH_QUEUE",
        "ENROL_IMPORT_MAX_BYTES",
        "ENROL_SPOOL_DIR",
        "ENROL_RATE_LIMIT",
        "ENROL_REQUIRE_SECOND_FACTOR",
        "ENROL_TRUSTED_PROXIES",
        "ENROL_TRUSTED_HOSTS",
        "ENROL_ALLOW_DOMAINS",
        "ENROL_CHECK_DELIVERABILITY",
        "ENROL_LOG_FORMAT",
    ]


def test_defaults(tmp_path: Path) -> None:
    """They are the contract's."""
    given = load({}, tmp_path)
    assert given == Settings(
        database_url=f"sqlite:///{tmp_path}/enrol.db",
        secret_key=(tmp_path / "secret_key").read_text(),
        secret_key_file=tmp_path / "secret_key",
        secret_key_fallbacks=(),
        database_pool=16,
        public_url=None,
        instance_name="Enrol",
        rules=Rules(
            password_min_length=8,
            password_blocklist=False,
            password_blocklist_file=None,
            allow_domains=frozenset(),
            check_deliverability=False,
        ),
        password_done_url=None,
        password_hash=HashParameters(memory=65536, time=3, lanes=4),
        hash_slots=cores.usable(),
        hash_queue=16,
        require_second_factor="off",
        import_max_bytes=536_870_912,
        spool_folder=tmp_path / "imports",
        rate_limit=Rate(6000, 60),
        trusted_proxies=0,
        trusted_hosts=(),
        log_format="json",
        ignored_variables=(),
    )
    assert load(dict.fromkeys(TAKES, ""), tmp_path) == given, "an empty variable is one that is not set"


GOOD: list[tuple[str, str, str, Any]] = [
    ("DATABASE_URL", "postgres://u:p@h:5432/d", "database_url", "postgresql+psycopg://u:p@h:5432/d"),
    (
        "DATABASE_URL",
        "postgresql://u@h/d?sslmode=require",
        "database_url",
        "postgresql+psycopg://u@h/d?sslmode=require",
    ),
    ("DATABASE_URL", "postgresql+psycopg://h/d", "database_url", "postgresql+psycopg://h/d"),
    ("DATABASE_URL", "sqlite:////var/enrol.db", "database_url", "sqlite:////var/enrol.db"),
    ("SECRET_KEY", OTHER_KEY, "secret_key", OTHER_KEY),
    ("SECRET_KEY_FALLBACKS", f"{OTHER_KEY} , {SECRET_KEY},", "secret_key_fallbacks", (OTHER_KEY, SECRET_KEY)),
    ("ENROL_DATABASE_POOL", "1", "database_pool", 1),
    ("ENROL_DATABASE_POOL", "256", "database_pool", 256),
    ("ENROL_PUBLIC_URL", "https://Users.Example.com/", "public_url", "https://users.example.com"),
    ("ENROL_PUBLIC_URL", "http://localhost:5000", "public_url", "http://localhost:5000"),
    ("ENROL_PUBLIC_URL", "http://localhost:", "public_url", "http://localhost"),
    ("ENROL_PUBLIC_URL", "http://[::1]:5000", "public_url", "http://[::1]:5000"),
    ("ENROL_PASSWORD_MIN_LENGTH", "8", "rules.password_min_length", 8),
    ("ENROL_PASSWORD_MIN_LENGTH", "256", "rules.password_min_length", 256),
    ("ENROL_PASSWORD_BLOCKLIST", "on", "rules.password_blocklist", True),
    ("ENROL_PASSWORD_BLOCKLIST", "off", "rules.password_blocklist", False),
    ("ENROL_PASSWORD_BLOCKLIST_FILE", "", "rules.password_blocklist_file", None),  # a file is in a test below
    ("ENROL_PASSWORD_DONE_URL", "https://app.example.com", "password_done_url", "https://app.example.com"),
    (
        "ENROL_PASSWORD_DONE_URL",
        "http://localhost:3000/Start?from=enrol&a[]=%C3%A4'#in",
        "password_done_url",
        "http://localhost:3000/Start?from=enrol&a[]=%C3%A4'#in",
    ),
    ("ENROL_INSTANCE_NAME", " Bücher & Söhne <1> ", "instance_name", "Bücher & Söhne <1>"),
    ("ENROL_INSTANCE_NAME", "x" * 40, "instance_name", "x" * 40),
    ("ENROL_INSTANCE_NAME", " ", "instance_name", "Enrol"),
    ("ENROL_IMPORT_MAX_BYTES", "1024", "import_max_bytes", 1024),
    ("ENROL_IMPORT_MAX_BYTES", "999999999999", "import_max_bytes", 999_999_999_999),
    ("ENROL_SPOOL_DIR", "/srv/enrol", "spool_folder", Path("/srv/enrol")),
    ("ENROL_PASSWORD_HASH", "m=19456,t=2,p=1", "password_hash", HashParameters(19456, 2, 1)),
    ("ENROL_PASSWORD_HASH", "m=7168,t=5,p=1", "password_hash", HashParameters(7168, 5, 1)),
    ("ENROL_PASSWORD_HASH", "m=4194304,t=9999,p=255", "password_hash", HashParameters(4194304, 9999, 255)),
    ("ENROL_PASSWORD_HASH_UNSAFE", "1", "password_hash", HashParameters()),
    ("ENROL_PASSWORD_HASH_UNSAFE", "off", "password_hash", HashParameters()),
    ("ENROL_HASH_SLOTS", "1", "hash_slots", 1),
    ("ENROL_HASH_QUEUE", "0", "hash_queue", 0),
    ("ENROL_RATE_LIMIT", "5/second", "rate_limit", Rate(5, 1)),
    ("ENROL_RATE_LIMIT", "1/minute", "rate_limit", Rate(1, 60)),
    ("ENROL_RATE_LIMIT", "999999999/hour", "rate_limit", Rate(999999999, 3600)),
    ("ENROL_RATE_LIMIT", "off", "rate_limit", None),
    ("ENROL_REQUIRE_SECOND_FACTOR", "administrators", "require_second_factor", "administrators"),
    ("ENROL_TRUSTED_PROXIES", "0", "trusted_proxies", 0),
    ("ENROL_TRUSTED_PROXIES", "10", "trusted_proxies", 10),
    (
        "ENROL_TRUSTED_HOSTS",
        "a.example.com, .B.org,,[::1],::1",
        "trusted_hosts",
        ("a.example.com", ".b.org", "[::1]", "::1"),
    ),
    ("ENROL_ALLOW_DOMAINS", "LOCAL, corp.test", "rules.allow_domains", frozenset({"local", "corp.test"})),
    ("ENROL_CHECK_DELIVERABILITY", "on", "rules.check_deliverability", True),
    ("ENROL_CHECK_DELIVERABILITY", "off", "rules.check_deliverability", False),
    ("ENROL_LOG_FORMAT", "text", "log_format", "text"),
    ("ENROL_LOG_FORMAT", "json", "log_format", "json"),
]


# pytest-xdist needs the same test ids in all processes, and each process makes new keys.
@pytest.mark.parametrize(("name", "value", "member", "expected"), GOOD, ids=[f"{one[0]}-{one[2]}" for one in GOOD])
def test_good_values(name: str, value: str, member: str, expected: object) -> None:
    found: Any = read(**{name: value})
    for part in member.split("."):
        found = getattr(found, part)
    assert found == expected


NO_SWITCH = ["yes", "true", "ON", "0", " on", "on\n", "on,off"]
BAD: dict[str, list[str]] = {
    "DATABASE_URL": [
        "enrol.db",
        "mysql://root:hunter2@h/d",
        "postgres://u:hunter2@h:port/d",
        "postgresql+psycopg2://h/d",
        "POSTGRES://h/d",
        "http://h/d",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////tmp/x.db?timeout=abc",
        "postgresql://h/d?connect_timeout=abc",
        "postgresql://h/d?colour=blue",
        "sqlite:///file:x?mode=memory&uri=true",
        "sqlite+pysqlite:////tmp/x.db",
        ":// ",
    ],
    "ENROL_DATABASE_POOL": ["0", "257", "-1", "two", "1.5", "16 "],
    "ENROL_PUBLIC_URL": [
        "users.example.com",
        "//users.example.com",
        "ftp://users.example.com",
        "javascript:alert(1)",
        "https://",
        "https://users.example.com/admin",
        "https://users.example.com/?a=b",
        "https://users.example.com/#a",
        "https://me:hunter2@users.example.com",
        "https://:hunter2@users.example.com",
        "https://@users.example.com",
        "https://users.example.com:port",
        "https://users.example.com:99999",
        "https://[::1",
        "https://users example.com",
        "https://users.example.com\\@evil.example",
        "https://bücher.com",
        "https://a.example.com, https://b.example.com",
    ],
    "ENROL_PASSWORD_MIN_LENGTH": ["7", "0", "-8", "257", "8.0", "eight", "1e1", "٨", "²", "9" * 5000, " 8", "8\n"],
    "ENROL_PASSWORD_BLOCKLIST": NO_SWITCH,
    "ENROL_PASSWORD_BLOCKLIST_FILE": ["/nowhere/at/all", "on", "/", "/nowhere\0", "x" * 5000],
    "ENROL_PASSWORD_DONE_URL": [
        "app.example.com/start",
        "/start",
        "//app.example.com/start",
        "javascript:alert(1)",
        "data:text/html,hi",
        "ftp://app.example.com",
        "https://",
        "https:///start",
        "https://me:hunter2@app.example.com/",
        "https://app.example.com:port/",
        "https://app.example.com:99999/",
        "https://[::1/",
        "https://app.example.com/a b",
        "https://app.example.com/\nSet-Cookie:a=b",
        "https://app.example.com/\r",
        'https://app.example.com/"onclick="alert(1)',
        "https://app.example.com/<b>",
        "https://app.example.com\\@evil.example",
        "https://bücher.com/",
        "https://app.example.com/ä",
    ],
    "ENROL_INSTANCE_NAME": ["x" * 41, "two\nlines", "\u202ednuor", "\udcff"],
    "ENROL_PASSWORD_HASH": [
        "argon2id",
        "m=65536",
        "t=3,m=65536,p=4",
        "m=65536, t=3, p=4",
        "m=65536,t=3,p=4,x=1",
        "m=65536,t=3,p=4\n",
        "m=٦٥٥٣٦,t=3,p=4",
        "m=-65536,t=3,p=4",
        "m=65536,t=0,p=4",
        "m=65536,t=3,p=0",
        "m=65536,t=3,p=256",
        "m=4194305,t=3,p=4",
        "m=99999999999,t=3,p=4",
        "m=19455,t=2,p=1",
        "m=19456,t=1,p=1",
        "m=7167,t=100,p=1",
        "m=8,t=1,p=1",
    ],
    "ENROL_PASSWORD_HASH_UNSAFE": ["on", "0", "yes", "11"],
    "ENROL_HASH_SLOTS": ["0", "257", "two", "-1", "1.5"],
    "ENROL_HASH_QUEUE": ["-1", "10001", "none"],
    "ENROL_IMPORT_MAX_BYTES": ["1023", "1000000000000", "512M", "-1"],
    "ENROL_SPOOL_DIR": ["imports", "./imports"],
    "ENROL_RATE_LIMIT": ["0", "60", "0/minute", "6000/min", "6000 / minute", "1/day", "on", "-1/second", "٨/minute"],
    "ENROL_REQUIRE_SECOND_FACTOR": ["on", "admins", "1"],
    "ENROL_TRUSTED_PROXIES": ["-1", "11", "one", "1.0", "*", "127.0.0.1"],
    "ENROL_TRUSTED_HOSTS": ["*", "https://a.example.com", "a.example.com/", "a b", "a..b", ".", "bücher.com", "[::1"],
    "ENROL_ALLOW_DOMAINS": ["*", ".local", "a..b", "a b", "@local", "jo@corp.test", "bücher.test"],
    "ENROL_CHECK_DELIVERABILITY": NO_SWITCH,
    "ENROL_LOG_FORMAT": ["JSON", "xml", "text,json"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_bad_values(name: str, value: str) -> None:
    """The sentence says what the variable takes, and never repeats the value."""
    sentence = refusal({name: value})
    if name == "DATABASE_URL":  # tests/storage/test_database_url.py has its sentences
        assert sentence.startswith("DATABASE_URL cannot be read: ")
        assert sentence.endswith(f". It takes {TAKES[name]}.")
        assert not re.search("hunter2|secret", sentence)
    else:
        assert sentence == f"{name} cannot be read. It takes {TAKES[name]}."


def test_password_blocklist_file(tmp_path: Path) -> None:
    """It is read at the start, whether or not the list of common passwords is on, and not again."""
    file = tmp_path / "refused.txt"
    file.write_text("Enrol 2026\n")
    rules = read(ENROL_PASSWORD_BLOCKLIST_FILE=str(file)).rules
    file.unlink()
    assert rules.password_blocklist is False
    assert rules.password_blocklist_file is not None
    assert "enrol 2026" in rules.password_blocklist_file
    assert "enrol 2027" not in rules.password_blocklist_file


def test_password_blocklist_file_that_is_not_utf8(tmp_path: Path) -> None:
    name = "ENROL_PASSWORD_BLOCKLIST_FILE"
    (file := tmp_path / "refused.txt").write_text("hunter2\n", encoding="utf-16")
    assert refusal({name: str(file)}) == f"{name} cannot be read. It takes {TAKES[name]}."


def test_tables_have_every_variable() -> None:
    assert {name for name, *_ in GOOD} == set(TAKES)
    assert {*BAD, "SECRET_KEY", "SECRET_KEY_FALLBACKS"} == set(TAKES)  # the tests of the keys are below


@pytest.mark.parametrize(
    "key",
    [
        "dev",
        SECRET_KEY[:31],
        " " * 40,
        "0" * 64,
        "secret" * 10,
        "changeme-changeme-changeme-changeme",
        "please-CHANGE_ME-0123456789-abcdefghij",
        "django-insecure-0123456789abcdefghijklmnop",
        "your-secret-key-goes-here-0123456789",
        "this is a super secret key 0123456789",
        "replace-with-a-long-random-string-12345",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",  # the key in Flask's documentation
    ],
    ids=range(12),
)
@pytest.mark.parametrize("name", ["SECRET_KEY", "SECRET_KEY_FALLBACKS"])
def test_weak_secret_keys(name: str, key: str) -> None:
    """A short or well-known key is refused and not repeated."""
    if name == "SECRET_KEY_FALLBACKS":
        key = f"{OTHER_KEY},{key if key.strip() else '0'}"
    assert refusal({name: key}) == f"{name} is too short or well known. It takes {TAKES[name]}."


def test_misspelt_variable() -> None:
    """It stops the start, and its value is not repeated."""
    assert refusal({"ENROL_PASSWORD_MINLENGTH": "hunter2"}) == (
        "ENROL_PASSWORD_MINLENGTH is not a setting. Did you mean ENROL_PASSWORD_MIN_LENGTH?"
    )


def test_unknown_variable(capfd: pytest.CaptureFixture[str]) -> None:
    """A warning on stderr at each start, also of a command; not for what Kubernetes sets."""
    create_app({**CHEAP, **SET, "ENROL_VERSION": "hunter2", "ENROL_PORT": "tcp://10.0.0.1:80"})
    assert capfd.readouterr() == ("", "Warning: ENROL_VERSION is not a setting, so Enrol ignores it.\n")


def test_variables_of_other_programs() -> None:
    assert read(PATH="/bin", FLASK_DEBUG="1", XENROL_A="b", MY_ENROL_X="y") == read()


@pytest.mark.parametrize("parameters", ["m=8,t=1,p=1", "m=19455,t=2,p=1", "m=2040,t=1,p=255"])
def test_hash_below_the_floor(parameters: str) -> None:
    """Only ENROL_PASSWORD_HASH_UNSAFE lets it pass."""
    given = read(ENROL_PASSWORD_HASH=parameters, ENROL_PASSWORD_HASH_UNSAFE="1")
    assert (str(given.password_hash), given.password_hash.below_floor()) == (parameters, True)
    message = refusal({"ENROL_PASSWORD_HASH": parameters, "ENROL_PASSWORD_HASH_UNSAFE": "off"})
    assert "ENROL_PASSWORD_HASH" in message
    assert parameters not in message


@pytest.mark.parametrize("parameters", ["m=7,t=1,p=1", "m=8,t=0,p=1", "m=15,t=1,p=2", "m=8,t=1,p=0"])
def test_impossible_hash_parameters(parameters: str) -> None:
    """Not even ENROL_PASSWORD_HASH_UNSAFE lets them pass."""
    assert "ENROL_PASSWORD_HASH" in refusal({"ENROL_PASSWORD_HASH": parameters, "ENROL_PASSWORD_HASH_UNSAFE": "1"})


def test_log_format_of_the_flask_command() -> None:
    assert read(FLASK_RUN_FROM_CLI="true").log_format == "text"
    assert read(FLASK_RUN_FROM_CLI="true", ENROL_LOG_FORMAT="json").log_format == "json"


def test_repr_hides_secrets() -> None:
    given = read(DATABASE_URL="postgres://u:hunter2@h/d", SECRET_KEY_FALLBACKS=OTHER_KEY)
    assert not re.search(f"hunter2|{SECRET_KEY}|{OTHER_KEY}", f"{given!r} {given}")


def test_application_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CHEAP, **SET, "ENROL_PASSWORD_MIN_LENGTH": "10", "SECRET_KEY_FALLBACKS": OTHER_KEY}.items():
        monkeypatch.setenv(name, value)
    made = create_app({"ENROL_PASSWORD_MIN_LENGTH": "12", "ENROL_TRUSTED_HOSTS": "a.example.com"})
    with made.app_context():
        assert settings.current().trusted_hosts == ("a.example.com",)
        assert settings.current().rules.password_min_length == 12  # the mapping has precedence over the environment
    assert made.config["SECRET_KEY"] == SECRET_KEY
    assert made.config["SECRET_KEY_FALLBACKS"] == [OTHER_KEY]
    assert made.config["SQLALCHEMY_DATABASE_URI"] == SET["DATABASE_URL"]
