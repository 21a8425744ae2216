"""Password links made, used and ended in parallel, through several server processes."""

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from support.databases import rows
from support.four_servers import FourServers, at_once
from support.link_browser import HOST, LinkBrowser, shown, token_in
from support.password_links import matches
from support.people import make_key
from support.servers import Reply
from users.roles import Permission

pytestmark = pytest.mark.xdist_group("four")  # they share servers that one worker of xdist starts


@dataclass
class Links:
    """An administrator's program and a person's browser, which speak to the same four servers."""

    four: FourServers
    key: str

    def call(self, number: int, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """Call the API of one of the servers."""
        server = self.four.servers[number % 4]
        return server.call(method, f"/v1/user/{path}", key=self.key, body=body, headers={"Host": HOST, **headers})

    def invite(self) -> tuple[str, str]:
        """Invite a user; return the id and the token of the link."""
        reply = self.call(0, "POST", "invite", {"email": f"{uuid.uuid4().hex}@example.com"})
        assert reply.status == 201, reply.body
        return reply.json["user"]["id"], token_in(reply)

    def open(self, token: str) -> Callable[[int, str, str], Reply]:
        """Open a link in a browser; return a function that sends its form, for any link, to one of the servers."""
        browser = LinkBrowser(self.four.servers[0], token)
        return lambda number, token, password: browser.use(self.four.servers[number % 4], token, password)

    def is_alive(self, token: str) -> bool:
        """Tell whether the page of the link shows its form."""
        page = shown(self.four.servers[1], token)
        assert page.status in (200, 410)
        return page.status == 200

    def row(self, user_id: str) -> Any:
        """Return the user's row."""
        (found,) = rows(self.four.app, "SELECT * FROM users WHERE id = :id", id=user_id)
        return found

    def acts(self, user_id: str) -> Counter[str]:
        """Return how often each act was done to the user."""
        done = "SELECT action FROM audit_events WHERE target_id = :id AND outcome = 'ok'"
        return Counter(row.action for row in rows(self.four.app, done, id=user_id))


@pytest.fixture
def links(four: FourServers) -> Links:
    """The program with a key that may do everything."""
    return Links(four, make_key(four.app, *Permission))


def test_sixteen_uses(links: Links) -> None:
    """One link sent sixteen times at once, with sixteen passwords, through all processes: one sets its password."""
    user_id, token = links.invite()
    send = links.open(token)
    replies = at_once([partial(send, number, token, f"password number {number}") for number in range(16)])
    assert Counter(reply.status for reply in replies) == {303: 1, 410: 15}
    (won,) = [number for number, reply in enumerate(replies) if reply.status == 303]
    assert matches(links.row(user_id).password_hash, f"password number {won}")
    assert links.acts(user_id) == {"user.create": 1, "password_link.create": 1, "user.set_password": 1}
    assert not links.is_alive(token)
    assert not [server.log() for server in links.four.servers if "unexpected_error" in server.log()]


def test_sixteen_invitations(links: Links) -> None:
    """One invitation sent sixteen times at once under one Idempotency-Key: one user, one link, one answer."""
    body, name = {"email": f"{uuid.uuid4().hex}@example.com"}, {"Idempotency-Key": uuid.uuid4().hex}
    replies = at_once([partial(links.call, number, "POST", "invite", body, **name) for number in range(16)])
    assert Counter(reply.status for reply in replies) == {201: 16}
    assert len({reply.body for reply in replies}) == 1
    assert Counter(reply.headers["Idempotent-Replayed"] for reply in replies) == {None: 1, "true": 15}
    assert rows(links.four.app, "SELECT id FROM users WHERE email = :email", **body) == [
        (replies[0].json["user"]["id"],)
    ]
    assert links.acts(replies[0].json["user"]["id"]) == {"user.create": 1, "password_link.create": 1}
    assert links.is_alive(token_in(replies[0]))


def test_makes(links: Links) -> None:
    """Of links made at the same time one is open, and no two are the same."""
    user_id, token = links.invite()
    path = f"{user_id}/password-link"
    replies = at_once([partial(links.call, number, "POST", path, {"expires_in": 300}) for number in range(8)])
    made = {token_in(reply) for reply in replies}
    assert len(made) == 8
    assert [links.is_alive(one) for one in made].count(True) == 1
    assert not links.is_alive(token)
    assert links.acts(user_id)["password_link.create"] == 9


ENDS: dict[str, tuple[str, str, dict[str, object] | None]] = {
    "make": ("POST", "/password-link", {}),
    "revoke": ("DELETE", "/password-link", None),
    "role": ("PATCH", "", {"global_role_id": "role_admin"}),
    "email": ("PATCH", "", {"email": "changed-{}@example.com"}),
    "deactivate": ("PATCH", "", {"is_active": False}),
    "delete": ("DELETE", "", None),
}


@pytest.mark.parametrize("end", list(ENDS))
def test_end_and_uses(links: Links, end: str) -> None:
    """An act that ends a link beside two uses: at most one use sets a password, and the link is dead afterwards."""
    method, path, body = ENDS[end]
    send = links.open(links.invite()[1])
    for _ in range(4):
        user_id, token = links.invite()
        if "email" in (body or {}):
            body = {"email": f"changed-{user_id}@example.com"}
        uses = [partial(send, number, token, f"password number {number}") for number in range(2)]
        first, second, ended = at_once([*uses, partial(links.call, 2, method, f"{user_id}{path}", body)])
        assert ended.status in (200, 201), ended.body
        statuses = Counter((first.status, second.status))
        assert statuses in ({303: 1, 410: 1}, {410: 2})
        row = links.row(user_id)
        won = [number for number, reply in enumerate((first, second)) if reply.status == 303]
        assert [
            number
            for number in range(2)
            if row.password_hash and matches(row.password_hash, f"password number {number}")
        ] == won
        assert links.acts(user_id)["user.set_password"] == len(won)
        assert not links.is_alive(token)
        if end == "make":  # the newer link is signed over the hash that there was, so it is alive unless it came first
            assert links.is_alive(token_in(ended)) == bool(row.password_link_ends_at)
        else:
            assert row.password_link_ends_at is None
