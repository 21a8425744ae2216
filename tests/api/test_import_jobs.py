"""Imports of files by the API: what it takes and what it answers. `tests/bulk/imports` has what happens to them."""

import io
import json
from typing import Any

import pytest
from flask import Flask

from support.api import Answer, Api, status_and_code
from support.databases import execute, rows
from support.people import make_key
from users.bulk import runner
from users.bulk.options import Options
from users.roles import Permission

pytestmark = pytest.mark.one_database

PATH = "/v1/user/import/jobs"
CSV = b"email,password_hash\nann@example.com,\nno email,$2b$10$secret\n"


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may do everything."""
    return Api(app.test_client(), make_key(app, *Permission))


def upload(api: Api, content: bytes = CSV, query: str = "?no_password=1", **headers: str) -> Answer:
    """Send a file."""
    given = {"Content-Type": "text/csv", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return api.call("POST", f"{PATH}{query}", data=content, headers=given)


def work(app: Flask) -> None:
    """Do all that is due."""
    with app.app_context():
        runner.work_here()


def kept_options(app: Flask) -> Options:
    """Return the options of the only import."""
    ((kept,),) = rows(app, "SELECT options FROM imports")
    return Options.from_json(kept if isinstance(kept, dict) else json.loads(kept))


def test_from_the_upload_to_the_rejects(app: Flask, api: Api) -> None:
    answer = upload(api, query="?name=staff.csv&no_password=true")
    assert (answer.status_code, answer.json["state"], answer.json["name"]) == (202, "checking", "staff.csv")
    path = answer.headers["Location"]
    assert path == f"{PATH}/{answer.json['id']}"
    assert answer.headers["Retry-After"] == "2"
    assert api.get(path).headers["Retry-After"] == "2"
    work(app)
    checked = api.get(path)
    assert (checked.json["state"], checked.json["rows"]["created"]) == ("checked", 1)
    assert "Retry-After" not in checked.headers
    started = api.call("POST", f"{path}/start")
    assert (started.status_code, started.json["state"], started.headers["Retry-After"]) == (200, "waiting", "2")
    work(app)
    assert api.get(PATH).json == [api.get(path).json]
    assert api.get(path).json["rows"] == {"total": 2, "done": 2, "created": 1, "existing": 0, "rejected": 1}
    rejects = api.get(f"{path}/rejects")
    assert rejects.content_type == "text/csv; charset=utf-8"
    assert rejects.headers["Content-Disposition"] == f"attachment; filename={answer.json['id']}-rejects.csv"
    assert rejects.text.startswith(
        "email,password_hash,error_row,error_code,error\nno email,,3,INVALID_EMAIL_FORMAT · "
    )
    (shown,) = api.get(f"{path}/rejects?format=json").json
    assert (shown["row"], shown["email"], shown["errors"][0]["code"]) == (3, "no email", "INVALID_EMAIL_FORMAT")
    assert len(shown["errors"]) == 2
    assert status_and_code(api.call("POST", f"{path}/cancel")) == (409, "IMPORT_STATE")


def test_json_lines(app: Flask, api: Api) -> None:
    content = b'{"email": "ann@example.com"}\n{"email": "x"}\n'
    path = upload(api, content, Content_Type="application/x-ndjson").headers["Location"]
    work(app)
    rejects = api.get(f"{path}/rejects")
    assert rejects.content_type == "application/x-ndjson; charset=utf-8"
    assert json.loads(rejects.text)["error_row"] == 2
    assert [row["row"] for row in api.get(f"{path}/rejects?format=json").json] == [2]


@pytest.mark.parametrize("form", ["csv", "x-ndjson"])
def test_all_rejects_are_too_large(app: Flask, api: Api, form: str) -> None:
    """Of such rows nothing is kept but what is wrong with them."""
    name = "x" * 65_536
    files = {"csv": f"email,first_name\nann@example.com,{name}\n", "x-ndjson": json.dumps({"first_name": name})}
    media_type = "text/csv" if form == "csv" else f"application/{form}"
    path = upload(api, files[form].encode(), Content_Type=media_type).headers["Location"]
    work(app)
    error = {"code": "ROW_TOO_LARGE", "message": "Row is larger than 64 KiB"}
    row = {"csv": 2, "x-ndjson": 1}[form]
    assert api.get(f"{path}/rejects?format=json").json == [{"row": row, "email": "", "errors": [error]}]


def test_options(app: Flask, api: Api) -> None:
    query = "?skip_existing=1&no_password=true&keep_ids=1&map=Mail%3D1%3Demail&map=ID=id&ignore=Phone&ignore=Fax"
    assert upload(api, query=query, Content_Type="text/csv; charset=windows-1252").status_code == 202
    mapped = {"Mail=1": "email", "ID": "id"}
    assert kept_options(app) == Options(
        skip_existing=True, no_password=True, keep_ids=True, encoding="cp1252", mapped=mapped, ignored=("Phone", "Fax")
    )


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "utf-16"])
def test_encoding_that_a_mark_tells(app: Flask, api: Api, charset: str) -> None:
    assert upload(api, Content_Type=f"text/csv; charset={charset}").status_code == 202
    assert kept_options(app).encoding is None


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?map=Mail", "map"),
        ("?map=Mail=phone", "map"),
        ("?map==email", "map"),
        ("?map=A=email&map=A=id", "map"),
        ("?start=soon", "start"),
        ("?name=", "name"),
        (f"?name={'x' * 256}", "name"),
        ("?keep_ids=yes", "keep_ids"),
    ],
)
def test_malformed_parameters(app: Flask, api: Api, query: str, parameter: str) -> None:
    answer = upload(api, query=query)
    assert status_and_code(answer) == (400, "INVALID_PARAMETER")
    assert answer.json["error"]["details"] == {"parameter": parameter}
    assert rows(app, "SELECT 1 FROM imports") == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content_Type": "multipart/form-data; boundary=x"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        ({"Content_Type": "application/json"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        ({"Content_Encoding": "gzip"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        ({"Content_Type": "text/csv; charset=utf-7"}, (400, "INVALID_PARAMETER")),
    ],
)
def test_bodies_that_are_not_read(api: Api, headers: dict[str, Any], expected: tuple[int, str]) -> None:
    assert status_and_code(upload(api, **headers)) == expected


def send(api: Api, body: bytes, **environ: Any) -> Answer:
    """Send a body whose length is announced as `environ` says, or not at all."""
    given: dict[str, Any] = {"input_stream": io.BytesIO(body), "environ_overrides": environ}
    return api.call("POST", PATH, headers={"Content-Type": "text/csv"}, **given)


@pytest.mark.parametrize("settings", [{"ENROL_IMPORT_MAX_BYTES": "100000"}])
def test_bodies_are_counted(app: Flask, api: Api) -> None:
    """Chunked or not, a body has as many bytes as it announces, and no more than are allowed."""
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert send(api, b"x" * 100_000, **chunked).status_code == 202
    for more in (100_001, 300_000):
        assert status_and_code(send(api, b"x" * more, **chunked)) == (413, "PAYLOAD_TOO_LARGE")
        answer = upload(api, b"x" * more)
        assert status_and_code(answer) == (413, "PAYLOAD_TOO_LARGE")
        assert answer.json["error"]["message"] == "The file must be 100,000 bytes or smaller."
        assert answer.headers["Connection"] == "close"
    broken = send(api, b"email\n", CONTENT_LENGTH="100")
    assert status_and_code(broken) == (400, "INVALID_PARAMETER")
    assert broken.json["error"]["message"] == "The request body did not arrive whole."
    assert rows(app, "SELECT bytes FROM imports") == [(100_000,)]


def test_same_key_again(api: Api) -> None:
    first, again = (upload(api, Idempotency_Key="one") for _ in range(2))
    assert (first.json["id"], first.headers.get("Idempotent-Replayed")) == (again.json["id"], None)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    other = upload(api, b"email\n", Idempotency_Key="one")
    assert status_and_code(other) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_eleventh(app: Flask, api: Api) -> None:
    for _ in range(10):
        assert upload(api).status_code == 202
    answer = upload(api)
    assert status_and_code(answer) == (429, "TOO_MANY_IMPORTS")
    assert answer.headers["Retry-After"] == "60"
    execute(app, "UPDATE imports SET actor_kind = 'terminal'")  # the commands' own do not count
    assert upload(api).status_code == 202


def test_pages_of_the_list(api: Api) -> None:
    ids = [upload(api).json["id"] for _ in range(3)]
    assert [one["id"] for one in api.get(f"{PATH}?limit=2").json] == ids[:0:-1]
    assert [one["id"] for one in api.get(f"{PATH}?before={ids[1]}").json] == ids[:1]
    for wrong in ("limit=101", "limit=0", "before=usr_1"):
        assert status_and_code(api.get(f"{PATH}?{wrong}")) == (400, "INVALID_PARAMETER")


def test_imports_of_those_who_hold_more(app: Flask, api: Api) -> None:
    """They are not there, whatever is asked of them."""
    path = upload(api).headers["Location"]
    fewer = make_key(app, Permission.USERS_IMPORT)
    assert api.get(PATH, key=fewer).json == []
    for method, end in (("GET", ""), ("GET", "/rejects"), ("POST", "/start"), ("POST", "/cancel")):
        assert status_and_code(api.call(method, path + end, key=fewer)) == (404, "IMPORT_NOT_FOUND")
    assert api.get(path).json["state"] == "checking"


@pytest.mark.parametrize("word", ["import", "import/jobs/x/y"])
def test_import_is_no_id(api: Api, word: str) -> None:
    """The word is not taken for the id of a user."""
    assert api.call("DELETE", f"/v1/user/{word}").json["error"]["code"] in ("METHOD_NOT_ALLOWED", "NOT_FOUND")
