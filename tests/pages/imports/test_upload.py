"""A file of users is sent to the pages: it goes to the spool while it arrives."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from support.api import Answer
from support.databases import execute, rows
from support.imports import CSV
from support.visitors import Visitor, problems_in, summary_in
from users.http import uploads

pytestmark = pytest.mark.one_database
FORM = "/admin/users/import"
BOUNDARY = "----a-boundary"
NAME = 'form-data; name="file"; filename="{}"'


def parts(*given: tuple[str, bytes], end: bytes = b"--") -> bytes:
    """Return the body of a form: each part is its Content-Disposition and its content."""
    made = [f"--{BOUNDARY}\r\nContent-Disposition: {about}\r\n\r\n".encode() + content for about, content in given]
    return b"\r\n".join([*made, f"--{BOUNDARY}".encode() + end + b"\r\n"])


def field(name: str, value: str) -> tuple[str, bytes]:
    """Return a field of a form."""
    return f'form-data; name="{name}"', value.encode()


def send(browser: Visitor, body: bytes, **more: Any) -> Answer:
    """Send a form with a file, as a browser does."""
    return browser.client.post(FORM, data=body, content_type=f"multipart/form-data; boundary={BOUNDARY}", **more)


def upload(browser: Visitor, content: bytes = CSV, *after: tuple[str, bytes], name: str = "staff.csv") -> Answer:
    """Send a file with the token before it, and other fields after it."""
    token = field("csrf_token", browser.token("/account"))
    return send(browser, parts(token, (NAME.format(name), content), *after))


def imports(app: Flask) -> list[Any]:
    """Return the rows of all imports."""
    return [*rows(app, "SELECT * FROM imports ORDER BY id")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The spool."""
    return tmp_path / "imports"


def spooled(folder: Path) -> list[Path]:
    """Return the uploaded files that are kept."""
    return list(folder.glob("*.file"))


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        b"email\r\nann@example.com",  # without a line end
        b"email\r\n\r\nann@example.com\r\n\r\n",
        b"email,first_name\r\nann@example.com,--" + BOUNDARY.encode() + b"--\r\n",
        b"email\r\n" + b"".join(b"person%d@example.com\r\n" % n for n in range(9000)),
    ],
    ids=["plain", "no end", "blank rows", "boundary inside a row", "large"],
)
def test_file_arrives_as_it_is(app: Flask, ada: Visitor, folder: Path, content: bytes) -> None:
    answer = upload(ada, content, name="folder/staff.csv")
    (job,) = imports(app)
    assert (answer.status_code, answer.location) == (303, f"/admin/imports/{job.id}")
    assert (job.name, job.bytes, job.state, job.actor_kind) == ("staff.csv", len(content), "checking", "session")
    (kept,) = spooled(folder)
    assert kept.read_bytes() == content
    assert kept.stat().st_mode & 0o777 == 0o600


def test_options_follow_the_file(app: Flask, ada: Visitor) -> None:
    content = "email;first_name\nann@example.com;Jürgen\n".encode("windows-1252")
    assert upload(ada, content, field("encoding", "windows-1252"), field("no_password", "y")).status_code == 303
    ((options,),) = rows(app, "SELECT options FROM imports")
    assert '"encoding": "windows-1252"' in options
    assert '"no_password": true' in options
    assert '"skip_existing": true' in options


class Watched(io.BytesIO):
    """A body that notes how far it was read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.size = len(content)


@pytest.mark.parametrize("token", ["stale", None])
def test_wrong_token(app: Flask, ada: Visitor, folder: Path, token: str | None) -> None:
    """The form is shown again before the file is read. A token after the file comes too late."""
    mine = field("csrf_token", ada.token("/account"))
    before = [field("csrf_token", token)] if token else []
    body = Watched(parts(*before, (NAME.format("a.csv"), b"x" * 1_000_000), mine))
    answer = ada.client.post(
        FORM,
        input_stream=body,
        content_type=f"multipart/form-data; boundary={BOUNDARY}",
        headers={"Content-Length": str(body.size)},
    )
    assert answer.status_code == 400
    assert "<h1>Import users</h1>" in answer.text
    assert body.tell() < 200_000
    assert imports(app) == spooled(folder) == []


@pytest.mark.parametrize("header", [True, False], ids=["by its header", "while it arrives"])
def test_too_large(app: Flask, ada: Visitor, folder: Path, header: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("users.pages.imports.upload.MOST_FIELD_BYTES", 1000 if header else 10_000_000)
    object.__setattr__(app.extensions["enrol.settings"], "import_max_bytes", 2048)
    answer = upload(ada, b"email\n" + b"x" * 500_000)
    assert answer.status_code == 413
    assert problems_in(answer) == [("file", "The file is larger than 2 KiB. Import it in parts")]
    assert imports(app) == spooled(folder) == []


def test_large_fields(app: Flask, ada: Visitor, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no file is held in memory, so it is bounded."""
    monkeypatch.setattr(uploads, "MOST_FIELD_BYTES", 100_000)
    token = field("csrf_token", ada.token("/account"))
    assert send(ada, parts(token, field("rows", "x" * 200_000))).status_code == 413
    assert upload(ada, CSV, field("rows", "x" * 200_000)).status_code == 413
    assert imports(app) == spooled(folder) == []


@pytest.mark.parametrize(
    "body",
    [
        parts((NAME.format("a.csv"), CSV))[:-20],
        parts(("nothing", b""), end=b""),
        b"no form",
        b"",
        b"--" + BOUNDARY.encode() + b"\r\nno header\r\n\r\nx",
    ],
    ids=["cut off", "no end", "no form", "empty", "no header"],
)
def test_broken_form(app: Flask, ada: Visitor, folder: Path, body: bytes) -> None:
    token = parts(field("csrf_token", ada.token("/account")))[: -len(BOUNDARY) - 6]
    answer = send(ada, token + body if body else b"")
    assert answer.status_code == 400
    assert imports(app) == spooled(folder) == []


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (b"PK\x03\x04 [Content_Types].xml", "file", "This is an Excel workbook."),
        (b"", "file", "The file has no rows"),
        (b"email\n", "file", "The file has no rows"),
        (b"email\nJ\xfcrgen@example.com\n", "encoding", "Row 2 is not UTF-8."),
        (b"email,Telefon\nJ\xfcrgen@example.com,1\n", "encoding", "Row 2 is not UTF-8."),
        (b'email\n"ann@example.com\n', "file", "A quote that opens in row 2 is never closed"),
    ],
)
def test_refused_files(app: Flask, ada: Visitor, folder: Path, content: bytes, name: str, problem: str) -> None:
    answer = upload(ada, content, field("no_password", "y"))
    assert answer.status_code == 422
    ((field_name, words),) = problems_in(answer)
    assert (field_name, words[: len(problem)]) == (name, problem)
    assert "Choose it again" in answer.text
    assert re.search(r'<input[^>]*checked[^>]*name="no_password"', answer.text)
    assert imports(app) == spooled(folder) == []


def test_unknown_columns_are_asked_about(app: Flask, ada: Visitor) -> None:
    """They are no reason to choose the file again."""
    assert upload(ada, b"Mail des Mitarbeiters\nann@example.com\n").status_code == 303


ROWS = "email\tpassword\nann@example.com\tcorrect horse battery\n"


@pytest.mark.parametrize("kind", ["with a file's encoding", "plain"])
def test_pasted_rows(app: Flask, ada: Visitor, folder: Path, kind: str) -> None:
    token = ada.token("/account")
    if kind == "plain":
        answer = ada.client.post(FORM, data={"csrf_token": token, "rows": ROWS})
    else:
        answer = send(ada, parts(field("csrf_token", token), (NAME.format(""), b""), field("rows", ROWS)))
    (job,) = imports(app)
    assert (answer.status_code, job.name) == (303, None)
    (kept,) = spooled(folder)
    assert kept.read_text() == ROWS.strip()


@pytest.mark.parametrize(
    ("typed", "name", "problem"),
    [
        ("", "file", "Choose a file, or paste rows"),
        (" \r\n ", "file", "Choose a file, or paste rows"),
        ("email\n" + "ann@example.com\n" * 1001, "rows", "Paste 1,000 rows or fewer. For more, save them as a file"),
        ("email\tpassword\n", "rows", "The file has no rows"),
    ],
)
def test_refused_rows(app: Flask, ada: Visitor, typed: str, name: str, problem: str) -> None:
    answer = ada.client.post(FORM, data={"csrf_token": ada.token("/account"), "rows": typed})
    assert (answer.status_code, problems_in(answer)) == (422, [(name, problem)])
    assert imports(app) == []


def test_pasted_rows_are_not_repeated(ada: Visitor) -> None:
    """Passwords may be among them."""
    for form in ({"csrf_token": "stale"}, {"csrf_token": ada.token("/account"), "encoding": "x"}):
        answer = ada.client.post(FORM, data={**form, "rows": ROWS + '"'})
        assert "correct horse" not in answer.text


def test_file_and_rows(app: Flask, ada: Visitor, folder: Path) -> None:
    answer = upload(ada, CSV, field("rows", ROWS))
    assert problems_in(answer) == [("rows", "Choose a file or paste rows, not both")]
    assert imports(app) == spooled(folder) == []


def test_session_ended(app: Flask, ada: Visitor, folder: Path) -> None:
    """The sign-in page says so, and carries neither the file nor what was pasted."""
    token = field("csrf_token", ada.token("/account"))
    execute(app, "DELETE FROM admin_sessions")
    answer = send(ada, parts(token, field("rows", ROWS), (NAME.format("a.csv"), CSV)))
    assert answer.status_code == 403
    assert "Your session has ended" in answer.text
    assert "correct horse" not in answer.text
    assert imports(app) == spooled(folder) == []


def test_another_site(app: Flask, ada: Visitor) -> None:
    token = field("csrf_token", ada.token("/account"))
    body = parts(token, (NAME.format("a.csv"), CSV))
    assert send(ada, body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert imports(app) == []


def test_ten_unfinished(app: Flask, ada: Visitor) -> None:
    for _ in range(10):
        upload(ada)
    answer = upload(ada)
    assert answer.status_code == 429
    assert "10 imports have not ended" in summary_in(answer)


def test_template(ada: Visitor) -> None:
    answer = ada.get(f"{FORM}/template.csv")
    assert answer.text == (
        "email,first_name,last_name,password,password_hash,global_role_id,is_active,last_verified,created_at\r\n"
    )
    assert answer.headers["Content-Disposition"] == 'attachment; filename="users.csv"'
