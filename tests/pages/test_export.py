"""The page that exports users: of the list as it is filtered, and with hashes only for some."""

import json

import pytest
from flask import Flask

from support.databases import execute, rows
from support.factors import grow_old
from support.people import Cast, make_user
from support.visitors import signed_in, token_in

pytestmark = pytest.mark.one_database
EXPORT = "/admin/users/export"
HASHES = "With the password hashes"


def test_list_leads_to_it(app: Flask, cast: Cast) -> None:
    """With the filters of the list, and not from the list of deleted users."""
    ada = signed_in(app, cast.ada)
    page = ada.get("/admin/users?status=active&role=role_operator&q=omar&sort=name")
    assert f'href="{EXPORT}?q=omar&amp;status=active&amp;role=role_operator&amp;sort=name"' in page.text
    execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=cast.sam.id)
    assert EXPORT not in ada.get("/admin/users?status=deleted").text
    assert EXPORT in ada.get("/admin/users").text


def test_page_says_what_is_exported(app: Flask, cast: Cast) -> None:
    vera = signed_in(app, cast.vera)
    assert "4 users, oldest first. Deleted users are never exported." in vera.get(EXPORT).text
    page = vera.get(f"{EXPORT}?status=active&role=role_operator&q=omar").text
    assert "One active user found for “<bdi>omar</bdi>”, filtered, oldest first." in page
    assert '<li class="tag">Role: Operator</li>' in page


@pytest.mark.parametrize("query", ["since=yesterday", "status=deleted", "role=nobody"])
def test_what_no_export_can_be_of(app: Flask, cast: Cast, query: str) -> None:
    """It leads to the list, which says what is wrong. So does a form that was changed by hand."""
    ada = signed_in(app, cast.ada)
    assert ada.get(f"{EXPORT}?{query}").location == f"/admin/users?{query}"
    name, value = query.split("=")
    assert ada.post(EXPORT, format="csv", **{name: value}).location == f"/admin/users?{query}"


def test_file(app: Flask, cast: Cast) -> None:
    """Those whom the list finds, whole: the filters go with the form."""
    make_user(app, "omar2@example.com")
    omar = signed_in(app, cast.omar)
    page = omar.get(f"{EXPORT}?q=omar&role=role_operator").text
    assert '<input type="hidden" name="q" value="omar">' in page
    answer = omar.post(EXPORT, format="jsonl", q="omar", role="role_operator")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=users-")
    assert answer.headers["Content-Length"] == str(len(answer.data))
    assert [json.loads(line)["email"] for line in answer.text.splitlines()] == ["omar@example.com"]
    ((kind, user),) = rows(app, "SELECT actor_kind, actor_user_id FROM audit_events WHERE action = 'user.export'")
    assert (kind, user) == ("session", cast.omar.id)


def test_excel(app: Flask, cast: Cast) -> None:
    assert signed_in(app, cast.ada).post(EXPORT, format="csv", excel="y").data.startswith(b"\xef\xbb\xbfid,")


def test_unknown_format(app: Flask, cast: Cast) -> None:
    answer = signed_in(app, cast.ada).post(EXPORT, format="xlsx", q="sam")
    assert answer.status_code == 422
    assert "Choose a format from the list" in answer.text
    assert '<input type="hidden" name="q" value="sam">' in answer.text


def test_hashes(app: Flask, cast: Cast) -> None:
    """Only who may read them is offered them, and told what that means."""
    ada, omar = signed_in(app, cast.ada), signed_in(app, cast.omar)
    assert HASHES not in omar.get(EXPORT).text
    assert omar.post(EXPORT, format="csv", hashes="y").status_code == 403
    page = ada.get(EXPORT).text
    assert HASHES in page
    assert "A person who has this file can guess at its passwords" in page
    assert "$argon2id$" in ada.post(EXPORT, format="csv", hashes="y").text
    assert "$argon2id$" not in ada.post(EXPORT, format="csv").text


def test_hashes_need_a_fresh_proof(app: Flask, cast: Cast) -> None:
    """The form is shown again after it as it was sent, with the filters."""
    ada = signed_in(app, cast.ada)
    grow_old(app, cast.ada)
    assert ada.post(EXPORT, format="csv").status_code == 200
    asked = ada.post(EXPORT, format="jsonl", hashes="y", q="sam")
    assert asked.status_code == 403
    assert "<h1>Confirm that it is you</h1>" in asked.text
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'user.export' AND fields LIKE '%hash%'") == []
    for name, value in {"kept-hashes": "y", "kept-format": "jsonl", "kept-q": "sam"}.items():
        assert f'name="{name}" value="{value}"' in asked.text
    assert token_in(asked)


def test_audit_sentence(app: Flask, cast: Cast) -> None:
    ada = signed_in(app, cast.ada)
    ada.post(EXPORT, format="csv")
    ada.post(EXPORT, format="csv", hashes="y")
    trail = ada.get("/admin/audit?action=user.export").text
    assert trail.count("exported users") == 2
    assert trail.count("exported users with their password hashes") == 1
    assert "last_login" not in trail
