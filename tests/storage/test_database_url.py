"""DATABASE_URL: libpq's own form of it works, and a sentence says which part is wrong."""

from typing import Any

import pytest
from sqlalchemy.engine import make_url

from users.storage.database_url import BadDatabaseUrl, read


def options_of(given: str) -> dict[str, Any]:
    """Return what the driver is given for this URL."""
    url = make_url(read(given))
    return dict(url.get_dialect()().create_connect_args(url)[1])


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgres+psycopg"])
def test_schemes(scheme: str) -> None:
    assert read(f"{scheme}://u:p@h:5433/d") == "postgresql+psycopg://u:p@h:5433/d"


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("u@h1:1,h2:2/d?target_session_attrs=read-write", {"host": "h1,h2", "port": "1,2", "user": "u", "dbname": "d"}),
        ("u@h1:1,h2/d", {"host": "h1,h2", "port": "1,"}),
        ("u@h1,h2/d", {"host": "h1,h2"}),
        ("u@h1,h2/d?port=5433", {"host": "h1,h2", "port": "5433,5433"}),
        ("/d?host=h1,h2&port=1,2", {"host": "h1,h2", "port": "1,2"}),
        ("u@/d?host=h1:1&host=h2:2", {"host": "h1,h2", "port": "1,2"}),
        ("u@/d?host=h1:1&host=h2", {"host": "h1,h2", "port": "1,"}),
        ("[::1]:5,[fe80::2]/d", {"host": "::1,fe80::2", "port": "5,"}),
        ("[::1]:5/d", {"host": "::1", "port": 5}),
        ("/d?host=/run/postgresql", {"host": "/run/postgresql", "dbname": "d"}),
        ("%2Frun%2Fpostgresql/d", {"host": "/run/postgresql"}),
        ("/d?host=/run/a,/run/b&port=1,2", {"host": "/run/a,/run/b", "port": "1,2"}),
        ("?service=enrol", {"service": "enrol"}),
        ("h/d\n", {"host": "h", "dbname": "d"}),
        ("h", {"host": "h"}),
        ("h/my%20d%C3%A9", {"dbname": "my dé"}),
        ("h/d?ssl=true", {"sslmode": "require"}),
        ("h/d?options=-c+search_path%3Dx", {"options": "-c search_path=x"}),
        ("h/d?options=-c search_path=x", {"options": "-c search_path=x"}),
        ("h:5432/d?application_name=me@x", {"host": "h", "port": 5432, "application_name": "me@x"}),
        ("u%40x:p%40%2F%25%23@h/d", {"user": "u@x", "password": "p@/%#"}),
        ("ada@server:p@h/d", {"user": "ada@server", "password": "p"}),
    ],
)
def test_forms(given: str, options: dict[str, Any]) -> None:
    """Hosts, sockets, services and encoded parts reach libpq as they were meant."""
    found = options_of(f"postgresql://{given}")
    assert {name: found.get(name) for name in options} == options


@pytest.mark.parametrize("password", ["p#w", "p?w", "p:w", "p/w", "100%", "50%off", "a+b", "a b", "é"])
def test_password_that_is_clear(password: str) -> None:
    """Characters that can stand only for themselves there need no encoding."""
    assert options_of(f"postgresql://u:{password}@h/d") == {
        "user": "u",
        "password": password,
        "host": "h",
        "dbname": "d",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mysql://root:hunter2@h/d", "it begins with mysql://. Begin it with postgresql://"),
        ("postgresql+psycopg2://u:hunter2@h/d", "it begins with postgresql+psycopg2://."),
        ("POSTGRES://h/d", "in lower case"),
        ("enrol.db", "it does not begin with a scheme"),
        ('"postgresql://u:hunter2@h/d"', "it stands in quotation marks. Leave them out"),
        ("postgresql://u:hunter2@hunter2@h/d", "the user name, the password or the database holds an @"),
        ("postgresql://u:hunter2@/hunter2@h:5432/d", "write @ as %40"),
        ("postgresql://u:hunter2#/hunter2?@h/d", "In a user name, password or database write @ as %40"),
        ("postgresql://u:hunter2/d", "the port is not a number"),
        ("postgresql://h:0/d", "the port is not a number from 1 to 65535"),
        ("postgresql://h1:1,h2:x/d", "the port is not a number"),
        ("postgresql://h1,h2/d?port=1,2,3", "not as many ports as hosts"),
        ("postgresql://[::1/d", "IPv6 address stands in brackets"),
        ("postgresql://h/d?schema=hunter2", "no option schema: write options=-csearch_path%3DNAME"),
        ("postgresql://h/d?colour=hunter2", "no option colour: leave it out"),
        ("postgresql://u:hunter2/x?hunter2=x@h/d", "the part after the ? is not name=value"),
        ("postgresql://u:5432/x?hunter=x@h/d", "the part after the ? is not name=value"),
        ("postgresql://h/d?sslmode", "the part after the ? is not name=value"),
        ("postgresql://h/d?connect_timeout=soon", "connect_timeout is not a number"),
        ("postgresql://u:%00@h/d", "it holds %00"),
        ("postgresql://u:hunter2%ab@h/d", "a % and what stands after it make no character. In a user name, password"),
        ("sqlite:///:memory:", "Write sqlite:////path/to/file.db"),
        ("sqlite:////tmp/x.db?timeout=abc", "after the ? is wrong"),
    ],
)
def test_wrong_parts(given: str, words: str) -> None:
    """The sentence names the part and how to write it, never what it holds."""
    with pytest.raises(BadDatabaseUrl) as caught:
        read(given)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)
