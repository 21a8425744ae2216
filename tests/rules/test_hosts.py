"""Whether a Host header names a trusted host, however it is spelt."""

import pytest

from users.rules.hosts import is_host, is_readable, is_trusted

TRUSTED = ["localhost", "[::1]", "Users.example.com", ".intra.example", "10.0.0.1", "fd00::0:1", "b.example."]


@pytest.mark.parametrize(
    "host",
    [
        "localhost:5000",
        "[::1]",
        "[::1]:5000",
        "[0:0:0:0:0:0:0:1]:5000",
        "[0000::0001]",
        "[FD00::1]:80",
        "10.0.0.1:8000",
        "[::ffff:10.0.0.1]:8000",
        "USERS.example.com",
        "users.example.com.:8000",
        "b.example",
        "b.example.",
        "intra.example",
        "a.b.Intra.example.:1",
    ],
)
def test_trusted(host: str) -> None:
    assert is_trusted(host, TRUSTED)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":5000",
        ".",
        "[",
        "[]:5000",
        "[::2]:5000",
        "[::1",
        "::1:5000",
        "10.0.0.10",
        "110.0.0.1",
        "localhost.evil.example",
        "users.example.com..",
        "xintra.example",
        "intra.example.evil",
        "evil.example:localhost",
    ],
)
def test_not_trusted(host: str) -> None:
    assert not is_trusted(host, TRUSTED)


@pytest.mark.parametrize("text", [*TRUSTED, "my_service", "a-b.c"])
def test_host(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "*", "a b", "a..b", "a/", "[::1", "::1]", "[[::1]]", "[::1]:80", "a:80", "[fe80::1%lo]", "bü.example"],
)
def test_no_host(text: str) -> None:
    assert not is_host(text)


@pytest.mark.parametrize(
    ("host", "readable"),
    [("", True), ("a.example:80", True), ("[::1]", True), ("[::1]:5000", True), ("[:::]", False), ("[1:2]:80", False)],
)
def test_readable(host: str, readable: bool) -> None:
    assert is_readable(host) is readable
