"""The question what the columns of a file mean."""

import pytest
from werkzeug.datastructures import MultiDict

from users.bulk.options import Options
from users.form_errors import FormRefused
from users.pages.imports import columns

PLAIN = Options()
HEADER = ("E-Mail", "Vorname", "Frist name", "Passwort", "id", "", "Phone", "phone")
ROWS = [
    ["jo@example.com", "Jo", "Jo", "hunter22 hunter22", "1", "x", "1", "2"],
    ["", "", "", "", "", "", "", ""],
    ["li@example.com", "Li " * 33, "Li", "another horse", "2", "", "", ""],
]


def test_what_is_shown() -> None:
    """Each column with its values and the likely meaning. One without a name and one of the same name are left out."""
    found = columns.shown(HEADER, ROWS, PLAIN, MultiDict())
    assert [(one.name, one.header, one.means) for one in found] == [
        ("column-0", "E-Mail", "email"),
        ("column-1", "Vorname", "first_name"),
        ("column-2", "Frist name", ""),
        ("column-3", "Passwort", "password"),
        ("column-4", "id", ""),
        ("column-6", "Phone", ""),
    ]
    assert [one.values for one in found][:4] == [
        ["jo@example.com", "li@example.com"],
        ["Jo", "Li " * 20],
        ["Jo", "Li"],
        ["••••••••"] * 2,
    ]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("pwd", "x"),
        ("Kennwort", "x"),
        ("user_hash", "x"),
        ("x", "$2b$12$abc"),
        ("x", "{SSHA}abc"),
        ("x", "5f4dcc3b5aa765d61d8327deb882cf99"),
        ("x", "pbkdf2:sha256:1$a$b"),
    ],
)
def test_secrets_are_dots(header: str, value: str) -> None:
    (found,) = columns.shown([header], [[value]], PLAIN, MultiDict())
    assert found.values == ["••••••••"]


def test_what_was_chosen_stays() -> None:
    """Also where it hides a secret: a column that was said to be the password shows dots."""
    found = columns.shown(["a"], [["secret"]], PLAIN, MultiDict({"column-0": "password"}))
    assert (found[0].means, found[0].values) == ("password", ["••••••••"])


def test_one_meaning_once() -> None:
    """Two columns that could mean the same: the first does."""
    found = columns.shown(["Email", "E-Mail"], [], PLAIN, MultiDict())
    assert [one.means for one in found] == ["email", ""]


def test_ids() -> None:
    assert "id" not in columns.choices(PLAIN)
    assert columns.choices(Options(keep_ids=True))["id"] == "ID"


def test_answer() -> None:
    chosen = MultiDict({"column-0": "email", "column-1": "first_name", "column-2": "", "column-3": "nonsense"})
    found = columns.answer(HEADER[:4], PLAIN, chosen)
    assert found == ({"E-Mail": "email", "Vorname": "first_name"}, ["Frist name", "Passwort"])


def test_refused_answers() -> None:
    with pytest.raises(FormRefused) as refused:
        columns.answer(["a", "b"], PLAIN, MultiDict({"column-0": "first_name", "column-1": "first_name"}))
    assert refused.value.problems == {
        "column-1": "Choose another meaning: “a” is the first name already",
        "columns": "Choose the column that holds the email addresses",
    }
