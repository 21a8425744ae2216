"""Strangers guess passwords for 700 seconds, from one IP address and from 200; known users must get in.

`.venv/bin/python tests/faults/strangers.py` prints a line for each database: an administrator at a known browser and a
user at a known network of `verify-password` are let in throughout, while the strangers get no more looks than allowed.
"""

import argparse
import re
import sys
import time
import urllib.parse
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.application import app_on  # noqa: E402
from support.databases import DATABASES  # noqa: E402
from support.installations import installed  # noqa: E402
from support.people import PASSWORD, make_key, make_user  # noqa: E402
from support.postgres import own_postgres  # noqa: E402
from support.servers import Server  # noqa: E402
from users.roles import Permission, Role  # noqa: E402

WRONG = "wrong horse battery"
ADMINISTRATOR, USER = "ada@example.com", "sam@example.com"
EVERY = 0.5  # seconds between two rounds of the strangers
SEEN_EVERY = 20.0  # seconds between two sign-ins of the known users


class Browser:
    """A browser at the sign-in page, which keeps its cookies."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cookies: dict[str, str] = {}

    def sign_in(self, password: str, ip_address: str) -> int:
        """Send the form from this IP address and return the status."""
        page = self._send("GET", ip_address)
        (token,) = re.findall(rb'name="csrf_token" value="([^"]+)"', page[1]) or [b""]
        form = {"email": ADMINISTRATOR, "password": password, "csrf_token": token.decode()}
        return self._send("POST", ip_address, urllib.parse.urlencode(form))[0]

    def leave(self) -> None:
        """Forget the session, and stay a known browser."""
        self._cookies.pop(f"enrol-{self._server.port}", None)

    def _send(self, method: str, ip_address: str, form: str | None = None) -> tuple[int, bytes]:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {
            "Cookie": cookies,
            "X-Forwarded-For": ip_address,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        connection = self._server.keep()
        connection.request(method, "/admin/login", form, headers)
        answer = connection.getresponse()
        body = answer.read()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        connection.close()
        return answer.status, body


def run(database: str, seconds: float) -> bool:
    """Run it on one database, print the counts, and return whether all was well."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="enrol-strangers-")))
        given = {"DATABASE_URL": stack.enter_context(own_postgres()).get_uri()} if database == "postgres" else {}
        made = stack.enter_context(installed(folder / "enrol", {"ENROL_TRUSTED_PROXIES": "1", **given}))
        with app_on(made) as app:
            make_user(app, ADMINISTRATOR, Role.ADMIN)
            make_user(app, USER)
            key = make_key(app, Permission.USERS_VERIFY)
        (server,) = made.start("production")
        return besiege(server, key, database, seconds)


def besiege(server: Server, key: str, database: str, seconds: float) -> bool:
    """Send the attempts of strangers and of known users in turn."""
    known, strangers = Browser(server), Browser(server)
    inside, outside = Counter[str](), Counter[str]()

    def verify(password: str, ip_address: str) -> str:
        body = {"email": USER, "password": password, "ip_address": ip_address}
        reply = server.call("POST", "/v1/user/verify-password", key=key, body=body)
        return str(reply.json["valid"]) if reply.status == 200 else str(reply.status)

    def come_in() -> None:
        inside[f"page {known.sign_in(PASSWORD, '203.0.113.1')}"] += 1
        inside[f"verify {verify(PASSWORD, '203.0.113.1')}"] += 1
        known.leave()

    come_in()
    start = seen = time.monotonic()
    for number in range(int(seconds / EVERY)):
        for ip_address in ("192.0.2.1", f"198.51.100.{number % 200}"):
            outside[f"page {strangers.sign_in(WRONG, ip_address)}"] += 1
            outside[f"verify {verify(WRONG, ip_address)}"] += 1
        if time.monotonic() - seen >= SEEN_EVERY:
            seen = time.monotonic()
            come_in()
        time.sleep(max(0.0, start + (number + 1) * EVERY - time.monotonic()))
    well = set(inside) == {"page 303", "verify True"} and outside["page 422"] <= 300 and outside["verify False"] <= 300
    print(f"{database}: inside {dict(inside)}, strangers {dict(outside)}: {'well' if well else 'WRONG'}", flush=True)
    return well


def main() -> None:
    """Run it on both databases; exit with 1 if a known user was refused, or a stranger had too many attempts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=700)
    given = parser.parse_args()
    verdicts = [run(database, given.seconds) for database in DATABASES]
    sys.exit(not all(verdicts))


if __name__ == "__main__":
    main()
