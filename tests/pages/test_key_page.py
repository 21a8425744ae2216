"""The page of one API key: its facts, its actions, its history, and the keys before and after it."""

import html
import re
from datetime import timedelta

import pytest
from flask import Flask

from support.databases import execute, plans_of, rewrite_audit, rows, statements
from support.page_forms import key_names_on, key_on
from support.people import Cast, make_key, make_user
from support.visitors import Visitor, signed_in
from users import clock, ids, roles
from users.actors import terminal
from users.roles import Permission, Role
from users.services import api_keys, key_queries
from users.storage.models import User

LIST = "/admin/keys"


def key_of(app: Flask, owner: User | None, *scopes: Permission, name: str = "CI") -> str:
    """Make a key and return its id."""
    make_key(app, *scopes or [Permission.USERS_READ], owner=owner, name=name)
    return str(rows(app, "SELECT id FROM api_keys ORDER BY id DESC LIMIT 1")[0][0])


def roll(app: Flask, key_id: str, ends_in: timedelta = timedelta(days=1)) -> str:
    """Roll the key at the command line and return the id of the new one."""
    new_id, actor = ids.new_id("akid"), terminal(ids.new_request_id())
    with app.app_context():
        api_keys.roll_key(key_id, ends_in=ends_in, new_id=new_id, lifetime=None, actor=actor)
    return new_id


def words_on(browser: Visitor, key_id: str) -> str:
    """Return the text of the key's page, without tags."""
    page = browser.get(f"{LIST}/{key_id}")
    assert page.status_code == 200
    return words_in(page.text.partition("<main")[2])


def words_in(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def row_of(browser: Visitor, key_id: str, state: str = "current") -> str:
    """Return the text of the key's row in the list."""
    page = browser.get(f"{LIST}?state={state}").text
    (row,) = [row for row in page.split("<tr>")[1:] if f'<th scope="row"><a href="{LIST}/{key_id}"' in row]
    return words_in(row)


def prefix_of(app: Flask, key_id: str) -> str:
    return f"{rows(app, 'SELECT prefix FROM api_keys WHERE id = :id', id=key_id)[0][0]}…"


def test_facts(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The list leads to the page, which has all that is known of the key."""
    key_id = key_of(app, cast.omar, Permission.USERS_CREATE, Permission.USERS_VERIFY, name="<b>CI</b>")
    execute(app, "UPDATE api_keys SET last_used_at = :at", at=clock.now().replace(2026, 1, 31, 9, 5))
    execute(app, "UPDATE api_keys SET expires_at = :at", at=clock.now().replace(2030, 1, 31, 9, 5))
    assert f'<a href="{LIST}/{key_id}"><bdi dir="auto">&lt;b&gt;CI' in ada.get(LIST).text
    page = ada.get(f"{LIST}/{key_id}").text
    assert "<title>&lt;b&gt;CI&lt;/b&gt; – API keys – Enrol</title>" in page
    assert '<h1><bdi dir="auto">&lt;b&gt;CI&lt;/b&gt;</bdi></h1>' in page
    words = words_on(ada, key_id)
    assert f"State Active Prefix {prefix_of(app, key_id)} ID {key_id}" in words
    assert "Scopes Create users users:create Check users’ passwords users:verify Owner omar@ example.com" in words
    assert f'<a href="/admin/users/{cast.omar.id}"><bdi dir="auto">omar@<wbr><span class="whole">example.com<' in page
    assert "Last used 31 Jan 2026, 09:05 UTC Expires 31 Jan 2030, 09:05 UTC" in words


def test_service_key(app: Flask, ada: Visitor) -> None:
    """A key without an owner, an end and a call says so."""
    words = words_on(ada, key_of(app, None))
    assert "Owner Service key" in words
    assert "Last used Waiting for the first call Expires Never" in words


def test_scope_of_another_version(app: Flask, ada: Visitor, cast: Cast) -> None:
    key_id = key_of(app, cast.ada)
    execute(app, """UPDATE api_keys SET scopes = '["users:fly"]'""")
    assert "Scopes Unknown to this version users:fly" in words_on(ada, key_id)
    assert "can do more than you" in words_on(ada, key_id)


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("change", "words", "actions"),
    [
        ("UPDATE api_keys SET name = name", "State Active Prefix", ["roll", "revoke"]),
        ("UPDATE api_keys SET deactivated_at = created_at", "It never works again. Prefix", []),
        ("UPDATE api_keys SET expires_at = created_at", "State Expired Prefix", []),
        ("UPDATE users SET is_active = false WHERE email LIKE 'omar%'", "Its owner is not active", ["revoke"]),
        ("UPDATE users SET deleted_at = updated_at WHERE email LIKE 'omar%'", "No longer active Created", ["revoke"]),
    ],
)
def test_states(app: Flask, ada: Visitor, cast: Cast, change: str, words: str, actions: list[str]) -> None:
    """The actions are those that its state allows, one beside the other."""
    key_id = key_of(app, cast.omar)
    execute(app, change)
    page = ada.get(f"{LIST}/{key_id}").text
    assert words in words_on(ada, key_id)
    assert re.findall(rf'class="button \w+" href="{LIST}/{key_id}/(\w+)"', page) == actions
    assert ('id="actions"' in page) == bool(actions)
    ended = "?state=ended" if not actions else ""
    assert f'<p class="back"><a href="{LIST}{ended}">API keys</a>' in page


def test_acts_lead_back(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The pages of the acts lead back to the key."""
    key_id = key_of(app, cast.omar)
    for act in ("roll", "revoke"):
        page = ada.get(f"{LIST}/{key_id}/{act}").text
        assert f'<p class="back"><a href="{LIST}/{key_id}"><bdi dir="auto">CI</bdi></a>' in page
        assert f'<a href="{LIST}/{key_id}">Cancel</a>' in page


def test_history(app: Flask, ada: Visitor, cast: Cast) -> None:
    """It is newest first and of this key alone, and leads to the audit page filtered by the key."""
    other, key_id = key_of(app, cast.omar, name="Other"), key_of(app, cast.omar)
    ada.post(f"{LIST}/{other}/revoke")
    ada.post(f"{LIST}/{key_id}/revoke")
    page = ada.get(f"{LIST}/{key_id}").text
    told = re.findall(r"<li><span>(.*?)</span> <span", page)
    assert [re.sub(r"<[^>]+>", "", one).partition(":")[0] for one in told] == [
        "ada@example.com revoked this key",
        "The command line created this key",
    ]
    for query in (f"user={key_id}", f"actor={key_id}"):
        assert f'href="/admin/audit?{query}"' in page
        assert ada.get(f"/admin/audit?{query}").status_code == 200
    execute(app, "UPDATE api_keys SET deactivated_at = NULL")
    for _ in range(12):
        roll(app, key_id)
    assert len(re.findall(r"<li><span>", ada.get(f"{LIST}/{key_id}").text)) == 10


def test_pruned_history(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Without its events the key's page says nothing about a roll, and that they are gone."""
    old = key_of(app, cast.omar)
    new = roll(app, old)
    rewrite_audit(app, "DELETE FROM audit_events")
    for key_id in (old, new):
        words = words_on(ada, key_id)
        assert "The audit trail has no event about this key any more." in words
        assert "Replaced" not in words
        assert "place of" not in words


def test_without_audit_permission(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history needs the permission to read the audit trail; what a roll did to the keys does not."""
    monkeypatch.setitem(roles._GRANTS, Role.OPERATOR, Role.OPERATOR.permissions | {Permission.KEYS_MANAGE})
    old = key_of(app, cast.omar)
    roll(app, old)
    words = words_on(signed_in(app, cast.omar), old)
    assert "Replaced by CI" in words
    assert "What happened" not in words
    assert "created this key" not in words


def test_roll(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The old key names its successor and when it ends, the new one whose place it takes."""
    old = key_of(app, cast.omar)
    key_on(ada.post(f"{LIST}/{old}/roll", ends="24", expires="90").text)
    ((new,),) = rows(app, "SELECT id FROM api_keys WHERE id <> :id", id=old)
    first, second = prefix_of(app, old), prefix_of(app, new)
    assert f"Replaced by CI ( {second} ), ends in 1 day" in words_on(ada, old)
    assert f"Takes the place of CI ( {first} )" in words_on(ada, new)
    assert "Replaced" not in words_on(ada, new)
    assert "place of" not in words_on(ada, old)
    assert f'Replaced by <a href="{LIST}/{new}">' in ada.get(f"{LIST}/{old}").text
    assert f'Takes the place of <a href="{LIST}/{old}">' in ada.get(f"{LIST}/{new}").text
    assert f"Replaced by {second} , ends in 1 day" in row_of(ada, old)
    assert f"Takes the place of {first}" in row_of(ada, new)
    page = ada.get(LIST).text
    assert f'<a href="{LIST}/{new}"><code>{second}' in page
    assert f'<a href="{LIST}/{old}"><code>{first}' in page


def test_rolled_and_ended(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A key that has ended ends no more."""
    old = key_of(app, cast.omar)
    new = roll(app, old, timedelta(0))
    assert f"Replaced by {prefix_of(app, new)}" in row_of(ada, old, "ended")
    assert "ends in" not in words_on(ada, old)
    assert f"Takes the place of {prefix_of(app, old)}" in row_of(ada, new)


def test_chain(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A key may have been rolled more than once, and its successor too: the newest one is named."""
    first = key_of(app, cast.omar)
    second, third = roll(app, first), roll(app, first)
    fourth = roll(app, third)
    with app.app_context():
        every = [api_keys.get_key(one) for one in (first, second, third, fourth)]
        found = key_queries.rolls_of(every)
        alone = key_queries.rolls_of(every[2:3])
    assert {one: key.id for one, key in found.successors.items()} == {first: third, third: fourth}
    assert {one: key.id for one, key in found.predecessors.items()} == {second: first, third: first, fourth: third}
    assert (alone.successors[third].id, alone.predecessors[third].id) == (fourth, first)


def test_erased_successor(app: Flask, ada: Visitor, cast: Cast) -> None:
    old = key_of(app, cast.omar)
    execute(app, "DELETE FROM api_keys WHERE id = :id", id=roll(app, old))
    assert "Replaced" not in words_on(ada, old)


def test_other_key_of_one_request(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Keys that were made and not rolled replace none, though one request made them all."""
    with app.app_context():
        every = [api_keys.get_key(key_of(app, cast.omar)) for _ in range(3)]
        found = key_queries.rolls_of(every)
        none = key_queries.rolls_of([])
    assert found == none == key_queries.Rolls({}, {})


def test_constant_number_of_queries(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The list asks as much for many keys, owners and rolls as for one."""
    key_id = key_of(app, cast.omar)
    ada.get(LIST)
    with statements(app) as few:
        ada.get(LIST)
    for number in range(5):
        roll(app, key_of(app, make_user(app, f"owner{number}@example.com", Role.OPERATOR)))
        roll(app, key_id)
    with statements(app) as many:
        names = key_names_on(ada.get(LIST).text)
    assert len(names) == 16
    assert len(many) == len(few)


@pytest.mark.one_database
@pytest.mark.parametrize("state", ["", "current", "Ended", "revoked", "%00", "ended'--", "x" * 5000])
def test_unknown_filter(app: Flask, ada: Visitor, cast: Cast, state: str) -> None:
    """It shows the current keys."""
    key_of(app, cast.omar)
    assert key_names_on(ada.get(f"{LIST}?state={state}").text) == ["CI"]


def test_empty_filters(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A list without a key says why, and where the others are."""
    key_of(app, cast.omar)
    page = ada.get(f"{LIST}?state=ended").text
    assert "<h2>No API key has ended</h2>" in page
    assert "Current 1 Ended 0" in words_in(page)
    execute(app, "UPDATE api_keys SET deactivated_at = created_at")
    page = ada.get(LIST).text
    assert "<h2>All API keys have ended</h2>" in page
    assert f'href="{LIST}?state=ended">See the ended keys' in page
    assert "Current 0 Ended 1" in words_in(page)


@pytest.mark.one_database
def test_expired_key_of_inactive_owner(app: Flask, ada: Visitor, cast: Cast) -> None:
    """It has ended: no act makes it work again."""
    key_id = key_of(app, cast.omar)
    execute(app, "UPDATE api_keys SET expires_at = created_at")
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.omar.id)
    assert key_names_on(ada.get(LIST).text) == []
    assert key_names_on(ada.get(f"{LIST}?state=ended").text) == ["CI"]
    page = ada.get(f"{LIST}/{key_id}").text
    assert "<dt>Expired</dt>" in page
    assert f'<p class="back"><a href="{LIST}?state=ended">' in page


@pytest.mark.one_database
def test_many_scopes(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The list names the first ones; the page names all."""
    key_id = key_of(app, cast.ada, *Permission)
    assert "keys:manage and 7 more" in row_of(ada, key_id)
    assert all(scope in words_on(ada, key_id) for scope in Permission)


@pytest.mark.one_database
def test_domain_stays_whole(app: Flask, ada: Visitor) -> None:
    """A domain never breaks where a line has room for it; a longer one breaks at its dots."""
    long = "mail.a-domain-that-is-too-long.example.com"
    for email in ("jo@my-company.example.com", f"jo@{long}"):
        key_of(app, make_user(app, email, Role.OPERATOR))
    page = ada.get(LIST).text
    assert 'jo@<wbr><span class="whole">my-company.example.com</span></bdi>' in page
    assert f"jo@<wbr>{long.replace('.', '.<wbr>')}</bdi>" in page


def test_rolls_are_found_by_an_index(app: Flask, cast: Cast) -> None:
    """However long the audit trail is, the events of the keys and of their requests are found directly."""
    old = key_of(app, cast.omar)
    roll(app, old)
    with app.app_context():
        key = api_keys.get_key(old)
        plans = plans_of(lambda: key_queries.rolls_of([key]), "audit_events")
    for plan, column in zip(plans, ["target_id", "request_id"], strict=True):
        assert f"ix_audit_events_{column}" in plan
