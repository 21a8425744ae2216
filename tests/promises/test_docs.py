"""The reference page says what the contract says, with the URL and the limits of this server."""

import html
import re
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient

from app import create_app
from support import documents
from support.application import WITHOUT_DATABASE
from users.field_errors import FieldCode
from users.openapi import code_samples, contract


@pytest.fixture
def client() -> FlaskClient:
    """A client of an application whose database is away."""
    return create_app(WITHOUT_DATABASE).test_client()


def test_operations(client: FlaskClient) -> None:
    """Each has its parameters, fields, permissions and responses."""
    page = client.get("/docs").text
    for one in contract.operations():
        section = page.partition(f'<section id="{one.id}"')[2].partition("</section>")[0]
        assert f"<code><b>{one.method}</b> {one.path}</code>" in section
        names = set(re.findall(r"<dt><code>([\w-]+)</code>", section))
        assert {field.name for field in (*one.parameters, *one.fields)} <= names
        assert re.findall(r'<span class="tag">([\w:]+)</span>', section) == one.permissions
        assert {str(answer.status) for answer in one.responses} <= set(re.findall(r"<code>(\d{3})</code>", section))


def test_error_codes(client: FlaskClient) -> None:
    """Each is listed once, with how to fix it and an example."""
    page = client.get("/docs").text
    codes = contract.codes()
    assert [code for code in re.findall(r'<section id="(\w+)" class="pair"', page) if code.isupper()] == [
        one.code for one in codes
    ]
    for one in codes:
        section = page.partition(f'<section id="{one.code}"')[2].partition("</section>")[0]
        assert f'<span class="tag">{one.status}</span>' in section
        words, example = re.findall(r"<p>(.*?)</p>|<pre .*?><code>(.*?)</code>", section, re.DOTALL)
        plain = html.unescape(re.sub(r"<.*?>", "", words[0]))
        assert plain == f"{one.meaning} {one.fix}".replace("`", "")
        assert html.unescape(example[1]) == one.example
    assert {one.code for one in codes} >= set(FieldCode)


@pytest.mark.parametrize(("section", "schema"), [("row-codes", "RowCode"), ("import-codes", "ImportErrorCode")])
def test_codes_within_answers(client: FlaskClient, section: str, schema: str) -> None:
    """Each code of the schema is on the page: among these, or with an answer of its own."""
    page = client.get("/docs").text
    shown = page.partition(f'<section id="{section}"')[2].partition("</section>")[0]
    listed = re.findall(r'<dt id="(\w+)"><code>(\w+)</code></dt>\s*<dd>(.*?)</dd>', shown)
    found = contract.codes_in(schema)
    assert [(name, code) for name, code, _ in listed] == [(one.code, one.code) for one in found]
    assert [html.unescape(re.sub(r"<.*?>", "", words)) for *_, words in listed] == [
        f"{one.meaning} {one.fix}".replace("`", "") for one in found
    ]
    whole = set(contract.document()["components"]["schemas"][schema]["enum"])
    assert whole == {one.code for one in found} | (whole & {one.code for one in contract.codes()})


def test_contents(client: FlaskClient) -> None:
    """The navigation leads to every section, in the order of the page."""
    page = client.get("/docs").text
    contents = page.partition('<nav class="toc"')[2].partition("</nav>")[0]
    sections = re.findall(r'<section id="([\w-]+)"', page)
    assert re.findall(r'href="#([\w-]+)"', contents) == sections
    assert {one.id for one in contract.operations()} | {one.code for one in contract.codes()} <= set(sections)
    headed = re.findall(r'<a class="anchor" href="#([\w-]+)"', page)
    assert headed == sections


@pytest.mark.parametrize(
    ("query", "chosen"),
    [("", "curl"), ("?lang=nothing", "curl")] + [(f"?lang={name}", name) for name in code_samples.LANGUAGES],
)
def test_language(client: FlaskClient, query: str, chosen: str) -> None:
    """The chosen one shows, the others are hidden; the links choose another one."""
    page = client.get(f"/docs{query}").text
    parts = re.findall(r'data-lang="(\w+)"( hidden)?>', page)
    assert {name for name, hidden in parts if not hidden} == {chosen}
    assert {name for name, hidden in parts if hidden} == {*code_samples.LANGUAGES} - {chosen}
    links = re.findall(r'<a href="\?lang=(\w+)#createUser" data-speak="(\w+)"( aria-current="true")?>', page)
    assert links == [(name, name, ' aria-current="true"' * (name == chosen)) for name in code_samples.LANGUAGES]


def test_changes(client: FlaskClient) -> None:
    """The page tells every change of the API that the changelog tells, and no other."""
    page = client.get("/docs").text.partition('<section id="changes"')[2].partition('<section id="not"')[0]
    shown = [html.unescape(re.sub(r"<.*?>", "", one)) for one in re.findall(r"<p>(.*?)</p>", page, re.DOTALL)]
    plain = re.sub(r"\[(.*?)\]\(.*?\)|\*\*|`", r"\1", " ".join(documents.page("users/CHANGELOG.md").split()))
    entries = [one.split(" ## ")[0] for one in plain.split(" - ")]
    assert shown == [one for one in entries if re.match(r"[^.]*\bAPI\. ", one)]
    names = re.findall(r"<h3.*?>(.*?)</h3>", page)
    assert (names[0], names[-1]) == ("Next version", "1.0.0")


@pytest.mark.parametrize("language", code_samples.LANGUAGES)
def test_markdown(client: FlaskClient, language: str) -> None:
    """It has the words, the samples and the links of the page."""
    page, answer = client.get(f"/docs?lang={language}"), client.get(f"/docs.md?lang={language}")
    assert answer.content_type == "text/markdown; charset=utf-8"
    assert client.get(f"/llms.txt?lang={language}").text == answer.text
    text = answer.text
    assert text.startswith("# API reference\n")
    main = page.text.partition("<h1")[2].rpartition("</nav>")[2].partition("</main>")[0]
    assert re.findall(r"^##+ (.*)$", text, re.MULTILINE) == re.findall(r"<(?:h\d|summary).*?>(.*?)<", main)
    for words in re.findall(r"<(?:p|dd)>(.*?)</(?:p|dd)>", main, re.DOTALL):
        assert _as_markdown(words) in text
    shown = re.findall(
        r"<pre .*?><code>(.*?)</code></pre>",
        re.sub(r"<div [^>]*hidden>.*?</div>", "", main, flags=re.DOTALL),
        re.DOTALL,
    )
    blocks = re.findall(r"^```\w*\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    assert blocks == [html.unescape(one) for one in shown]
    assert "](http://localhost/docs#INVALID_JSON)" in text
    assert "hidden" not in text


def _as_markdown(words: str) -> str:
    """Return the inside of a paragraph as it stands in the Markdown."""
    linked = re.sub(
        r'<a href="(.*?)">(.*?)</a>', lambda one: f"[{one[2]}]({urljoin('http://localhost/docs', one[1])})", words
    )
    return html.unescape(re.sub(r"</?span.*?>", "", re.sub(r"</?b>", "**", re.sub(r"</?code>", "`", linked)))).strip()


def test_links(client: FlaskClient) -> None:
    page = client.get("/docs").text
    ids = re.findall(r'\bid="([\w-]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= set(ids)
    assert set(re.findall(r'(?:href|src)="(?!#)([^"?]+)', page)) <= {
        *("/", "/admin/keys", "/admin/users", "/docs", "/docs.md", "/openapi.json"),
        *("/static/app.css", "/static/app.js", "/static/icon.svg"),
    }


def test_code_samples_have_the_base_url(client: FlaskClient) -> None:
    page = html.unescape(client.get("/docs", headers={"Host": "localhost:5000"}).text)
    assert page.count("http://localhost:5000/v1/user/") >= 3 * len(contract.operations())
    stranger = html.unescape(client.get("/docs", headers={"Host": "elsewhere.example"}).text)
    assert "elsewhere.example" not in stranger
    assert "https://your-enrol/v1/user/" in stranger


@pytest.mark.parametrize("rate", ["100/minute", "off"])
def test_rate_limit_of_this_server(rate: str) -> None:
    page = create_app({**WITHOUT_DATABASE, "ENROL_RATE_LIMIT": rate}).test_client().get("/docs").text
    assert ("A key may send 100 requests in 60 seconds" in page) is (rate != "off")
    assert ("This server sets keys no limit." in page) is (rate == "off")


def test_every_page_links_to_it(client: FlaskClient) -> None:
    for path in ("/admin/login", "/nothing", "/docs"):
        assert '<a href="/docs">Docs</a>' in client.get(path).text
