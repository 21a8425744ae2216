"""What the search of users finds: the rules as a table, the same on both databases."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert

from users import clock
from users.rules import search_keys
from users.services.lists import user_search
from users.services.lists.asked import Asked
from users.storage import database
from users.storage.models import User

LONG = "abcde fghij " * 21  # with two of them, more characters than a key has
# Each user's short name, with email, first name and last name.
PEOPLE: dict[str, tuple[str, str | None, str | None]] = {
    "ann": ("ann.jones@example.org", "Ann", "Jones"),
    "jose": ("jg@eu.example.org", "José", "García Márquez"),
    "deep": ("deep@a.eu.example.org", "Zoë", None),
    "my": ("owner@myexample.org", None, None),
    "organic": ("farmer@example.organic", None, "Grün"),
    "below organic": ("shop@eu.example.organic", None, None),
    "idn": ("jo@müller-bücher.de", None, None),
    "oconnor": ("so@celtic.test", "Sinéad", "O’Connor"),
    "oneil": ("tip@celtic.test", "Tip", "O'Neil"),
    "ibrahim": ("ii@turkish.test", "İbrahim", "Işık"),
    "giorgos": ("gp@greek.test", "Γιώργος", "Παπαδόπουλος"),
    "juergen": ("jg@german.test", "Jürgen", "Groß"),
    "jurgen": ("jk@german.test", "Jurgen", "Klein"),
    "weiss": ("ml@german.test", "Marie-Luise", "WEIẞ"),
    "lukasz": ("lz@polish.test", "Łukasz", "Żółty"),
    "soren": ("sa@danish.test", "Søren", "Ærø"),
    "nguyen": ("nt@vietnamese.test", "Thị", "Nguyễn"),
    "fyodor": ("fd@russian.test", "Фёдор", "Достоевский"),
    "jean": ("jp@french.test", "Jean‑Pierre", "Dupont"),  # with a hyphen that does not break
    "sophie": ("sz@french.test", "So\u00adphie", "Zé\u200bro"),
    "percent": ("100%_sure*@wild.test", "Per%cent", "Under_score"),
    "slash": ("bs@wild.test", "Back\\slash", "Star*"),
    "three": ("ma@english.test", "Mary Ann", "Smith"),
    "wang": ("wx@chinese.test", "小明", "王"),
    "hanako": ("hs@japanese.test", "はなこ", "ヤマダ"),
    "kim": ("kc@korean.test", "철수", "김"),
    "muhammad": ("mm@arabic.test", "مُحَمَّد", "عَلِيّ"),
    "shalom": ("sh@hebrew.test", "שָׁלוֹם", None),
    "kiran": ("kr@hindi.test", "किरण", None),
    "kala": ("ka@hindi.test", "काला", None),
    "emoji": ("em@emoji.test", "👩\u200d🚀", "❤\ufe0f"),
    "wide": ("wd@wide.test", "Ｑｕｅｎｔｉｎ", None),
    "long": ("lg@long.test", LONG.strip(), LONG.strip()),
}
NUMBERS = {name: number for number, name in enumerate(PEOPLE)}
EVERYBODY = set(PEOPLE)
GERMANS, CELTS = {"juergen", "jurgen", "weiss"}, {"oconnor", "oneil"}

CASES: list[tuple[str, set[str]]] = [
    # The names, in either order; each from its beginning, and no word in the middle of three.
    ("Ann", {"ann"}),
    ("ann jones", {"ann"}),
    ("Jones Ann", {"ann"}),
    ("JONES", {"ann"}),
    ("ann jon", {"ann"}),
    ("jones a", {"ann"}),
    ("  Ann \t Jones ", {"ann"}),
    ("nn", set()),
    ("jones, ann", set()),
    ("Mary Ann Smith", {"three"}),
    ("smith mary ann", {"three"}),
    ("mary smith", set()),
    ("Ann Smith", set()),
    ("Grün", {"organic"}),
    # Accents, and letters with a stroke.
    ("jose", {"jose"}),
    ("Jose\u0301 Garci\u0301a", {"jose"}),
    ("garcia marquez jose", {"jose"}),
    ("JOSÉ", {"jose"}),
    ("lukasz zolty", {"lukasz"}),
    ("Łukasz", {"lukasz"}),
    ("Soren Aero", {"soren"}),
    ("ærø", {"soren"}),
    ("nguyen", {"nguyen"}),
    ("Федор", {"fyodor"}),
    ("ДОСТОЕВСКИЙ ФЁ", {"fyodor"}),
    # Case: German, Turkish, Greek.
    ("Jürgen", {"juergen", "jurgen"}),
    ("jurgen", {"juergen", "jurgen"}),
    ("juergen", set()),
    ("GROSS", {"juergen"}),
    ("groß jü", {"juergen"}),
    ("weiß", {"weiss"}),
    ("weiss", {"weiss"}),
    ("İBRAHİM", {"ibrahim"}),
    ("IBRAHIM", {"ibrahim"}),
    ("ibrahim isik", {"ibrahim"}),
    ("ışık", {"ibrahim"}),
    ("IŞIK İBRAHİM", {"ibrahim"}),
    ("ΓΙΏΡΓΟΣ", {"giorgos"}),
    ("γιωργος παπαδοπουλος", {"giorgos"}),
    ("παπαδοπουλοσ", {"giorgos"}),
    # Apostrophes, hyphens, invisible characters.
    ("o'connor", {"oconnor"}),
    ("O’Neil", {"oneil"}),
    ("o`neil", {"oneil"}),
    ("oconnor", set()),
    ("jean-pierre", {"jean"}),
    ("Jean–Pierre", {"jean"}),
    ("marie‐luise", {"weiss"}),
    ("jean pierre", set()),
    ("sophie zero", {"sophie"}),
    ("\ufeffS\u200bophie\u200d", {"sophie"}),
    ("\u200b", EVERYBODY),
    # Wildcards are themselves.
    ("%", set()),
    ("_", set()),
    ("*", set()),
    ("a%", set()),
    ("a_n", set()),
    ("100%", {"percent"}),
    ("100%_sure*@", {"percent"}),
    ("per%", {"percent"}),
    ("under_", {"percent"}),
    ("back\\", {"slash"}),
    ("star*", {"slash"}),
    ("' OR 1=1 --", set()),
    # Emails, domains and the domains above.
    ("ann.jones@example.org", {"ann"}),
    ("ANN.J", {"ann"}),
    ("jones@example.org", set()),
    ("example.org", {"ann", "jose", "deep", "organic"}),  # `example.organic` begins so
    ("@Example.ORG", {"ann", "jose", "deep", "organic"}),
    (".example.org", {"ann", "jose", "deep"}),
    ("example.org.", {"ann", "jose", "deep"}),
    ("eu.example.org", {"jose", "deep", "below organic"}),
    ("example.organic", {"organic", "below organic"}),
    ("xample.org", set()),
    ("example.o", {"ann", "organic"}),
    ("example", {"ann", "organic"}),
    ("org", set()),
    ("myexample.org", {"my"}),
    ("celtic.test", CELTS),
    ("@german", GERMANS),
    ("müller-bücher.de", {"idn"}),
    ("jo@MÜLLER", {"idn"}),
    ("muller-bucher.de", {"idn"}),
    ("xn--mller-bcher-thbg.de", {"idn"}),
    ("jo@xn--mller-bcher-thbg.de", {"idn"}),
    ("xn--", set()),
    # Other scripts.
    ("王", {"wang"}),
    ("王小明", {"wang"}),
    ("王 小", {"wang"}),
    ("小明 王", {"wang"}),
    ("明", set()),
    ("はな", {"hanako"}),
    ("ハナ", set()),
    ("ﾔﾏﾀﾞ", {"hanako"}),
    ("ヤマダはなこ", {"hanako"}),
    ("김철수", {"kim"}),
    ("기", {"kim"}),
    ("철", {"kim"}),
    ("محمد", {"muhammad"}),
    ("على", set()),
    ("علي محمد", {"muhammad"}),
    ("שלום", {"shalom"}),
    ("कि", {"kiran"}),
    ("का", {"kala"}),
    ("क", {"kiran", "kala"}),
    ("👩🚀", {"emoji"}),
    ("❤", {"emoji"}),
    ("quentin", {"wide"}),
    ("ＡＮＮ", {"ann"}),
    # Lengths, and what no user can hold.
    ("", EVERYBODY),
    (" \t\n", EVERYBODY),
    ("q", {"wide"}),
    ("é", {"ann", "jose", "organic", "below organic", "three", "emoji"}),
    ((LONG + LONG)[:512], {"long"}),
    ("x" * 512, set()),
    ("x" * 100_000, set()),
    ("a\0nn", set()),
    ("\0", set()),
    ("\ud800", set()),
    ("ann\udfff", set()),
    ("\U0010ffff", set()),
]


@pytest.fixture
def people(app: Flask) -> None:
    """All of PEOPLE, active and with a password."""
    at = clock.now()
    rows: list[dict[str, Any]] = [
        {"id": f"usr_{number:032x}", "email": email, "email_key": email, "first_name": first, "last_name": last}
        | {"password_hash": "x", "is_active": True, "created_at": at, "updated_at": at}
        | search_keys.keys(f"usr_{number:032x}", email, first, last)
        for number, (email, first, last) in enumerate(PEOPLE.values())
    ]
    with app.app_context(), database.transaction() as session:
        session.execute(insert(User), rows)


def found(app: Flask, text: str) -> set[str]:
    """Return the short names of those whom the search finds."""
    with app.app_context():
        ids = [user.id for user in user_search.find(Asked(text=text)).page.rows]
    return {name for name, number in NUMBERS.items() if f"usr_{number:032x}" in ids}


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("case", [CASES[start::4] for start in range(4)], ids=range(4))
def test_cases(app: Flask, case: list[tuple[str, set[str]]]) -> None:
    wrong = {text[:99]: (found(app, text), who) for text, who in case if found(app, text) != who}
    assert wrong == {}


@pytest.mark.usefixtures("people")
def test_ids(app: Flask) -> None:
    """They are found whole, in any case."""
    user_id = f"usr_{NUMBERS['jose']:032x}"
    assert found(app, f" {user_id.upper()}\n") == {"jose"}
    assert [text for text in (user_id[:-1], user_id[:8], user_id[4:], user_id + "0", "usr_") if found(app, text)] == []
