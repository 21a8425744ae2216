"""The nginx of OPERATIONS.md: https, strong ETags, and a request whose host breaks goes to the next host, once."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.application import app_on
from support.import_jobs import PATH, staff, upload
from support.installations import Installation, installed
from support.nginx import HOST, Secure, free_port, proxied
from support.people import PASSWORD, make_key
from support.servers import ANSWER_SECONDS, Server
from users.roles import Permission

LARGE = 30_000  # rows: 2.5 MiB
SECRET = "usr_0123456789.the-token-of-a-link"

pytestmark = pytest.mark.xdist_group("proxy")  # they share servers, which one worker of xdist starts


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation behind a proxy."""
    given = {"ENROL_TRUSTED_PROXIES": "1", "ENROL_PUBLIC_URL": f"https://{HOST}"}
    with installed(tmp_path_factory.mktemp("proxy") / "enrol", given) as made:
        yield made


@pytest.fixture(scope="module")
def host(here: Installation) -> Server:
    """The server behind the proxy."""
    return here.start("granian")[0]


@pytest.fixture(scope="module")
def key(here: Installation, host: Server) -> str:
    """A key that may create, change and import users."""
    with app_on(here) as app:
        changes = (Permission.USERS_CREATE, Permission.USERS_IMPORT, Permission.USERS_UPDATE)
        return make_key(app, Permission.USERS_READ, *changes)


@pytest.fixture(scope="module")
def nginx(host: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """The proxy."""
    with proxied(tmp_path_factory.mktemp("proxy") / "nginx", host.port) as server:
        yield server


def test_redirect_to_https(nginx: Secure) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", nginx.plain_port, timeout=5)) as connection:
        connection.request("GET", "/admin/users?q=a", headers={"Host": HOST})
        answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{HOST}/admin/users?q=a")


def test_links_are_in_no_log(host: Server, nginx: Secure) -> None:
    """Neither of nginx, which logs other queries, nor of the server, whose pages keep their own Referrer-Policy."""
    page = nginx.call("GET", "/password")
    assert page.headers.get_all("Referrer-Policy") == ["same-origin"]
    for path in ("/password", "/setup", "/verify", "/password/"):
        assert nginx.call("GET", f"{path}?token={SECRET}").status in (200, 303, 404, 410)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", nginx.plain_port, timeout=5)) as connection:
            connection.request("GET", f"{path}?token={SECRET}", headers={"Host": HOST})
            assert connection.getresponse().status == 301
    for query in ("a=logged", "b=next"):  # the second comes after the first is logged
        nginx.call("GET", f"/docs?{query}")
    assert "/docs?a=logged" in nginx.log()
    assert '"route": "/password"' in host.log()
    assert SECRET not in nginx.log() + host.log()


def test_links_are_in_no_referrer_while_the_service_is_down(tmp_path: Path) -> None:
    """The page that nginx answers then stands at the link, and a browser asks for its icon with the link as Referer."""
    with proxied(tmp_path / "nginx", free_port()) as nginx:
        reply = nginx.call("GET", f"/password?token={SECRET}")
        assert (reply.status, reply.headers.get_all("Referrer-Policy")) == (502, ["no-referrer"])
        assert SECRET not in nginx.log()


def test_http2_towards_browsers(nginx: Secure) -> None:
    context = ssl.create_default_context(cadata=ssl.get_server_certificate(("127.0.0.1", nginx.port)))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with contextlib.closing(Server.connect(nginx)) as plain, context.wrap_socket(plain, server_hostname=HOST) as secure:
        assert secure.selected_alpn_protocol() == "h2"


def test_etags_stay_strong(nginx: Secure, key: str) -> None:
    """What a client that takes gzip reads, it can change with `If-Match`; /docs is compressed all the same."""
    gzip = {"Accept-Encoding": "gzip"}
    body = {"email": "etag@example.com", "password": PASSWORD, "first_name": "x" * 200}
    created = nginx.call("POST", "/v1/user/", key=key, body=body, headers=gzip)
    read = nginx.call("GET", f"/v1/user/{created.json['id']}", key=key, headers=gzip)
    change = {"If-Match": read.headers["ETag"]}
    assert nginx.call("PATCH", f"/v1/user/{created.json['id']}", key=key, body={}, headers=change).status == 200
    for path in ("/docs", "/openapi.json"):
        answer = nginx.call("GET", path, headers=gzip)
        assert (answer.headers["Content-Encoding"], answer.headers["ETag"][0]) == ("gzip", '"')


def test_files_in_and_out(host: Server, nginx: Secure, key: str) -> None:
    """A file to import passes, with its length or in chunks, where other bodies have 1 MiB at most; an export too."""
    for content in (staff("file.example.com", LARGE), [staff("chunks.example.com", LARGE)]):
        assert upload(nginx, key, content, query="start=never").status == 202
    large = {"email": "large@example.com", "first_name": "x" * 1_100_000}
    assert nginx.call("POST", "/v1/user/", key=key, body=large).status == 413
    export = nginx.call("GET", "/v1/user/export", key=key)
    assert (export.status, export.headers["Content-Length"]) == (200, str(len(export.body)))
    assert "is buffered to a temporary file" not in nginx.log()
    assert host.call("GET", "/healthz").status == 200


def test_file_of_a_stranger(here: Installation, nginx: Secure) -> None:
    """It is refused before it is there: whoever is told so has sent a part of it, and no disk has any."""
    with nginx.connect() as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: text/csv\r\nContent-Length: {500 << 20}\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 100_000)
        first = connection.recv(12)
    told = {int(first.removeprefix(b"HTTP/1.1 "))}
    told |= {upload(nginx, "ak_wrong", staff("stranger.example.com", LARGE)).status for _ in range(3)}
    assert told <= {401, 502}  # nginx gives up at times when its connection is closed before all is sent
    assert "is buffered to a temporary file" not in nginx.log()
    assert [path for path in (here.instance / "imports").glob("*") if b"stranger" in path.read_bytes()] == []


def test_refused_file(nginx: Secure, key: str) -> None:
    """Who may import is told why, although the file was on its way."""
    content = staff("refused.example.com", LARGE)
    replies = [upload(nginx, key, content, **{"Content-Type": "text/plain"}) for _ in range(3)]
    assert [reply.code for reply in replies] == ["UNSUPPORTED_MEDIA_TYPE"] * 3


@contextlib.contextmanager
def losing_answers(host: Server) -> Iterator[int]:
    """Yield the port of a host that breaks after each act, before the answer: it passes on the request to `host`."""

    def break_each() -> None:
        with contextlib.suppress(OSError):  # closed by the test
            while True:
                connection, _ = listener.accept()
                with connection:
                    request = connection.recv(65536)
                    while b"}" not in request:
                        request += connection.recv(65536)
                    host.send(request)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=break_each, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("headers", "answer"),
    [({}, (409, None)), ({"Idempotency-Key": "once"}, (201, "true"))],
    ids=["plain", "with Idempotency-Key"],
)
def test_broken_answer(
    host: Server,
    key: str,
    headers: dict[str, str],
    answer: tuple[int, str | None],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A create whose host breaks before its answer is sent to the next host, and makes one user."""
    body = {"email": f"broken-{answer[0]}@example.com", "password": PASSWORD}
    folder = tmp_path_factory.mktemp("broken") / "nginx"
    with losing_answers(host) as port, proxied(folder, port, host.port) as nginx:
        replies = [nginx.call("POST", "/v1/user/", key=key, body=body, headers=headers) for _ in range(2)]
    told = [(one.status, one.headers["Idempotent-Replayed"]) for one in replies]
    assert told == [answer, answer]
    assert nginx.log().count("prematurely closed") == 1


def test_no_host_left(host: Server, key: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """While no host runs, each request is answered at once."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        closed = found.getsockname()[1]
    with proxied(tmp_path_factory.mktemp("none") / "nginx", closed, closed) as nginx:
        assert nginx.call("GET", f"/password?token={SECRET}").status == 502
        reply = nginx.call("GET", "/readyz")
        assert "refused" in nginx.log()
        assert SECRET not in nginx.log()
    assert reply.status == 502
    assert reply.seconds < ANSWER_SECONDS / 3
