"""A browser that has opened a password link of a server, and sends the form of its page to this or another process."""

import re
from urllib.parse import urlencode

from support.servers import Reply, Server

HOST = "127.0.0.1"  # as behind a proxy: cookies and links hold no port


def shown(server: Server, token: str) -> Reply:
    """Return the page that a browser shows which has opened the link before."""
    return _get(server, "/password", f"enrol-password={token}")


def token_in(reply: Reply) -> str:
    """Return the token of the link in an answer of the API."""
    return str(reply.json["password_url"]).partition("?token=")[2]


class LinkBrowser:
    """A browser with the cookies and the CSRF token of the page, which serve for every link."""

    def __init__(self, server: Server, token: str) -> None:
        cookie = _cookie(_get(server, f"/password?token={token}", ""))
        page = _get(server, "/password", cookie)
        form = re.search(rb'name="csrf_token" value="([^"]+)"', page.body)
        assert form, page.body
        self._csrf, self._cookies = form[1].decode(), f"{cookie}; {_cookie(page)}"

    def use(self, server: Server, token: str, password: str) -> Reply:
        """Send the form with a password."""
        body = urlencode({"csrf_token": self._csrf, "link": token, "password": password})
        lines = ["POST /password HTTP/1.1", f"Host: {HOST}", f"Cookie: {self._cookies}"]
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}", "", body]
        return server.send("\r\n".join(lines).encode())


def _get(server: Server, path: str, cookie: str) -> Reply:
    return server.call("GET", path, headers={"Host": HOST, "Cookie": cookie})


def _cookie(reply: Reply) -> str:
    return str(reply.headers["Set-Cookie"]).partition(";")[0]
