"""The API reads users: one by one, by email, in lists and in batches."""

import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from flask import Flask
from sqlalchemy import event

from support.api import USER_FIELDS, Answer, Api
from support.people import Cast, make_key, make_user
from users.actors import terminal
from users.api import parameters
from users.roles import Permission
from users.services import user_changes
from users.storage.models import User, db

TERMINAL = terminal("req_test00000000")
NOBODY = "usr_01900000000070008000000000000000"


def ids_in(answer: Answer) -> list[str]:
    """Return the ids of the users in a list."""
    assert answer.status_code == 200, answer.text
    assert all(list(user) == USER_FIELDS for user in answer.json)
    return [user["id"] for user in answer.json]


def next_in(answer: Answer) -> str | None:
    """Return the address that Link calls the next one."""
    link = answer.headers.get("Link")
    found = re.fullmatch(r'<([^<>]+)>; rel="next"', link) if link else None
    assert bool(found) is bool(link), link
    return found[1] if found else None


@pytest.fixture
def people(app: Flask) -> list[User]:
    """Five users; the second is deactivated, the fourth deleted."""
    made = [make_user(app, f"user{number}@example.com", first_name=str(number)) for number in range(5)]
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
]


@pytest.mark.parametrize(("query", "expected"), LISTS)
def test_the_list_holds_who_is_asked_for_oldest_first(
    api: Api, people: list[User], query: str, expected: list[int]
) -> None:
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
        *(f"active_only={value}" for value in ("1", "True", "", "true&active_only=true")),
        *(f"after={value}" for value in ("", "1", "usr_", NOBODY.upper(), NOBODY + "0", f"{NOBODY}&after={NOBODY}")),
    ],
)
@pytest.mark.parametrize("path", ["/v1/user/", "/v1/user/deleted"])
def test_a_malformed_parameter_is_named(api: Api, path: str, query: str) -> None:
    answer = api.get(f"{path}?{query}")
    name = query.partition("=")[0]
    if path == "/v1/user/deleted" and name == "active_only":
        assert answer.status_code == 200  # unknown there, and so ignored
        return
    error = answer.json["error"]
    assert (answer.status_code, error["code"]) == (400, "INVALID_PARAMETER")
    assert error["details"] == {"parameter": name}


@pytest.mark.parametrize("path", ["/v1/user/", "/v1/user/deleted"])
def test_who_would_skip_too_many_is_told_how_to_go_on(api: Api, path: str) -> None:
    answer = api.get(f"{path}?skip={parameters.MAX_SKIP + 1}")
    assert answer.status_code == 400
    assert answer.json["error"]["message"] == (
        "skip takes a whole number from 0 to 100000, once; to go further, use after, the last id of the page before."
    )


@pytest.mark.parametrize("query", ["limit=1", "limit=2&active_only=true", "limit=3&skip=0", "limit=1&skip=1"])
def test_whoever_follows_the_links_sees_everybody_once(api: Api, people: list[User], query: str) -> None:
    asked = dict(parse_qsl(query))
    everybody = ids_in(api.get("/v1/user/?" + query.replace(f"limit={asked['limit']}", "limit=1000")))
    address: str | None = f"/v1/user/?{query}"
    seen: list[str] = []
    while address:
        answer = api.get(address)
        seen += ids_in(answer)
        address = next_in(answer)
    assert seen == everybody


def test_the_link_keeps_what_was_asked_and_goes_on_by_id(api: Api, people: list[User]) -> None:
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


def test_the_deleted_are_followed_by_links_too(app: Flask, api: Api, people: list[User]) -> None:
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
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "stranger.example", "https://users.example.com"),
        ({"ENROL_TRUSTED_HOSTS": "users.example.com"}, "users.example.com", "http://users.example.com"),
    ],
)
def test_the_link_is_whole_only_where_the_services_address_is_known(
    api: Api, people: list[User], host: str, base: str
) -> None:
    answer = api.get("/v1/user/?limit=1", headers={"Host": host})
    assert next_in(answer) == f"{base}/v1/user/?limit=1&after={people[0].id}"


def test_the_deleted_have_a_list_of_their_own(app: Flask, api: Api, people: list[User]) -> None:
    with app.app_context():
        user_changes.delete_user(people[0].id, actor=TERMINAL)
    assert ids_in(api.get("/v1/user/deleted")) == [people[0].id, people[3].id]
    assert ids_in(api.get("/v1/user/deleted/?limit=1")) == [people[0].id]
    assert ids_in(api.get("/v1/user/deleted?skip=1")) == [people[3].id]
    assert ids_in(api.get(f"/v1/user/deleted?after={people[0].id}")) == [people[3].id]
    assert ids_in(api.get(f"/v1/user/deleted?after={people[3].id}")) == []
    assert [user["is_active"] for user in api.get("/v1/user/deleted").json] == [False, False]


SPELLINGS = {
    "straße@bücher.com": [
        "straße@bücher.com",
        "STRASSE@BÜCHER.COM",
        "ﬆraße@xn--bcher-kva.com",
        "ｓｔｒａｓｓｅ@bu\u0308cher.com",
        " straße@bücher.com ",
    ],
    "a/b+c@example.com": ["a/b+c@example.com", "A/B+C@EXAMPLE.COM"],
    "a%b#c?d@example.com": ["a%b#c?d@example.com"],
}


@pytest.mark.parametrize("email", SPELLINGS)
def test_whatever_spelling_is_refused_as_taken_is_found(app: Flask, api: Api, email: str) -> None:
    user = make_user(app, email)
    for spelling in SPELLINGS[email]:
        assert api.create(email=spelling).status_code == 409
        for path in (quote(spelling), quote(spelling, safe=""), quote(spelling) + "/"):
            answer = api.get(f"/v1/user/email/{path}")
            assert list(answer.json) == USER_FIELDS
            assert answer.json == user.as_user()


@pytest.mark.parametrize("path", ["nobody@example.com", "no address", "%00", "a@b.c//", "%ff@example.com", "x" * 9000])
def test_an_email_that_nobody_has_is_404(api: Api, people: list[User], path: str) -> None:
    answer = api.get(f"/v1/user/email/{path}")
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "USER_NOT_FOUND")


def test_the_email_of_who_was_deleted_is_nobodys(api: Api, people: list[User]) -> None:
    assert api.get("/v1/user/email/user3@example.com").status_code == 404
    made = api.create(email="user3@example.com").json
    assert api.get("/v1/user/email/user3@example.com").json == made


def batch(api: Api, user_ids: Any, **more: Any) -> Answer:
    """Ask for several users."""
    return api.call("POST", "/v1/user/batch", json={"user_ids": user_ids, **more})


def test_a_batch_comes_in_the_order_of_asking(api: Api, people: list[User]) -> None:
    wanted = [people[number].id for number in (4, 0, 3, 4, 1)] + [NOBODY, "nobody", ""]
    answer = batch(api, wanted)
    assert answer.status_code == 200
    assert list(answer.json) == ["users", "total", "requested_ids"]
    # The deleted and the unknown are left out, and nobody comes twice.
    assert ids_in_batch(answer) == [people[number].id for number in (4, 0, 1)]
    assert answer.json["total"] == 3
    assert answer.json["requested_ids"] == wanted
    assert all(list(user) == USER_FIELDS for user in answer.json["users"])
    assert batch(api, [NOBODY]).json == {"users": [], "total": 0, "requested_ids": [NOBODY]}


def ids_in_batch(answer: Answer) -> list[str]:
    """Return the ids of the users in a batch."""
    return [user["id"] for user in answer.json["users"]]


def test_a_batch_holds_up_to_a_hundred(api: Api, people: list[User]) -> None:
    assert batch(api, [people[0].id] * 100).json["total"] == 1
    assert batch(api, [people[0].id] * 101).json["error"]["code"] == "INVALID_TYPE"


@pytest.mark.one_database
@pytest.mark.parametrize("user_ids", [[], "usr_1", [1], [None], [["usr_1"]], {"usr_1": 1}, 5, True])
def test_what_is_no_list_of_ids_is_refused(api: Api, user_ids: Any) -> None:
    answer = batch(api, user_ids)
    assert answer.status_code == 422
    words = "User ids must be a list of 1 to 100 ids (a JSON array of strings)"
    assert answer.json["error"]["details"] == {
        "field": "user_ids",
        "errors": [{"field": "user_ids", "code": "INVALID_TYPE", "message": words}],
    }


def test_a_batch_tells_all_that_is_wrong_with_it(api: Api) -> None:
    error = api.call("POST", "/v1/user/batch", json={"user_id": [NOBODY]}).json["error"]
    assert [(one["field"], one["code"]) for one in error["details"]["errors"]] == [
        ("user_ids", "REQUIRED_FIELD"),
        ("user_id", "UNKNOWN_FIELD"),
    ]
    assert 'Did you mean "user_ids"?' in error["message"]


def test_a_user_and_a_profile_have_their_members(app: Flask, api: Api, cast: Cast) -> None:
    assert list(api.get(f"/v1/user/{cast.ada.id}").json) == [*USER_FIELDS, "full_name", "last_login"]
    assert list(api.get("/v1/user/email/ada@example.com").json) == USER_FIELDS


READS = ["/v1/user/", "/v1/user/deleted", "/v1/user/email/ada@example.com"]


@pytest.mark.parametrize("path", [*READS, "/v1/user/batch"])
def test_reading_takes_the_permission_to(app: Flask, api: Api, cast: Cast, path: str) -> None:
    method, body = ("POST", {"user_ids": [NOBODY]}) if path.endswith("batch") else ("GET", None)
    others = make_key(app, *(one for one in Permission if one != Permission.USERS_READ))
    for key, status in ((None, 401), (others, 403), (api.key, 200)):
        assert api.call(method, path, key=key, json=body).status_code == status


@pytest.mark.parametrize("path", READS)
def test_head_is_get_without_the_body(api: Api, cast: Cast, path: str) -> None:
    got, head = api.get(path), api.call("HEAD", path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.one_database
@pytest.mark.parametrize("word", ["batch", "current", "deleted", "email", "me", "profile", "verify-password"])
def test_no_word_of_the_api_is_taken_for_an_id(app: Flask, api: Api, cast: Cast, word: str) -> None:
    api.key = make_key(app, *Permission, owner=cast.ada)
    for method in ("PATCH", "DELETE"):
        answer = api.call(method, f"/v1/user/{word}", json={})
        assert answer.status_code == (404 if word == "email" else 405)
        assert "PATCH" not in answer.headers.get("Allow", "")
    for answer in (api.get(f"/v1/user/{word}x"), api.get(f"/v1/user/x{word}")):
        assert answer.json["error"]["code"] == "USER_NOT_FOUND"


def test_as_many_queries_are_made_for_many_users_as_for_one(app: Flask, api: Api, people: list[User]) -> None:
    queries: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            queries.append(statement)

    with app.app_context():
        engine = db.engine
    api.get("/v1/user/")  # the key's last use is noted now
    event.listen(engine, "before_cursor_execute", note)
    try:
        for path in ("/v1/user/?limit=1", "/v1/user/", "/v1/user/deleted"):
            assert api.get(path).status_code == 200
        assert batch(api, [user.id for user in people]).status_code == 200
        assert len(queries) == 4 * 2 + 1  # for the key and for the users; for the key again once a body has arrived
    finally:
        event.remove(engine, "before_cursor_execute", note)
