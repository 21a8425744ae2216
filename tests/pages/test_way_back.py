"""The way back from the pages of a user to the list as it was."""

import re
from html import unescape
from urllib.parse import quote

import pytest
from flask import Flask
from markupsafe import escape

from support.list_pages import LIST, emails_on, link
from support.people import Cast
from support.visitors import Visitor
from users.pages.lists import way_back

ASKED = f"{LIST}?q=example&status=active&verified=false&sort=email"


def user_on(visitor: Visitor, path: str, email: str) -> str:
    """Return where the list at `path` leads from this user."""
    page = visitor.get(path)
    paths = re.findall(r'<th scope="row"><a href="([^"]+)">', page.text)
    return str(paths[emails_on(page).index(email)])


def test_back_from_each_page(ada: Visitor, cast: Cast) -> None:
    """The user's page and each page that it leads to know the way back."""
    path = user_on(ada, ASKED, "sam@example.com")
    page = ada.get(path)
    assert f'<p class="back"><a href="{escape(ASKED)}"' in page.text
    below = set(re.findall(rf'(?:href|action)="({LIST}/{cast.sam.id}[^"]*)"', page.text))
    assert len(below) > 5
    for there in below:
        assert there.partition("#")[0].endswith(path.partition("?")[2]), there
    edit = ada.get(link(page, "Edit"))
    assert link(edit, "Cancel") == path


def test_back_after_an_act(ada: Visitor, cast: Cast) -> None:
    """An act leads to the user's page, and a deletion to the list, as it was."""
    path = user_on(ada, ASKED, "sam@example.com")
    user, _, carried = path.partition("?")
    done = ada.post(f"{user}/deactivate?{carried}")
    assert (done.status_code, done.location) == (303, path)
    assert "User deactivated" in ada.get(path).text
    deleted = ada.post(f"{user}/delete?{carried}")
    assert (deleted.status_code, deleted.location) == (303, ASKED)
    page = ada.get(ASKED)
    assert "User deleted" in page.text
    assert "sam@example.com" not in emails_on(page)


def test_back_from_a_new_user(ada: Visitor) -> None:
    (new,) = re.findall(r'<a class="button" href="([^"]+)">Create<', ada.get(ASKED).text)
    form = ada.get(unescape(new))
    assert link(form, "Cancel") == ASKED
    (action,) = re.findall(r'<form method="post" action="([^"]+new[^"]*)"', form.text)
    done = ada.post(action, email="new@example.com", choice="type", password="correct horse battery")
    assert f'<p class="back"><a href="{escape(ASKED)}"' in ada.get(done.location).text


def test_the_place_is_kept(ada: Visitor, cast: Cast) -> None:
    place = f"{LIST}?before={cast.vera.id}&at=3"
    page = ada.get(user_on(ada, place, "omar@example.com"))
    assert f'<p class="back"><a href="{LIST}?before={cast.vera.id}' in page.text


@pytest.mark.parametrize(
    "carried",
    [
        "//evil.example/",
        "https://evil.example/?q=1",
        "javascript:alert(1)",
        "next=//evil.example",
        "list=q%3Dx",
        "%00",
        "\r\nLocation:x",
        "_external=1&_scheme=https&_anchor=x&_method=POST",
        "endpoint=x",
        "user_id=x",
        "q=",
        "&&==",
        "%ED%A0%80",
        "a" * 5_000,
    ],
)
def test_leads_nowhere_else(ada: Visitor, cast: Cast, carried: str) -> None:
    """Only the list's own parameters are taken: nothing else of what a link carries comes back."""
    page = ada.get(f"{LIST}/{cast.sam.id}?list={quote(carried)}")
    assert re.findall(r'<p class="back"><a href="([^"]+)"', page.text) in ([LIST], [f"{LIST}?q=1"])
    done = ada.post(f"{LIST}/{cast.sam.id}/delete?list={quote(carried)}")
    assert done.location in (LIST, f"{LIST}?q=1")


def test_hostile_texts(ada: Visitor, cast: Cast) -> None:
    """What the list was asked for comes back as text."""
    page = ada.get(f"{LIST}/{cast.sam.id}?list={quote('q=' + quote(chr(34) + '><script>'))}")
    assert "<script>" not in page.text.partition("<main")[2]
    assert f'<a href="{LIST}?q=%22%3E%3Cscript%3E"' in page.text


def test_a_long_search_is_not_carried(app: Flask, ada: Visitor) -> None:
    assert way_back.packed({"q": "x" * 990}) == f"q={'x' * 990}"
    assert way_back.packed({"q": "é" * 512}) is None
    assert way_back.packed({"next": "//evil.example"}) is None


def test_other_pages_carry_nothing(ada: Visitor, cast: Cast) -> None:
    """A link elsewhere to a user has no way back in it."""
    page = ada.get("/admin/audit?list=status%3Ddeleted").text
    assert f'href="{LIST}/{cast.sam.id}"' in page
    assert "status%3Ddeleted" not in page
