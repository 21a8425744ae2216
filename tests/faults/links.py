"""Clients that invite users and use the links, what was acknowledged of that, and what is there after a crash."""

import http.client
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from faults.load import Clients
from faults.site import Site
from support.link_browser import HOST, LinkBrowser, token_in
from support.password_links import matches
from support.servers import Reply

CLIENTS = 3
ACTS = ["user.create", "password_link.create", "user.set_password"]


@dataclass
class Invited:
    """A user who was invited, and what the client knows of it."""

    name: str = field(default_factory=lambda: uuid.uuid4().hex)  # also the Idempotency-Key
    user_id: str = ""
    token: str = field(default="", repr=False)
    is_used: bool = False

    @property
    def email(self) -> str:
        """Return the email."""
        return f"{self.name}@example.com"

    @property
    def password(self) -> str:
        """Return the password that the user chooses."""
        return f"password {self.name}"


class Links(Clients):
    """Clients, each of which invites a user, uses the link, and goes on to the next, until the end."""

    def __init__(self, site: Site) -> None:
        super().__init__(CLIENTS)
        self.invited: list[Invited] = []
        self._site = site
        first = Invited()
        self._invite(first)
        self._browser = LinkBrowser(site.server, first.token)

    def used(self) -> list[Invited]:
        """Return those whose use of the link was acknowledged."""
        return [one for one in self.invited if one.is_used]

    def complaints(self) -> Iterator[str]:
        """Try again what was not acknowledged, and yield all that is wrong then."""
        acknowledged = {one.user_id: one.name for one in self.invited if one.user_id}
        for one in self.invited:
            if not one.is_used:
                yield from self._again(one)
        if changed := acknowledged.items() - {(one.user_id, one.name) for one in self.invited}:
            yield f"{len(changed)} acknowledged invitations are other users"
        there: dict[str, list[Any]] = defaultdict(list)
        acts: dict[str, list[str]] = defaultdict(list)
        for email, *row in self._site.rows("SELECT email_key, id, password_hash, password_link_ends_at FROM users"):
            there[email].append(row)
        for user_id, action in self._site.rows("SELECT target_id, action FROM audit_events ORDER BY id"):
            acts[user_id].append(action)
        for one in self.invited:
            told = f"of a user whose use was {'' if one.is_used else 'not '}acknowledged"
            if [user_id for user_id, *_ in there[one.email]] != [one.user_id]:
                yield f"{len(there[one.email])} rows {told}"
                continue
            ((_, password_hash, ends_at),) = there[one.email]
            if not password_hash or not matches(password_hash, one.password) or ends_at:
                yield f"another password, or an open link, {told}"
            if acts[one.user_id] != ACTS:
                yield f"audit events {acts[one.user_id]} {told}"

    def _again(self, one: Invited) -> Iterator[str]:
        """Send the invitation again, which gives the same user, and use the link, which works or has worked."""
        token = one.token
        reply = self._invite(one)
        if reply.status != 201 or (token and one.token not in (token, "")):
            yield f"an invitation sent again gives {reply.status} and {'another' if one.token else 'no'} link"
        if used := one.token or token:
            reply = self._browser.use(self._site.server, used, one.password)
            if reply.status not in (303, 410):
                yield f"a link used again gives {reply.status}"

    def _act(self) -> None:
        one = Invited()
        self.invited.append(one)
        try:
            if self._invite(one).status == 201:
                one.is_used = self._browser.use(self._site.server, one.token, one.password).status == 303
        except (OSError, http.client.HTTPException, ValueError):
            pass
        if not one.is_used:
            self._stop.wait(0.02)  # a client that is refused does not hammer

    def _invite(self, one: Invited) -> Reply:
        headers, body = {"Host": HOST, "Idempotency-Key": one.name}, {"email": one.email}
        reply = self._site.server.call("POST", "/v1/user/invite", key=self._site.key, body=body, headers=headers)
        if reply.status == 201:
            one.user_id = reply.json["user"]["id"]
            one.token = token_in(reply)
        return reply
