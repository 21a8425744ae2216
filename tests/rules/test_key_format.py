"""The text of an API key: its form, its checksum and its digest."""

import hashlib
import re
import string
import zlib

import pytest

from support.api import Api
from users.rules import key_format

BASE_62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY = key_format.new_key()


def base_62(text: str) -> int:
    """Read `text` as a number."""
    number = 0
    for character in text:
        number = number * 62 + BASE_62.index(character)
    return number


def test_form() -> None:
    """A key is a prefix, 34 random characters and their checksum."""
    made = [key_format.new_key() for _ in range(200)]
    assert len(set(made)) == 200
    for key in made:
        assert re.fullmatch(r"ak_[0-9A-Za-z]{40}", key)
        assert base_62(key[-6:]) == zlib.crc32(key[:-6].encode())
        assert key_format.is_well_formed(key)
    assert set("".join(key[3:-6] for key in made)) == set(BASE_62)


@pytest.mark.parametrize("position", range(len(KEY)))
def test_typo(position: int) -> None:
    """The checksum finds a typo at any place."""
    for other in {"0", "z", KEY[position].swapcase()} - {KEY[position]}:
        assert not key_format.is_well_formed(KEY[:position] + other + KEY[position + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ak_",
        KEY[:-1],
        KEY + "0",
        KEY + "\n",
        " " + KEY,
        KEY + "," + KEY,
        KEY + ", " + KEY,
        KEY.upper(),
        KEY[3:],
        "ak_" + "0" * 40,
        "ak_" + "é" * 40,
        "ak_" + "٣" * 40,
        "ak_" + "\ud800" * 40,
        "ak_" + "\0" * 40,
        "a" * 1_000_000,
    ],
    ids=range(16),
)
def test_malformed_texts(text: str) -> None:
    assert not key_format.is_well_formed(text)


def test_digest_is_sha256() -> None:
    assert key_format.digest(KEY) == hashlib.sha256(KEY.encode()).digest()
    assert len(key_format.digest(KEY)) == 32


def test_stored_prefix() -> None:
    assert key_format.PREFIX_LENGTH == 8
    assert KEY[: key_format.PREFIX_LENGTH].startswith("ak_")


@pytest.mark.parametrize(
    "header", ["{key},{key}", "{key}, {key}", "{key} {key}", "é" * 43, "ak_é" + "0" * 39, "", ",", "ak_" + "0" * 40]
)
@pytest.mark.parametrize("name", ["X-API-Key", "Authorization"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # does not depend on the database
def test_malformed_headers(api: Api, name: str, header: str) -> None:
    """Two keys in one header, or a header that is not ASCII, are no key."""
    value = header.format(key=api.key)
    value = f"Bearer {value}" if name == "Authorization" else value
    answer = api.get("/v1/user/me", key=None, headers={name: value})
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "AUTHENTICATION_REQUIRED")


@pytest.mark.parametrize("header", ["{key}", " {key} ", "Bearer {key}", "bearer  {key}"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # does not depend on the database
def test_single_key_in_a_header(api: Api, header: str) -> None:
    name = "Authorization" if "earer" in header else "X-API-Key"
    answer = api.get("/v1/user/me", key=None, headers={name: header.format(key=api.key)})
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "USER_NOT_FOUND")  # a service key has no owner
