"""`POST /v1/user/import`: many users in one request and one transaction, each judged as a row of a file."""

import json
from typing import Any

import pytest
from flask import Flask

from support import bad_rows
from support.api import Answer, Api, status_and_code
from support.bad_rows import BATCH, BCRYPT, CREATE, GOOD_PASSWORD
from support.clocks import SteadyClock
from support.databases import everything_stored, execute, rows
from support.people import make_key, make_user
from users import clock
from users.bulk import batches
from users.errors import Overloaded
from users.passwords.hash_queue import HashQueue, Share
from users.passwords.hashing import PasswordPlace
from users.roles import Permission
from users.rules import emails

LIMITED = (Permission.USERS_IMPORT, Permission.USERS_READ)


@pytest.fixture
def importer(app: Flask) -> Api:
    """A caller whose key may import and read users."""
    return Api(app.test_client(), make_key(app, *LIMITED))


def send(api: Api, users: list[Any], query: str = "", *, once: str | None = None, **more: Any) -> Answer:
    """Send a batch, under an Idempotency-Key where `once` is given."""
    headers = {"Idempotency-Key": once} if once else {}
    return api.call("POST", f"/v1/user/import{query}", json={"users": users, **more}, headers=headers)


def hashed(*emails: str, **more: Any) -> list[dict[str, Any]]:
    """Return users with a hash."""
    return [{"email": email, "password_hash": BCRYPT, **more} for email in emails]


def statuses(answer: Answer) -> list[str]:
    """Return the status of each user."""
    assert answer.status_code == 200, answer.json
    return [one["status"] for one in answer.json["results"]]


def count(app: Flask, table: str = "users") -> int:
    """Return the number of rows."""
    found: int = rows(app, f"SELECT count(*) FROM {table}")[0][0]
    return found


def test_results_in_order(app: Flask, importer: Api) -> None:
    jo = make_user(app, "jo@example.com")
    given = [
        {"ref": "a", "email": "ada@example.com", "password": GOOD_PASSWORD, "first_name": "Ada", "last_name": None},
        {"ref": 7, **hashed("JO@example.com")[0]},
        *hashed("grace@example.com", created_at="2020-02-03 04:05:06", is_active=False, full_name="x"),
        {"ref": None, "email": "ada@example.com", "password_hash": BCRYPT},
    ]
    answer = send(importer, given)
    assert statuses(answer) == ["created", "rejected", "created", "rejected"]
    assert {name: answer.json[name] for name in ("created", "existing", "rejected")} == {
        "created": 2,
        "existing": 0,
        "rejected": 2,
    }
    first, second, third, fourth = answer.json["results"]
    assert [one["index"] for one in answer.json["results"]] == [0, 1, 2, 3]
    assert [one["ref"] for one in answer.json["results"]] == ["a", 7, None, None]
    assert importer.get(f"/v1/user/{first['user']['id']}").json["full_name"] == "Ada"
    assert first["user"] == answer_of(importer, first["user"]["id"])
    assert third["user"] == answer_of(importer, third["user"]["id"])
    assert (third["user"]["created_at"], third["user"]["is_active"]) == ("2020-02-03T04:05:06Z", False)
    assert second["user_id"] == jo.id
    assert [one["code"] for one in (*second["errors"], *fourth["errors"])] == [
        "USER_ALREADY_EXISTS",
        "DUPLICATE_IN_FILE",
    ]
    acts = rows(app, "SELECT request_id, actor_kind, action FROM audit_events WHERE action = 'user.create'")
    assert len(acts) == 3
    assert answer.headers["X-Request-Id"] in {one.request_id for one in acts}


def answer_of(api: Api, user_id: str) -> dict[str, Any]:
    """Return the nine members of a user."""
    profile = api.get(f"/v1/user/{user_id}").json
    return {name: value for name, value in profile.items() if name not in ("full_name", "last_login")}


def test_bad_rows(app: Flask) -> None:
    """The table of bad rows: the same codes and words as at every door."""
    api = Api(app.test_client(), make_key(app, *LIMITED))
    make_user(app, bad_rows.TAKEN)
    other = make_user(app, "other@example.com")
    execute(app, "UPDATE users SET id = :new WHERE id = :old", new=bad_rows.TAKEN_ID, old=other.id)
    all_rows = bad_rows.rows_of(BATCH, limited=True)
    missing = ", ".join(sorted({*Permission} - set(LIMITED)))
    plain = [one for one in all_rows if "password" in one.cells]
    assert len(plain) <= batches.MOST_PASSWORDS
    answer = send(api, bad_rows.as_batch(all_rows), keep_ids=True)
    assert (answer.json["created"], answer.json["rejected"]) == (1, len(all_rows))
    first, *others = answer.json["results"]
    assert first["user"]["id"] == bad_rows.FIRST_ID
    for bad, result in zip(all_rows, others, strict=True):
        assert result["errors"] == bad_rows.expected(bad, first=0, missing=missing), bad.name


@pytest.mark.one_database
def test_bad_rows_of_a_create(app: Flask, api: Api) -> None:
    make_user(app, bad_rows.TAKEN)
    for bad in bad_rows.rows_of(CREATE):
        cells = bad_rows.cells_of(bad)
        if cells.pop("password_hash", None):
            cells["password"] = GOOD_PASSWORD
        error = api.call("POST", "/v1/user/", json=cells).json["error"]
        assert error["details"]["errors"] == bad_rows.expected(bad, first=0), bad.name


@pytest.mark.one_database
def test_who_reads_no_users_is_told_no_id(app: Flask) -> None:
    api = Api(app.test_client(), make_key(app, Permission.USERS_IMPORT))
    make_user(app, "jo@example.com")
    for skip_existing in (False, True):
        (result,) = send(api, hashed("jo@example.com"), skip_existing=skip_existing).json["results"]
        assert "user_id" not in result


def test_skip_existing(app: Flask, importer: Api) -> None:
    jo = make_user(app, "jo@example.com")
    answer = send(importer, hashed("jo@example.com", "ada@example.com"), skip_existing=True)
    assert statuses(answer) == ["existing", "created"]
    assert answer.json["existing"] == 1
    assert answer.json["results"][0] == {"index": 0, "ref": None, "status": "existing", "user_id": jo.id}


def test_all_or_nothing(app: Flask, importer: Api) -> None:
    make_user(app, "jo@example.com")
    before = everything_stored(app)
    for bad in (hashed("jo@example.com"), [{"email": "x"}], [{"email": "jo@example.com", "password": GOOD_PASSWORD}]):
        answer = send(importer, [*hashed("ada@example.com"), *bad], all_or_nothing=True)
        assert status_and_code(answer) == (422, "BATCH_REJECTED")
        good, other = answer.json["error"]["details"]["results"]
        assert good == {"index": 0, "ref": None, "status": "valid"}
        assert (other["status"], len(other["errors"])) == ("rejected", 1 if bad[0]["email"] != "x" else 2)
    assert everything_stored(app).count("ada@example.com") == before.count("ada@example.com") == 0
    assert (
        statuses(send(importer, hashed("ada@example.com", "grace@example.com"), all_or_nothing=True)) == ["created"] * 2
    )


def test_validate_only(app: Flask, importer: Api) -> None:
    make_user(app, "jo@example.com")
    given = [*hashed("ada@example.com", "jo@example.com"), {"email": "plain@example.com", "password": GOOD_PASSWORD}]
    before = count(app), count(app, "audit_events")
    answer = send(importer, given, "?validate_only=true", once="one")
    assert statuses(answer) == ["valid", "rejected", "valid"]
    assert (answer.json["created"], answer.json["rejected"]) == (2, 1)
    assert (count(app), count(app, "audit_events")) == before
    assert count(app, "idempotency_records") == 0
    refused = send(importer, given, "?validate_only=1", all_or_nothing=True)
    assert status_and_code(refused) == (422, "BATCH_REJECTED")


def test_no_password(app: Flask, importer: Api) -> None:
    """A user without a password is one without, and a hash that is too weak is left out."""
    given = [
        {"email": "ada@example.com"},
        {"email": "jo@example.com", "password_hash": "5f4dcc3b5aa765d61d8327deb882cf99"},
    ]
    assert statuses(send(importer, given)) == ["rejected", "rejected"]
    assert statuses(send(importer, given, no_password=True)) == ["created", "created"]
    found = rows(app, "SELECT password_hash, password_make, password_change_required FROM users")
    assert {tuple(one) for one in found} in ({("", None, 0)}, {("", None, False)})


def test_repeated(app: Flask, importer: Api) -> None:
    given = hashed("ada@example.com", "x")
    first = send(importer, given, once="one")
    again = send(importer, given, once="one")
    assert (first.json, first.headers.get("Idempotent-Replayed")) == (again.json, None)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert list(first.json["results"][0]["user"]) == list(again.json["results"][0]["user"])
    assert count(app) == 1
    assert statuses(send(importer, given, "?validate_only=true", once="one")) == ["valid", "rejected"]
    assert status_and_code(send(importer, given[:1], once="one")) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert status_and_code(send(importer, given, once="one", skip_existing=True)) == (422, "IDEMPOTENCY_KEY_REUSED")
    rejected = send(importer, [{}], once="two")
    assert send(importer, [{}], once="two").headers["Idempotent-Replayed"] == "true"
    assert rejected.json["rejected"] == 1


@pytest.mark.one_database
def test_a_create_and_a_batch_are_never_the_same_request(app: Flask) -> None:
    api = Api(app.test_client(), make_key(app, *Permission))
    assert send(api, hashed("ada@example.com"), once="one").status_code == 200
    body = {"email": "jo@example.com", "password": GOOD_PASSWORD}
    other = api.call("POST", "/v1/user/", json=body, headers={"Idempotency-Key": "one"})
    assert status_and_code(other) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.one_database
def test_other_bodies_are_limited(app: Flask, importer: Api) -> None:
    send(importer, hashed("ada@example.com"), once="one")
    codes = [status_and_code(send(importer, hashed(f"u{n}@example.com"), once="one")) for n in range(12)]
    assert set(codes[:10]) == {(422, "IDEMPOTENCY_KEY_REUSED")}
    assert set(codes[10:]) == {(429, "RATE_LIMIT_EXCEEDED")}


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["users"]),
        ({"users": []}, ["users"]),
        ({"users": {}}, ["users"]),
        ({"users": [{}], "all_or_nothing": 1, "user": 1}, ["all_or_nothing", "user"]),
        ({"users": None, "skip_existing": "true", "no_password": None}, ["users", "skip_existing", "no_password"]),
    ],
)
def test_wrong_bodies(importer: Api, body: dict[str, Any], fields: list[str]) -> None:
    answer = importer.call("POST", "/v1/user/import", json=body)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json["error"]["details"]["errors"]] == fields


@pytest.mark.one_database
def test_bounds(importer: Api) -> None:
    assert send(importer, [{}] * 1_000).json["rejected"] == 1_000
    too_large = send(importer, [{}] * 1_001).json["error"]
    assert (too_large["code"], too_large["details"]) == ("BATCH_TOO_LARGE", {"limit": 1_000})
    plain = [{"email": "x", "password": GOOD_PASSWORD}]
    assert send(importer, plain * 25).json["rejected"] == 25
    too_many = send(importer, plain * 26).json["error"]
    assert (too_many["code"], too_many["details"]) == ("BATCH_TOO_LARGE", {"limit": 25})
    room = 2 * 1024 * 1024 - len(json.dumps({"users": [{"email": ""}]}))
    for size, status in ((room, 200), (room + 1, 413)):
        answer = importer.call(
            "POST",
            "/v1/user/import",
            data=json.dumps({"users": [{"email": "x" * size}]}),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == status
    assert answer.json["error"]["message"] == "The request body must be 2 MiB or smaller."


@pytest.mark.one_database
@pytest.mark.parametrize("ref", [True, 1.5, [], {}, "x" * 256])
def test_bad_refs(importer: Api, ref: object) -> None:
    (result,) = send(importer, hashed("jo@example.com", ref=ref)).json["results"]
    assert (result["ref"], [one["field"] for one in result["errors"]]) == (None, ["ref"])


@pytest.mark.one_database
@pytest.mark.parametrize("user", [None, 7, "jo@example.com", []])
def test_users_that_are_no_objects(importer: Api, user: object) -> None:
    (result,) = send(importer, [user]).json["results"]
    assert [(one["field"], one["code"]) for one in result["errors"]] == [("row", "INVALID_JSON")]


def test_busy(app: Flask, importer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a password cannot be hashed now, nothing is written: neither at once nor after some were hashed."""
    given = [{"email": f"u{n}@example.com", "password": GOOD_PASSWORD} for n in range(3)]
    queue: HashQueue = app.extensions["enrol.hasher"]._queue
    places = [queue.place(Share.BULK) for _ in range(queue.places_of(Share.BULK))]
    for one in places:
        one.__enter__()
    assert status_and_code(send(importer, given)) == (503, "OVERLOADED")
    assert statuses(send(importer, hashed("hashed@example.com"))) == ["created"]
    for one in places:
        one.__exit__(None, None, None)
    hash_one, done = PasswordPlace.hash, list[str]()

    def hash_two(place: PasswordPlace, password: str) -> str:
        if len(done) == 2:
            raise Overloaded
        done.append(password)
        return hash_one(place, password)

    monkeypatch.setattr(PasswordPlace, "hash", hash_two)
    assert status_and_code(send(importer, given, once="one")) == (503, "OVERLOADED")
    assert (count(app), count(app, "idempotency_records")) == (1, 0)
    monkeypatch.undo()
    assert statuses(send(importer, given, once="one")) == ["created"] * 3


@pytest.mark.one_database
def test_no_hash_for_who_is_rejected(app: Flask, importer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords of users who exist, or stand there twice, cost nothing."""
    make_user(app, "jo@example.com")
    hash_one, done = PasswordPlace.hash, list[str]()

    def note(place: PasswordPlace, password: str) -> str:
        done.append(password)
        return hash_one(place, password)

    monkeypatch.setattr(PasswordPlace, "hash", note)
    emails = ("jo@example.com", "a@example.com", "A@example.com")
    given = [{"email": email, "password": GOOD_PASSWORD} for email in emails]
    assert statuses(send(importer, given)) == ["rejected", "created", "rejected"]
    assert len(done) == 1


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_RATE_LIMIT": "30/minute"}])
def test_rate_limit(app: Flask, importer: Api) -> None:
    """A batch counts as a request for each 10 users, and as the whole limit at most."""
    left = [send(importer, [{}] * size).headers["x-ratelimit-remaining-requests"] for size in (1, 10, 11, 100)]
    assert left == ["29", "28", "26", "16"]
    refused = send(importer, [{}] * 1_000)
    assert refused.status_code == 429
    # The whole limit is back after the 14 that are used up; the refusal itself used none.
    assert int(refused.headers["Retry-After"]) in (27, 28)
    assert refused.headers["x-ratelimit-remaining-requests"] == "16"
    app.extensions["enrol.key_buckets"]._buckets.clear()
    whole = send(importer, [{}] * 1_000)
    assert (whole.status_code, whole.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    assert send(importer, [{}]).status_code == 429


@pytest.mark.one_database
def test_key_stopped_meanwhile(app: Flask, importer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is checked again in the transaction."""
    hash_one = PasswordPlace.hash

    def stop(place: PasswordPlace, password: str) -> str:
        execute(app, "UPDATE api_keys SET deactivated_at = created_at")
        return hash_one(place, password)

    monkeypatch.setattr(PasswordPlace, "hash", stop)
    answer = send(importer, [{"email": "jo@example.com", "password": GOOD_PASSWORD}])
    assert status_and_code(answer) == (401, "API_KEY_DEACTIVATED")
    assert count(app) == 0


def test_erased_from_kept_answers(app: Flask, importer: Api) -> None:
    """A purge erases the kept answer too that shows the user, and no other."""
    kept = send(importer, hashed("ada@example.com", created_at="2020-01-01"), once="one").json
    send(importer, hashed("jo@example.com"), once="two")
    user_id = kept["results"][0]["user"]["id"]
    execute(app, "UPDATE users SET deleted_at = created_at WHERE id = :id", id=user_id)
    result = app.test_cli_runner().invoke(args=["users", "purge", "--deleted-before", "1d", "--yes"])
    assert result.exit_code == 0, result.output
    assert "ada@example.com" not in everything_stored(app)
    assert [one.idempotency_key for one in rows(app, "SELECT idempotency_key FROM idempotency_records")] == ["two"]


@pytest.mark.one_database
def test_secrets_stay_secret(app: Flask, importer: Api, caplog: pytest.LogCaptureFixture) -> None:
    given = [{"email": "jo@example.com", "password": "my secret horse", "password_hash": BCRYPT}, {"email": "x"}]
    answer = send(importer, given, once="one")
    for shown in (answer.text, caplog.text, everything_stored(app)):
        assert "my secret horse" not in shown
        assert BCRYPT not in shown


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_CHECK_DELIVERABILITY": "on"}])
def test_dns_that_answers_late(importer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch waits some seconds for DNS, not some for each domain."""
    now, asked = SteadyClock(), []

    def ask(_email: str, domain: str) -> bool:
        asked.append(domain)
        now.seconds += emails.DNS_SECONDS
        return True

    monkeypatch.setattr(emails, "ask_dns", ask)
    monkeypatch.setattr(clock, "monotonic", now)
    given = hashed(*(f"jo@d{number}.org" for number in range(batches.MOST_ROWS)))
    assert send(importer, given, "?validate_only=true").json["created"] == batches.MOST_ROWS
    assert len(asked) * emails.DNS_SECONDS == batches.DNS_SECONDS
