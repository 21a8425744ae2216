"""The pages of imports, and the one that exports: in a real browser, with the server's child at work on the files."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Flask

from support.application import dispose
from support.chromium import Site, follow, sign_in
from support.databases import rows
from support.import_files import HASH
from support.imports import make_import
from support.inspector import Inspector
from users import clock
from users.storage.models import User

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAME = "Mitarbeiter 2026 – Außendienst, and a rest that is so long that a line of a phone has no room for it.csv"
LINES = [
    "E-Mail;Vorname;Kennwort;Telefon",
    *(f"neu{number}@beispiel.example;Jürgen;drei zufällige wörter {number};+49 30 {number}" for number in range(3)),
    "kein-email;Käthe;vier zufällige wörter;1",
    "x@@y.example.com;Zoë;kurz;2",
    "NEU1@beispiel.example;Jo;vier zufällige wörter;3",
    "ada@example.com;Ada;vier zufällige wörter;4",
    ";;;",
]
WINDOWS = "\r\n".join(LINES).encode("windows-1252")
MENDED = {"kein-email": "kaethe@beispiel.example", "x@@y.example.com": "zoe@beispiel.example", ";kurz;": ";lang genug;"}
AT_WORK = 60_000  # milliseconds for a child of the server to start, and to do its work


def test_from_upload_to_mended_rows(site: Site, inspector: Inspector) -> None:
    """A file as Excel writes it in Germany, with bad rows that are mended and come in with a second import."""
    page = inspector.page
    site.fill()
    sign_in(page, site)
    page.goto(f"{site.base_url}/admin/imports")
    inspector.look("no imports yet")
    follow(page, "text=Import users")
    inspector.look("new import")
    follow(page, "text=Continue")
    inspector.look("new import without a file")
    choose(page, WINDOWS)
    follow(page, "text=Continue")
    inspector.look("new import of an unknown encoding")
    choose(page, WINDOWS)
    page.select_option("#encoding", "windows-1252")
    follow(page, "text=Continue")
    wait(page, "What do these columns mean?")
    assert page.locator("select").first.input_value() == "email"
    inspector.look("columns")
    page.select_option("[name=column-3]", "email")
    follow(page, "text=Continue")
    inspector.look("columns, two of one meaning")
    page.select_option("[name=column-3]", "")
    follow(page, "text=Continue")
    wait(page, "3 users ready to import")
    inspector.look("preview")
    follow(page, "text=Import 3 users")
    wait(page, "Import of")
    assert page.inner_text(".notice:focus .lead") == "3 users imported"
    inspector.look("import done")
    done = page.url
    rejects = download(page, "text=Download the 3 rows to mend").decode("windows-1252")
    look_at_users_of(inspector, done)
    mend(inspector, site, rejects)
    page.goto(f"{done}/undo")
    inspector.look("take an import back")
    follow(page, "text=Take the import back")
    assert page.inner_text(".notice:focus .lead") == "3 users deleted"
    page.goto(f"{done}/undo")
    inspector.look("nothing to take back")


def choose(page: "Page", content: bytes, name: str = NAME) -> None:
    """Choose a file in the form."""
    page.set_input_files("#file", {"name": name, "mimeType": "text/csv", "buffer": content})


def wait(page: "Page", words: str) -> None:
    """Wait until the page of the import, which looks again by itself, has a heading of these words."""
    page.wait_for_selector(f"h1:has-text('{words}')", timeout=AT_WORK)


def download(page: "Page", selector: str) -> bytes:
    """Press what downloads a file, and return the file."""
    with page.expect_download() as found:
        page.click(selector)
    return found.value.path().read_bytes()


def look_at_users_of(inspector: Inspector, done: str) -> None:
    """Look at the list of the users that an import has made."""
    page = inspector.page
    page.goto(f"{done}/users")
    assert page.locator("tbody tr").count() == 3
    inspector.look("users of an import")


def mend(inspector: Inspector, site: Site, rejects: str) -> None:
    """Mend the rows as a person would in Excel, and import them."""
    page = inspector.page
    assert "vier zuf" not in rejects, "passwords are not in the file"
    header, *bad = rejects.splitlines()
    assert header.startswith("E-Mail;Vorname;Kennwort;Telefon;error_row;error_code;error")
    mended = []
    for line in bad:
        cells = line.split(";")
        cells[0] = {"NEU1@beispiel.example": "neu9@beispiel.example"}.get(cells[0], MENDED.get(cells[0], cells[0]))
        cells[2] = "lang genug und zufällig"
        mended.append(";".join(cells))
    page.goto(f"{site.base_url}/admin/users/import")
    choose(page, "\r\n".join([header, *mended]).encode("windows-1252"), "mended.csv")
    page.click("summary")
    page.select_option("#encoding", "windows-1252")
    follow(page, "text=Continue")
    wait(page, "What do these columns mean?")
    follow(page, "text=Continue")
    wait(page, "3 users ready to import")
    assert page.locator("h2:has-text('What is wrong')").count() == 0
    follow(page, "text=Import 3 users")
    wait(page, "Import of mended.csv")
    app = site.app()
    assert len(rows(app, "SELECT 1 FROM users WHERE email LIKE '%@beispiel.example'")) == 6
    dispose(app)


def test_every_state(site: Site, inspector: Inspector) -> None:
    page, app = inspector.page, site.app()
    site.fill()
    sign_in(page, site)
    (ada,) = rows(app, "SELECT id FROM users WHERE email = 'ada@example.com'")
    refused = {"code": "INSUFFICIENT_PERMISSIONS", "message": "Whoever started it may not do this any more"}
    of_file = {"code": "FILE_ENCODING", "message": "Row 3 is not UTF-8", "details": {"row": 3}}
    some = {"rows_total": 1_000_000, "rows_done": 412_000, "created": 398_120, "existing": 13, "rejected": 13_867}
    now = clock.now()
    began, ended = now - timedelta(seconds=35), {"ended_at": now}
    states: dict[str, dict[str, Any]] = {
        "reading": {"state": "checking", "rows_done": 12_000, "byte_offset": 3, "bytes": 10, "name": NAME},
        "importing": {"state": "running", "started_at": began, **some},
        "cancelled": {"state": "cancelled", "started_at": began, **some, **ended},
        "discarded": {"state": "cancelled", **ended},
        "stopped": {"state": "failed", "started_at": began, "error": refused, **some, **ended},
        "unreadable": {"state": "failed", "error": of_file, **ended},
        "expired": {"state": "expired", **ended},
    }
    for name, values in states.items():
        import_id = made(app, ada.id, **values)
        page.goto(f"{site.base_url}/admin/imports/{import_id}")
        inspector.look(f"import {name}")
        if name == "importing":
            page.goto(f"{page.url}/cancel")
            inspector.look("cancel an import")
    page.goto(f"{site.base_url}/admin/imports")
    inspector.look("imports")
    page.goto(f"{site.base_url}/admin/imports/{import_id}/cancel")
    inspector.look("nothing to cancel")
    dispose(app)
    look_at_a_clean_import(inspector, site)
    look_at_the_export(inspector, site)


def made(app: Flask, user_id: str, **values: Any) -> str:
    """Write the row of an import that a process of another machine works on, if it moves."""
    lease = {"holder": "elsewhere 1 x", "lease_until": clock.now() + timedelta(hours=1)}
    return make_import(app, User(id=user_id), **{**lease, **values}).id


def look_at_a_clean_import(inspector: Inspector, site: Site) -> None:
    """Paste rows without a fault, of which one is an administrator, and discard them; then rows of nobody."""
    page = inspector.page
    page.goto(f"{site.base_url}/admin/users/import")
    page.fill(
        "#rows", f"email,password_hash,global_role_id\njo@example.com,{HASH},role_admin\npat@example.com,{HASH},\n"
    )
    follow(page, "text=Continue")
    wait(page, "2 users ready to import")
    inspector.look("preview without a fault")
    follow(page, "text=Discard")
    assert page.inner_text(".notice:focus .lead") == "Import discarded"
    page.goto(f"{site.base_url}/admin/users/import")
    page.fill("#rows", "email\nx\n")
    follow(page, "text=Continue")
    wait(page, "Nobody to import")
    inspector.look("preview of nobody")


def look_at_the_export(inspector: Inspector, site: Site) -> None:
    """Export those whom the list finds."""
    page = inspector.page
    page.goto(f"{site.base_url}/admin/users?q=person&verified=false")
    follow(page, "text=Export")
    inspector.look("export")
    assert download(page, "main button").count(b"\r\n") == 27
