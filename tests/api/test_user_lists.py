"""The API reads several users: pages of a list, and a batch by id."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from sqlalchemy import event

from support.api import USER_FIELDS, Answer, Api
from support.databases import execute
from support.people import UNKNOWN_ID, make_user
from users.actors import terminal
from users.api import parameters
from users.roles import Role
from users.services import user_changes
from users.storage.models import User, db

TERMINAL = terminal("req_test00000000")


def ids_in(answer: Answer) -> list[str]:
    """Return the ids of the users in a list."""
    assert answer.status_code == 200, answer.text
    assert all(list(user) == USER_FIELDS for user in answer.json)
    return [user["id"] for user in answer.json]


def next_in(answer: Answer) -> str | None:
    """Return the URL of the next page, from the Link header."""
    link = answer.headers.get("Link")
    found = re.fullmatch(r'<([^<>]+)>; rel="next"', link) if link else None
    assert bool(found) is bool(link), link
    return found[1] if found else None


@pytest.fixture
def people(app: Flask) -> list[User]:
    """Five users; the second is deactivated, the third verified, the fourth deleted. All but the first are members."""
    made = [
        make_user(app, f"user{number}@example.com", Role.MEMBER if number else None, first_name=str(number))
        for number in range(5)
    ]
    execute(app, "UPDATE users SET last_verified = created_at WHERE id = :id", id=made[2].id)
    with app.app_context():
        user_changes.deactivate_user(made[1].id, actor=TERMINAL)
        user_changes.delete_user(made[3].id, actor=TERMINAL)
    return made


LISTS = [
    ("", [0, 1, 2, 4]),
    ("limit=4", [0, 1, 2, 4]),
    ("limit=1000", [0, 1, 2, 4]),
    ("limit=2", [0, 1]),
    ("skip=1", [1, 2, 4]),
    ("skip=1&limit=2", [1, 2]),
    ("skip=4", []),
    ("skip=100000&limit=1000", []),
    ("active_only=true", [0, 2, 4]),
    ("active_only=false", [0, 1, 2, 4]),
    ("active_only=true&skip=1&limit=1", [2]),
    ("after={1}", [2, 4]),
    ("after={1}&skip=1", [4]),
    ("after={3}", [4]),
    ("after={4}", []),
    ("colour=blue", [0, 1, 2, 4]),
    ("status=active", [0, 2, 4]),
    ("status=deactivated", [1]),
    ("status=active&active_only=true&after={0}", [2, 4]),
    ("verified=false", [0, 1, 4]),
    ("verified=TRUE", [2]),
    ("role=role_member", [1, 2, 4]),
    ("role=role_member&status=active", [2, 4]),
    ("role=role_member&verified=0&status=active&skip=0&limit=7", [4]),
    ("role=role_admin", []),
    ("role=role_member&after={1}&limit=1", [2]),
    ("q=user", [0, 1, 2, 4]),
    ("q=example.com&limit=2", [0, 1]),
    ("q=%20USER2%20", [2]),
    ("q={3}", []),
    ("q={4}", [4]),
    ("q=user&verified=true", [2]),
    ("q=user&role=role_member&status=active&verified=false", [4]),
    ("q=nobody", []),
    ("q=user&limit=300", [0, 1, 2, 4]),
]


@pytest.mark.parametrize(("query", "expected"), LISTS)
def test_list_is_filtered_oldest_first(api: Api, people: list[User], query: str, expected: list[int]) -> None:
    answer = api.get("/v1/user/?" + query.format(*(user.id for user in people)))
    assert ids_in(answer) == [people[number].id for number in expected]


@pytest.mark.one_database
@pytest.mark.parametrize(
    "query",
    [
        *(f"limit={value}" for value in ("0", "1001", "-1", "", "ten", "1.0", "1e2", "+5", "٣", "5&limit=6", "%00")),
        *(
            f"skip={value}"
            for value in ("-1", "100001", "2147483647", str(2**63), "9" * 5000, "", "0x1", "1&skip=1", "1_0")
        ),
        *(f"active_only={value}" for value in ("2", "yes", "", "true&active_only=true")),
        *(f"after={value}" for value in ("", "1", "usr_", UNKNOWN_ID.upper(), UNKNOWN_ID + "0")),
        f"after={UNKNOWN_ID}&after={UNKNOWN_ID}",
        *(f"status={value}" for value in ("", "deleted", "Active", "active&status=active", "%00")),
        *(f"verified={value}" for value in ("", "yes", "2", "true&verified=true")),
        *(f"role={value}" for value in ("", "admin", "role_owner", "role_admin&role=role_admin", "%00")),
        *(f"q={value}" for value in ("", "%20", "%E2%80%8B", "a&q=b", "a" * 513)),
    ],
)
@pytest.mark.parametrize("path", ["/v1/user/", "/v1/user/deleted"])
def test_malformed_parameter(api: Api, path: str, query: str) -> None:
    answer = api.get(f"{path}?{query}")
    name = query.partition("=")[0]
    if path == "/v1/user/deleted" and (name in ("active_only", "status", "verified", "role", "q")):
        assert answer.status_code == 200  # unknown there, so it is ignored
        return
    error = answer.json["error"]
    assert (answer.status_code, error["code"]) == (400, "INVALID_PARAMETER")
    assert error["details"] == {"parameter": name}


@pytest.mark.parametrize("path", ["/v1/user/", "/v1/user/deleted"])
def test_skip_over_its_limit(api: Api, path: str) -> None:
    """The message says to go on by id."""
    answer = api.get(f"{path}?skip={parameters.MAX_SKIP + 1}")
    assert answer.status_code == 400
    assert answer.json["error"]["message"] == (
        "skip takes a whole number from 0 to 100000, once; to go further, use after, the last id of the page before."
    )


@pytest.mark.parametrize(
    "query",
    ["limit=1", "limit=2&active_only=true", "limit=3&skip=0", "limit=1&skip=1", "limit=1&verified=0&role=role_member"],
)
def test_following_links(api: Api, people: list[User], query: str) -> None:
    """A caller who follows the links sees every user once."""
    asked = dict(parse_qsl(query))
    all_ids = ids_in(api.get("/v1/user/?" + query.replace(f"limit={asked['limit']}", "limit=1000")))
    url: str | None = f"/v1/user/?{query}"
    seen: list[str] = []
    while url:
        answer = api.get(url)
        seen += ids_in(answer)
        url = next_in(answer)
    assert seen == all_ids


def test_link_keeps_the_query(api: Api, people: list[User]) -> None:
    """All but `skip`: the next page starts after an id."""
    answer = api.get("/v1/user?limit=1&active_only=true&skip=1&note=a%20b%26%22%3E%0D%0A&note=c")
    parts = urlsplit(next_in(answer) or "")
    assert (parts.netloc, parts.path) == ("localhost", "/v1/user/")
    assert parse_qsl(parts.query) == [
        ("limit", "1"),
        ("active_only", "true"),
        ("note", 'a b&">\r\n'),
        ("note", "c"),
        ("after", people[2].id),
    ]
    assert next_in(api.get("/v1/user/?limit=4")) is None
    assert next_in(api.get("/v1/user/?skip=3&limit=1")) is None


def test_nobody_is_active_and_deactivated(api: Api, people: list[User]) -> None:
    assert ids_in(api.get("/v1/user/?status=deactivated"))
    assert ids_in(api.get("/v1/user/?status=deactivated&active_only=true")) == []


def test_search_has_no_link(api: Api, people: list[User], monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds so many users at most, and the other parameters narrow that."""
    everybody = ids_in(api.get("/v1/user/?q=user"))
    assert len(everybody) > 2
    assert next_in(api.get("/v1/user/?q=user&limit=1")) is None
    assert ids_in(api.get(f"/v1/user/?q=user&after={everybody[0]}")) == everybody[1:]
    assert ids_in(api.get("/v1/user/?q=user&skip=1&limit=1")) == everybody[1:2]
    monkeypatch.setattr(parameters, "MAX_FOUND", 2)
    for query in ("q=user", "q=user&limit=1000"):
        assert ids_in(api.get(f"/v1/user/?{query}")) == everybody[:2]


def test_links_of_deleted_users(app: Flask, api: Api, people: list[User]) -> None:
    with app.app_context():
        for number in (0, 2):
            user_changes.delete_user(people[number].id, actor=TERMINAL)
    first = api.get("/v1/user/deleted?limit=1&skip=1")
    assert next_in(first) == f"http://localhost/v1/user/deleted?limit=1&after={people[2].id}"
    last = api.get(next_in(first) or "")
    assert (ids_in(first), ids_in(last)) == ([people[2].id], [people[3].id])
    assert next_in(last) is None


@pytest.mark.parametrize(
    ("settings", "host", "base"),
    [
        ({}, "stranger.example", ""),
        ({"ENROL_TRUSTED_HOSTS": "xn--80ak6aa92e.com"}, "xn--80ak6aa92e.com", "http://xn--80ak6aa92e.com"),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "stranger.example", "https://users.example.com"),
        ({"ENROL_TRUSTED_HOSTS": "users.example.com"}, "users.example.com", "http://users.example.com"),
    ],
)
def test_link_is_absolute_if_base_url_is_known(api: Api, people: list[User], host: str, base: str) -> None:
    """A client's Host header alone does not make it known."""
    answer = api.get("/v1/user/?limit=1", headers={"Host": host})
    assert next_in(answer) == f"{base}/v1/user/?limit=1&after={people[0].id}"


def test_list_of_deleted_users(app: Flask, api: Api, people: list[User]) -> None:
    with app.app_context():
        user_changes.delete_user(people[0].id, actor=TERMINAL)
    assert ids_in(api.get("/v1/user/deleted")) == [people[0].id, people[3].id]
    assert ids_in(api.get("/v1/user/deleted/?limit=1")) == [people[0].id]
    assert ids_in(api.get("/v1/user/deleted?skip=1")) == [people[3].id]
    assert ids_in(api.get(f"/v1/user/deleted?after={people[0].id}")) == [people[3].id]
    assert ids_in(api.get(f"/v1/user/deleted?after={people[3].id}")) == []
    assert [user["is_active"] for user in api.get("/v1/user/deleted").json] == [False, False]


def batch(api: Api, user_ids: Any, **more: Any) -> Answer:
    """Ask for several users."""
    return api.call("POST", "/v1/user/batch", json={"user_ids": user_ids, **more})


def test_batch_keeps_the_order(api: Api, people: list[User]) -> None:
    wanted = [people[number].id for number in (4, 0, 3, 4, 1)] + [UNKNOWN_ID, "nobody", ""]
    answer = batch(api, wanted)
    assert answer.status_code == 200
    assert list(answer.json) == ["users", "total", "requested_ids"]
    # Deleted and unknown users are left out, and no user comes twice.
    assert ids_in_batch(answer) == [people[number].id for number in (4, 0, 1)]
    assert answer.json["total"] == 3
    assert answer.json["requested_ids"] == wanted
    assert all(list(user) == USER_FIELDS for user in answer.json["users"])
    assert batch(api, [UNKNOWN_ID]).json == {"users": [], "total": 0, "requested_ids": [UNKNOWN_ID]}


def ids_in_batch(answer: Answer) -> list[str]:
    """Return the ids of the users in a batch."""
    return [user["id"] for user in answer.json["users"]]


def test_batch_of_a_hundred(api: Api, people: list[User]) -> None:
    assert batch(api, [people[0].id] * 100).json["total"] == 1
    assert batch(api, [people[0].id] * 101).json["error"]["code"] == "INVALID_TYPE"


@pytest.mark.one_database
@pytest.mark.parametrize("user_ids", [[], "usr_1", [1], [None], [["usr_1"]], {"usr_1": 1}, 5, True])
def test_batch_without_a_list_of_ids(api: Api, user_ids: Any) -> None:
    answer = batch(api, user_ids)
    assert answer.status_code == 422
    words = "User ids must be a list of 1 to 100 ids (a JSON array of strings)"
    assert answer.json["error"]["details"] == {
        "field": "user_ids",
        "errors": [{"field": "user_ids", "code": "INVALID_TYPE", "message": words}],
    }


def test_batch_with_several_errors(api: Api) -> None:
    error = api.call("POST", "/v1/user/batch", json={"user_id": [UNKNOWN_ID]}).json["error"]
    assert [(one["field"], one["code"]) for one in error["details"]["errors"]] == [
        ("user_ids", "REQUIRED_FIELD"),
        ("user_id", "UNKNOWN_FIELD"),
    ]
    assert 'Did you mean "user_ids"?' in error["message"]


def test_queries_do_not_grow_with_users(app: Flask, api: Api, people: list[User]) -> None:
    queries: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            queries.append(statement)

    with app.app_context():
        engine = db.engine
    api.get("/v1/user/")  # records the key's last use, which it then skips for a minute
    event.listen(engine, "before_cursor_execute", note)
    try:
        for path in ("/v1/user/?limit=1", "/v1/user/", "/v1/user/deleted", "/v1/user/?verified=0&role=role_member"):
            assert api.get(path).status_code == 200
        assert batch(api, [user.id for user in people]).status_code == 200
        assert len(queries) == 5 * 2 + 1  # for the key and for the users; for the key again after the body has arrived
    finally:
        event.remove(engine, "before_cursor_execute", note)
