"""The one page of an import, from the reading of its file to its end."""

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from support.api import Answer
from support.databases import execute, rows
from support.factors import grow_old
from support.imports import make_import, work_on
from support.people import Cast
from support.visitors import Visitor, problems_in, signed_in, summary_in
from users import clock
from users.bulk.imports import spool

pytestmark = pytest.mark.one_database
HASH = "$2b$12$" + "x" * 53
STAFF = (
    "E-Mail;Vorname;Telefon\r\n"
    "ann@example.com;Änn;1\r\n"
    ";;\r\n"
    "bob@example.com;Bob;2\r\n"
    "kein-email;Käthe;3\r\n"
    "x@@y.example.com;Zoë;4\r\n"
    "ANN@example.com;Ann;5\r\n"
    "sam@example.com;Sam;6\r\n"
)


def begin(browser: Visitor, text: str, **fields: str) -> str:
    """Paste rows and return the id of their import."""
    answer = browser.client.post(
        "/admin/users/import",
        data={"csrf_token": browser.token("/account"), "rows": text, "no_password": "y", **fields},
    )
    assert answer.status_code == 303, summary_in(answer)
    return str(answer.location).rpartition("/")[2]


def page_of(browser: Visitor, import_id: str, query: str = "") -> Answer:
    """Open the page of an import."""
    answer = browser.get(f"/admin/imports/{import_id}{query}")
    assert answer.status_code == 200
    return answer


def act(browser: Visitor, import_id: str, name: str, **fields: str) -> Answer:
    """Send a form about an import."""
    token = browser.token("/account")
    return browser.client.post(f"/admin/imports/{import_id}/{name}", data={"csrf_token": token, **fields})


def counts_in(page: Answer) -> dict[str, int]:
    """Return the four counts."""
    found = re.findall(r'<div class="panel"><dt>([^<]+)</dt><dd>([\d,]+)</dd>', page.text)
    return {words: int(number) for words, number in found}


def checked(app: Flask, browser: Visitor, text: str = STAFF) -> str:
    """Return the id of an import of `text` whose columns were explained, and which waits to be started."""
    import_id = begin(browser, text)
    work_on(app, import_id)
    if "What do these columns mean?" in page_of(browser, import_id).text:
        assert act(browser, import_id, "columns", **{"column-0": "email", "column-1": "first_name"}).status_code == 303
        work_on(app, import_id)
    return import_id


def test_whole_life(app: Flask, ada: Visitor, cast: Cast) -> None:
    import_id = begin(ada, STAFF)
    page = page_of(ada, import_id)
    assert "<h1>Reading " in page.text
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page.text
    work_on(app, import_id)
    page = page_of(ada, import_id)
    assert "What do these columns mean?" in page.text
    assert "refresh" not in page.text
    assert act(ada, import_id, "columns", **{"column-0": "email", "column-1": "first_name"}).status_code == 303
    work_on(app, import_id)
    page = page_of(ada, import_id)
    assert "<h1>2 users ready to import</h1>" in page.text
    expected = {"Will be created": 2, "Exist already": 1, "Cannot be imported": 3, "Blank rows": 1}
    assert counts_in(page) == expected
    assert rows(app, "SELECT 1 FROM users WHERE email = 'ann@example.com'") == []
    assert act(ada, import_id, "start", skip_existing="y").location == f"/admin/imports/{import_id}"
    assert "<h1>Importing " in page_of(ada, import_id).text
    work_on(app, import_id)
    page = page_of(ada, import_id)
    assert '<p class="lead">2 users imported</p>' in page.text
    assert counts_in(page) == {"Created": 2, "Exist already": 1, "Not imported": 3, "Blank rows": 1}
    listed = ada.get(f"/admin/imports/{import_id}/users").text
    assert re.findall(r"<h1>.*|(ann@|bob@|sam@)<wbr>", listed)[1:] == ["bob@", "ann@"]


def test_rows_to_mend(app: Flask, ada: Visitor) -> None:
    """Each refused row with its place and its errors. The file imports again once it is mended."""
    import_id = checked(app, ada)
    page = page_of(ada, import_id)
    table = page.text.partition('id="bad"')[2].partition("</table>")[0]
    assert re.findall(r"Row (\d+)</th>", table) == ["5", "6", "7"]
    assert "The same email address stands in row 2" in table
    answer = ada.get(f"/admin/imports/{import_id}/rejects")
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    lines = answer.text.splitlines()
    assert lines[0] == "E-Mail;Vorname;Telefon;error_row;error_code;error"
    assert len(lines) == 4
    mended = answer.text.replace("kein-email", "kaethe@example.com")
    again = checked(app, ada, mended.replace("x@@y", "zoe@y").replace("ANN@", "other@"))
    assert "<h1>3 users ready to import</h1>" in page_of(ada, again).text


@pytest.mark.parametrize(
    ("text", "half"),
    [("email\nnobody\nbob@example.com\n", 'x@example.com,"half'), ('{"email": "nobody"}\n{"email": "b@c.de"}\n', "{")],
)
def test_rows_of_a_batch_that_was_rolled_back(app: Flask, ada: Visitor, text: str, half: str) -> None:
    """They stand in the file of rejects behind the last commit, and have no fate."""
    import_id = checked(app, ada, text)
    act(ada, import_id, "start")
    work_on(app, import_id)
    whole = ada.get(f"/admin/imports/{import_id}/rejects").text
    with app.app_context(), spool.path(import_id, spool.REJECTS).open("a", encoding="utf-8") as file:
        file.write(whole.replace("nobody", "somebody") + half)
    answer = ada.get(f"/admin/imports/{import_id}/rejects")
    assert answer.text == whole
    assert answer.content_length == len(whole.encode())
    page = page_of(ada, import_id).text
    assert "nobody" in page
    assert "somebody" not in page


def test_refused_rows_are_paged(app: Flask, ada: Visitor) -> None:
    import_id = checked(app, ada, "email\n" + "".join(f"nobody{n}\n" for n in range(120)))
    for query, first, number in (("", "Row 2<", 50), ("?page=2", "Row 52<", 50), ("?page=3", "Row 102<", 20)):
        page = page_of(ada, import_id, query).text
        assert page.count('<td data-label="Wrong">') == number
        assert first in page
    assert "page=4" not in page
    assert "What is wrong" not in page_of(ada, import_id, "?page=4").text.partition("<h1>")[2].partition("</h2>")[0]
    assert "<h1>Nobody to import</h1>" in page


def test_existing_users_unless_skipped(app: Flask, ada: Visitor) -> None:
    import_id = checked(app, ada, "email\nsam@example.com\nnew@example.com\n")
    assert "Skip the user who exists already" in page_of(ada, import_id).text
    act(ada, import_id, "start")
    work_on(app, import_id)
    page = page_of(ada, import_id)
    assert counts_in(page) == {"Created": 1, "Exist already": 0, "Not imported": 1, "Blank rows": 0}
    assert "A user with this email address already exists" in page.text


def test_remarks(app: Flask, ada: Visitor) -> None:
    """What is remarkable about an import: no password, administrators, hashes of other systems, plain passwords."""
    text = (
        "email,password,password_hash,global_role_id,full_name\n"
        "a@example.com,,,role_admin,x\n"
        f"b@example.com,,{HASH},,\n"
        "c@example.com,correct horse battery,,,\n"
    )
    page = page_of(ada, checked(app, ada, text)).text
    for words in (
        "1 user will be an administrator, who may do everything",
        "1 user will have no password: hand them a password link each",
        "1 user brings a password hash of another system: 1 bcrypt-12",
        "1 user brings a password that is hashed first",
        "The column &#34;full_name&#34; is not used",
    ):
        assert words in page, words
    assert HASH not in page
    assert "correct horse" not in page


def test_columns(app: Flask, ada: Visitor) -> None:
    """Passwords are dots. What was chosen stays when it is refused."""
    import_id = begin(ada, "Mail;Wort;Passwort\nann@example.com;x;correct horse battery\n")
    work_on(app, import_id)
    page = page_of(ada, import_id)
    assert "ann@example.com" in page.text
    assert "correct horse" not in page.text
    answer = act(ada, import_id, "columns", **{"column-0": "", "column-1": "password", "column-2": "password"})
    assert answer.status_code == 422
    assert problems_in(answer) == [
        ("columns", "Choose the column that holds the email addresses"),
    ]
    assert "Choose another meaning: “Wort” is the password already" in summary_in(answer)
    assert '<option value="password" selected>' in answer.text
    assert rows(app, "SELECT state FROM imports")[0].state == "columns"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": "running", "rows_total": 1000, "rows_done": 410, "created": 400}, "410 of 1,000 rows · 400 created"),
        ({"state": "waiting"}, "0 of 2 rows · 0 created"),
        ({"state": "expired"}, "Nobody started this import within 24 hours"),
        ({"state": "cancelled"}, "Nothing was imported, and the file was removed"),
        (
            {"state": "cancelled", "started_at": clock.now(), "rows_done": 1, "created": 1},
            "It was cancelled after 1 of 2 rows. The users created until then stay",
        ),
        (
            {"state": "failed", "error": {"code": "FILE_ENCODING", "message": "Row 7 is not UTF-8", "details": {}}},
            "name its encoding under “More about the file”",
        ),
        (
            {"state": "failed", "error": {"code": "X", "message": "Y", "details": {}}, "started_at": clock.now()},
            "The import stopped after 0 of 2 rows. No user was created",
        ),
    ],
)
def test_other_states(app: Flask, ada: Visitor, cast: Cast, values: dict[str, Any], words: str) -> None:
    job = make_import(app, cast.ada, **values)
    page = page_of(ada, job.id).text
    assert words in page
    if job.error:
        assert job.error["message"] in re.sub(r"<[^>]+>", "", page.partition('class="summary"')[2])


def test_cancelling(app: Flask, ada: Visitor, cast: Cast) -> None:
    """It asks while the import runs. A second time it says that there is nothing left to cancel."""
    job = make_import(app, cast.ada, started_at=clock.now(), created=1, rows_done=1)
    assert "Cancel this import?" in ada.get(f"/admin/imports/{job.id}/cancel").text
    assert act(ada, job.id, "cancel").status_code == 303
    assert "Import cancelled" in page_of(ada, job.id).text
    assert "This import has ended already" in ada.get(f"/admin/imports/{job.id}/cancel").text
    act(ada, job.id, "cancel")
    assert "This import had ended already" in page_of(ada, job.id).text
    ((event),) = rows(app, "SELECT * FROM audit_events WHERE action = 'user.import'")
    assert (event.target_id, event.request_id, event.actor_user_id) == (job.id, job.id, cast.ada.id)


def test_start_twice(app: Flask, ada: Visitor) -> None:
    import_id = checked(app, ada)
    for _ in range(2):
        assert act(ada, import_id, "start", skip_existing="y").location == f"/admin/imports/{import_id}"
    assert "<h1>Importing " in page_of(ada, import_id).text


@pytest.mark.parametrize("email", ["b@example.com", "sam@example.com", "not yet an email"])
def test_new_administrators_need_a_proof(app: Flask, ada: Visitor, cast: Cast, email: str) -> None:
    """As at the form for one user, also for a row that the check refused: at the run its fate may be another.

    Other imports need none.
    """
    plain, powerful = (
        checked(app, ada, f"email,role\n{named},{role}\nc@example.com,\n")
        for named, role in (("a@example.com", "role_member"), (email, "role_admin"))
    )
    grow_old(app, cast.ada)
    asked = act(ada, powerful, "start")
    assert asked.status_code == 403
    assert "<h1>Confirm that it is you</h1>" in asked.text
    assert act(ada, plain, "start").status_code == 303
    states = {row.id: row.state for row in rows(app, "SELECT id, state FROM imports")}
    assert (states[plain], states[powerful]) == ("waiting", "checked")


def test_audit_sentence(app: Flask, ada: Visitor, cast: Cast) -> None:
    """It names the number and the file, and leads to the users; an auditor is led to their events."""
    job = make_import(app, cast.ada, state="running", started_at=clock.now(), created=988, rows_done=1)
    act(ada, job.id, "cancel")
    page = ada.get("/admin/audit").text
    assert f'imported <a href="/admin/imports/{job.id}/users"><bdi dir="auto">988 users</bdi></a> from <a href=' in page
    assert f'<a href="/admin/imports/{job.id}"><bdi dir="auto">staff.csv</bdi></a>' in page
    theirs = signed_in(app, cast.vera).get("/admin/audit").text
    assert f'imported <a href="/admin/audit?request={job.id}"><bdi dir="auto">988 users</bdi></a>' in theirs


def test_list(app: Flask, ada: Visitor, cast: Cast) -> None:
    assert "No imports yet" in ada.get("/admin/imports").text
    made = [make_import(app, cast.ada, name=f"{n}.csv", ended_at=clock.now()) for n in range(27)]
    make_import(app, cast.ada, name=None, actor_kind="terminal", actor_user_id=None, state="finished")
    page = ada.get("/admin/imports").text
    assert "pasted rows" in page
    assert "the command line" in page
    assert page.count('<th scope="row">') == 25
    assert "Next" in page
    older = ada.get(f"/admin/imports?before={made[3].id}").text
    assert older.count('<th scope="row">') == 3


def test_users_of_an_import_are_paged(app: Flask, ada: Visitor) -> None:
    import_id = checked(app, ada, "email\n" + "".join(f"p{n:02}@example.com\n" for n in range(30)))
    act(ada, import_id, "start")
    work_on(app, import_id)
    execute(app, "UPDATE users SET deleted_at = updated_at, is_active = false WHERE email = 'p29@example.com'")
    path = f"/admin/imports/{import_id}/users"
    first = ada.get(path).text
    assert re.findall(r">(p\d\d)@", first) == [f"p{n:02}" for n in range(29, 4, -1)]
    assert "Deleted" in first
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = ada.get(older).text
    assert re.findall(r">(p\d\d)@", second) == [f"p{n:02}" for n in range(4, -1, -1)]
    (newer,) = re.findall(r'rel="prev" href="([^"]+)"', second)
    assert re.findall(r">(p\d\d)@", ada.get(newer).text) == [f"p{n:02}" for n in range(29, 4, -1)]


def test_strangers_see_nothing(app: Flask, cast: Cast, ada: Visitor) -> None:
    job = make_import(app, cast.ada)
    assert signed_in(app, cast.omar).get(f"/admin/imports/{job.id}").status_code == 403
    assert ada.get(f"/admin/imports/{job.id[:-1]}x").status_code == 404


def test_long_gone(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The page of an import whose files were removed shows what its row knows."""
    then = clock.now() - timedelta(days=30)
    job = make_import(app, cast.ada, state="finished", rejected=3, created=1, started_at=then, ended_at=then)
    page = page_of(ada, job.id).text
    assert "What is wrong" not in page
    assert "to mend" not in page
    assert ada.get(f"/admin/imports/{job.id}/rejects").status_code == 404


def test_taking_an_import_back(app: Flask, ada: Visitor, cast: Cast) -> None:
    """It asks, names who stays and why, and deletes the others."""
    import_id = checked(app, ada)
    assert "The import has not ended" in ada.get(f"/admin/imports/{import_id}/undo").text
    act(ada, import_id, "start", skip_existing="y")
    work_on(app, import_id)
    execute(app, "UPDATE users SET last_login = created_at WHERE email = 'bob@example.com'")
    question = ada.get(f"/admin/imports/{import_id}/undo").text
    assert "1 user of" in question
    assert "1 user stays: signed in since." in question
    assert act(ada, import_id, "undo").location == f"/admin/imports/{import_id}"
    assert "1 user deleted" in page_of(ada, import_id).text
    left = rows(app, "SELECT email FROM users WHERE deleted_at IS NOT NULL")
    assert [row.email for row in left] == ["ann@example.com"]
    assert "There is nothing to take back" in ada.get(f"/admin/imports/{import_id}/undo").text
    grow_old(app, cast.ada)
    assert act(ada, import_id, "undo").status_code == 403
