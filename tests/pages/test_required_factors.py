"""ENROL_REQUIRE_SECOND_FACTOR: who is led to a second factor, when, and where a sign-in of several steps leads."""

import re

import pytest
from flask import Flask

from support.api import Answer
from support.databases import execute, rows
from support.factors import FACTOR, FACTORS, add_app, fully_signed_in, give_code, grow_old, half_signed_in
from support.half_states import ADMINISTRATORS, ALL, CHOOSE, OFF
from support.people import PASSWORD, Cast
from support.scenes import before_the_act
from support.visitors import LOGIN, NEW_USER, Visitor, problems_in, signed_in, token_in
from users.auth import sessions
from users.services.links import setup_link

pytestmark = pytest.mark.one_database

NEW = "another horse battery"


def enrol(app: Flask, browser: Visitor) -> Answer:
    """Add an app to the user whose sign-in wants a second factor, and return where the last step leads."""
    began = browser.client.post(f"{FACTORS}/app", data={"csrf_token": browser.token(FACTORS)})
    execute(app, "UPDATE second_factors SET proved_at = created_at")
    page = browser.get(began.location.removesuffix("/app") + "/codes")
    assert page.status_code == 200
    activate = re.findall(r'action="(/account/factors/\w+/activate)"', page.text)[0]
    return browser.client.post(activate, data={"csrf_token": token_in(page)})


@pytest.mark.parametrize(
    ("settings", "led"),
    [(OFF, ()), (ADMINISTRATORS, ("ada",)), (ALL, ("ada", "omar", "vera"))],
    ids=("off", "administrators", "all"),
)
def test_who_is_led_to_it(app: Flask, cast: Cast, led: tuple[str, ...]) -> None:
    """A member never is; who is sees their own second factors alone."""
    for name in ("ada", "omar", "vera", "sam"):
        browser = signed_in(app, getattr(cast, name))
        account = browser.get("/account")
        assert (account.location == FACTORS) == (name in led), name
        assert (account.status_code == 200) == (name not in led)
        if name in led:
            page = browser.get(FACTORS).text.partition("<body>")[2]
            assert "<h1>Add a second factor</h1>" in page
            assert set(re.findall(r'href="(/[^"]*)"', page)) <= {"/", f"{FACTORS}/passkey"}


@pytest.mark.parametrize("settings", [ALL])
@pytest.mark.parametrize(
    ("there", "led"),
    [
        ("/admin/keys", "/admin/keys"),
        ("", "/admin"),
        (f"{NEW_USER}?email=jo@example.com", NEW_USER),
        ("//evil.example/", "/admin"),
        ("/" + "x" * 5000, "/admin"),
    ],
)
def test_goes_on_afterwards(app: Flask, cast: Cast, there: str, led: str) -> None:
    """To where the sign-in was to lead, also by way of a new password."""
    execute(app, "UPDATE users SET password_change_required = true")
    browser = Visitor(app.test_client())
    assert browser.sign_in("ada@example.com", next=there).location == CHOOSE
    chosen = browser.client.post(CHOOSE, data={"password": NEW, "csrf_token": browser.token(CHOOSE)})
    assert chosen.location == FACTORS
    assert "Password changed" in browser.get(FACTORS).text
    assert enrol(app, browser).location == led
    assert "Second factor added" in browser.get(led).text
    assert browser.get("/admin/users").status_code == 200


@pytest.mark.parametrize("settings", [ALL])
def test_interrupted_form_leads_back(app: Flask, cast: Cast) -> None:
    """Its fields are lost on the way, but not its page."""
    browser = Visitor(app.test_client())
    answer = browser.sign_in("ada@example.com", next=NEW_USER, **{"kept-email": "jo@example.com"})
    assert answer.location == FACTORS
    assert enrol(app, browser).location == NEW_USER


@pytest.mark.parametrize("settings", [ALL])
def test_other_user_is_not_led_there(app: Flask, cast: Cast) -> None:
    """Where one sign-in was to lead is forgotten when another user signs in in the same browser."""
    browser = Visitor(app.test_client())
    assert browser.sign_in("ada@example.com", next="/admin/keys").location == FACTORS
    browser.post("/admin/logout", token=browser.token(FACTORS))
    assert browser.sign_in("omar@example.com").location == FACTORS
    assert enrol(app, browser).location == "/admin"


@pytest.mark.parametrize("settings", [ADMINISTRATORS, ALL])
def test_setup_ends_in_it(app: Flask) -> None:
    with app.app_context():
        token = setup_link.issue()
    browser = Visitor(app.test_client())
    page = browser.get(f"/setup?token={token}", follow_redirects=True)
    data = {"email": "ada@example.com", "password": PASSWORD, "csrf_token": token_in(page)}
    assert browser.client.post("/setup", data=data).location == FACTORS
    assert browser.get("/admin/start").location == FACTORS
    assert enrol(app, browser).location == "/admin/start"
    assert browser.get("/admin/start").status_code == 200


@pytest.mark.parametrize("settings", [ALL])
def test_old_proof_on_the_way(app: Flask, cast: Cast) -> None:
    """A user who takes longer than ten minutes gives the password again, and goes on."""
    browser = signed_in(app, cast.ada)
    grow_old(app, cast.ada)
    asked = browser.client.post(f"{FACTORS}/app", data={"csrf_token": browser.token(FACTORS)})
    assert asked.status_code == 403
    data = {"csrf_token": token_in(asked), "next": FACTORS, "password": PASSWORD}
    assert browser.client.post("/account/confirm", data=data).location == FACTORS
    assert enrol(app, browser).location == "/admin"


@pytest.mark.parametrize("settings", [ALL])
def test_role_given_in_the_middle(app: Flask, cast: Cast) -> None:
    """The next page leads to it, and a form that was open does nothing; a role taken away ends the need."""
    sam = signed_in(app, cast.sam)
    token = sam.token("/account")
    execute(app, "UPDATE users SET global_role_id = 'role_operator' WHERE id = :id", id=cast.sam.id)
    assert sam.get("/admin/users").location == FACTORS
    new = {"email": "jo@example.com", "choice": "link", "csrf_token": token}
    assert sam.client.post(NEW_USER, data=new).location == FACTORS
    execute(app, "UPDATE users SET global_role_id = NULL WHERE id = :id", id=cast.sam.id)
    assert sam.get("/account").status_code == 200
    assert rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com'") == []


@pytest.mark.parametrize("settings", [ADMINISTRATORS])
def test_role_given_before_the_act(app: Flask, cast: Cast, omar: Visitor) -> None:
    """The act's transaction asks again: without the factor that is required now, the user may do nothing."""
    token = omar.token("/account")
    new = {"email": "jo@example.com", "choice": "link", "csrf_token": token}

    def promote() -> None:
        execute(app, "UPDATE users SET global_role_id = 'role_admin' WHERE id = :id", id=cast.omar.id)

    with before_the_act(promote) as done:
        answer = omar.client.post(NEW_USER, data=new)
    assert done
    assert answer.status_code == 403
    assert rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com'") == []
    assert omar.get("/account").location == FACTORS


@pytest.mark.parametrize("settings", [ADMINISTRATORS])
@pytest.mark.parametrize(("person", "may"), [("ada", False), ("omar", True), ("sam", True)])
def test_last_one_stays(app: Flask, cast: Cast, person: str, may: bool) -> None:
    """The last factor cannot be removed while one is required; before it another can."""
    user = getattr(cast, person)
    first = add_app(app, user)
    browser = fully_signed_in(app, user, first)
    second = add_app(app, user)
    for mine, removed in ((first, True), (second, may)):
        path = f"{FACTORS}/{mine.factor_id}/remove"
        answer = browser.client.post(path, data={"csrf_token": browser.token(path)})
        assert (answer.location == FACTORS) == removed
    assert bool(problems_in(answer) or "There is a problem" in answer.text) != may
    left = rows(app, "SELECT 1 FROM second_factors WHERE active_since IS NOT NULL")
    assert len(left) == (0 if may else 1)
    assert browser.is_in


@pytest.mark.parametrize("settings", [ADMINISTRATORS])
def test_gives_up_the_role(app: Flask, cast: Cast) -> None:
    """An administrator who makes themselves an auditor goes on, and may then remove the factor."""
    execute(app, "UPDATE users SET global_role_id = 'role_admin' WHERE id = :id", id=cast.omar.id)
    mine = add_app(app, cast.ada)
    browser = fully_signed_in(app, cast.ada, mine)
    there = f"/admin/users/{cast.ada.id}"
    form = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace", "global_role_id": "role_admin"}
    seen = {f"was-{name}": value for name, value in form.items()}
    sent = {**form, **seen, "global_role_id": "role_auditor", "confirmed": "yes"}
    assert browser.post(f"{there}/edit", **sent).location == there
    assert browser.get(there).status_code == 200
    path = f"{FACTORS}/{mine.factor_id}/remove"
    assert browser.post(path, token=browser.token(path)).location == FACTORS


def test_typed_form_comes_through_both_steps(app: Flask, cast: Cast) -> None:
    """What was typed before the session ended comes through both steps of the sign-in, and a wrong code between."""
    mine = add_app(app, cast.ada)
    browser = fully_signed_in(app, cast.ada, mine)
    token = browser.token("/account")
    browser.client.delete_cookie("enrol")
    typed = {"email": "jo@example.com", "choice": "type", "first_name": "Jo"}
    asked = browser.post(NEW_USER, token=token, password="canary-Xq7pass", **typed)
    kept = {f"kept-{name}": value for name, value in typed.items()}
    there = {"next": NEW_USER, **kept}
    step = browser.post(LOGIN, token=token_in(asked), email="ada@example.com", password=PASSWORD, **there)
    wrong = browser.client.post(FACTOR, data={"csrf_token": token_in(step), "code": "000000", **there})
    assert problems_in(wrong) == [("code", "The code is wrong")]
    for page in (step, wrong):
        assert all(f'name="{name}" value="{value}"' in page.text for name, value in there.items())
    form = browser.client.post(FACTOR, data={"csrf_token": token_in(wrong), "code": mine.code(), **there})
    assert form.status_code == 200
    assert "You are signed in again" in form.text
    assert all(f'value="{value}"' in form.text for value in ("jo@example.com", "Jo"))
    assert "canary-Xq7pass" not in form.text + step.text + wrong.text


def test_typed_form_survives_the_last_wrong_code(app: Flask, cast: Cast) -> None:
    """The session has ended; after both steps of another sign-in the form is there."""
    mine = add_app(app, cast.ada)
    browser = half_signed_in(app, cast.ada)
    there = {"next": NEW_USER, "kept-email": "jo@example.com"}
    answers = [give_code(browser, "000000", **there) for _ in range(sessions.MOST_ANSWERS)]
    assert [answer.status_code for answer in answers] == [422] * 4 + [403]
    token = token_in(answers[-1])
    assert f'name="next" value="{NEW_USER}"' in answers[-1].text
    assert 'name="kept-email" value="jo@example.com"' in answers[-1].text
    step = browser.post(LOGIN, token=token, email="ada@example.com", password=PASSWORD, **there)
    data = {"csrf_token": token_in(step), "code": mine.code(), **there}
    assert 'value="jo@example.com"' in browser.client.post(FACTOR, data=data).text


@pytest.mark.parametrize("settings", [ALL])
@pytest.mark.parametrize("there", ["/admin/logout", "/account", "/account/sessions", LOGIN, "/setup", "/password"])
def test_kept_fields_open_no_half_state(app: Flask, cast: Cast, there: str) -> None:
    """Not even as the form of the sign-out, which opens at every stage and shows the account again."""
    browser = Visitor(app.test_client())
    assert browser.sign_in("ada@example.com", next=there, **{"kept-email": "jo@example.com"}).location == FACTORS


@pytest.mark.parametrize(
    ("there", "led"),
    [
        ("/admin/keys?a=b", "/admin/keys?a=b"),
        ("//evil.example", "/admin"),
        ("/\\evil.example", "/admin"),
        ("https://evil.example/", "/admin"),
        ("/admin/login/factor", "/admin/login/factor"),  # which leads on
    ],
)
def test_next_after_the_second_step(app: Flask, cast: Cast, there: str, led: str) -> None:
    mine = add_app(app, cast.ada)
    browser = half_signed_in(app, cast.ada)
    assert give_code(browser, mine.code(), next=there).location == led
    assert browser.get(FACTOR).location == "/admin"
