"""Every page in a real browser: accessible, in light and dark, on a phone, and without console messages."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from support.application import dispose
from support.chromium import Site, begin_app, follow, sign_in
from support.databases import execute, rows
from support.factors import add_app, grow_old
from support.inspector import Inspector
from support.people import PASSWORD, make_key, make_user
from support.sessions import begin_session
from users import clock
from users.auth.factors import recovery_codes
from users.auth.sessions import Place
from users.bulk import runner
from users.roles import Permission, Role
from users.storage import database
from users.storage.models import User

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_the_first_run(site: Site, inspector: Inspector) -> None:
    page = inspector.page
    page.goto(f"{site.base_url}/setup")
    inspector.look("set-up without the link")
    page.goto(site.setup_link())
    inspector.look("set-up")
    follow(page, "main button.wide")
    inspector.look("set-up with errors")
    page.fill("#email", "ada@example.com")
    page.fill("#password", PASSWORD)
    follow(page, "main button.wide")
    inspector.look("first steps")
    page.goto(f"{site.base_url}/admin/users")
    inspector.look("no users yet")
    page.goto(f"{site.base_url}/admin/keys")
    inspector.look("no keys yet")


def test_signing_in_and_your_account(site: Site, inspector: Inspector) -> None:
    page = inspector.page
    site.fill()
    page.goto(f"{site.base_url}/admin/login")
    inspector.look("sign-in")
    follow(page, "main button.wide")
    inspector.look("sign-in with an error")
    sign_in(page, site, "vera@example.com")
    page.goto(f"{site.base_url}/admin/keys")
    inspector.look("no access")
    page.goto(f"{site.base_url}/nothing")
    inspector.look("not found")
    sign_in_again(inspector, site)
    sign_in_elsewhere(site, "ada@example.com")
    page.goto(f"{site.base_url}/account")
    inspector.look("account")
    follow(page, "text=Change password")
    inspector.look("account with errors")
    follow(page, "text=Sign out")
    inspector.look("signed out")
    look_at_a_members_pages(inspector, site)


def sign_in_elsewhere(site: Site, email: str) -> None:
    """Begin sessions of the user: at a long IP address, and one that awaits the second factor."""
    app = site.app()
    (found,) = rows(app, "SELECT id FROM users WHERE email = :email", email=email)
    place = Place("2001:db8:85a3:1234:5678:8a2e:1370:7334", "Samsung Internet on Android")
    for awaits_factor in (True, False):
        begin_session(app, User(id=found.id), place=place, awaits_factor=awaits_factor)
    dispose(app)


def look_at_a_members_pages(inspector: Inspector, site: Site) -> None:
    """Let a user without a role choose the password that they must, at their account and at a page not for them."""
    page, app = inspector.page, site.app()
    execute(app, "UPDATE users SET password_change_required = true WHERE email LIKE 'a.very.long%'")
    dispose(app)
    sign_in(page, site, "a.very.long.address.that.has.to.wrap.somewhere@a-domain-that-is-long-too.example.com")
    inspector.look("choose a new password")
    page.fill("#password", PASSWORD)
    follow(page, "main button.wide")
    inspector.look("choose a new password, with an error")
    page.fill("#password", "another horse battery")
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")
    inspector.look("account of a member")
    page.goto(f"{site.base_url}/admin/users")
    inspector.look("no access for a member")
    follow(page, "text=Go to your account")
    assert page.url.endswith("/account")


def sign_in_again(inspector: Inspector, site: Site) -> None:
    """Let Ada sign in after her session ended while she filled in the form."""
    page = inspector.page
    follow(page, "text=Go to the")
    follow(page, "text=Sign out")
    sign_in(page, site)
    page.goto(f"{site.base_url}/admin/users/new")
    page.fill("#email", "kept@example.com")
    page.context.clear_cookies()
    follow(page, "text=Create user")
    inspector.look("session ended")
    page.fill("#email", "ada@example.com")
    page.fill("#password", PASSWORD)
    follow(page, "main button.wide")
    assert page.input_value("#email") == "kept@example.com"
    inspector.look("back at the form")


def test_the_second_factors(site: Site, inspector: Inspector) -> None:
    page, app = inspector.page, site.app()
    base_url = site.base_url.replace("127.0.0.1", "localhost")  # an IP address has no passkeys
    ada = make_user(app, "ada@example.com", Role.ADMIN)
    sign_in(page, site, base_url=base_url)
    page.goto(f"{base_url}/account/factors")
    inspector.look("no second factor")
    grow_old(app, ada)
    follow(page, "text=Add a passkey")
    inspector.look("confirm")
    page.fill("#password", PASSWORD)
    follow(page, "main button.wide")
    inspector.look("new passkey")
    page.goto(f"{base_url}/account/factors")
    codes = add_an_app(inspector)
    with app.app_context(), database.transaction() as session:
        for code in codes[2:]:
            recovery_codes.take(session, ada.id, code, clock.now())
    add_app(app, ada)  # under the key of this process, which the server does not have
    page.goto(f"{base_url}/account/factors")
    assert page.locator("tbody .wrong").count() == 1
    inspector.look("second factors, one that cannot be checked")
    follow(page, "text=Rename")
    inspector.look("rename a second factor")
    page.goto(f"{base_url}/account")
    inspector.look("account with few recovery codes")
    follow(page, "text=Sign out")
    sign_in(page, site, base_url=base_url)
    assert page.locator("#code:focus").count() == 1
    inspector.look("code at the sign-in")
    page.click("summary")
    page.fill("#recovery_code", "ABCD")
    page.keyboard.press("Enter")
    page.wait_for_selector(".summary")
    assert page.is_visible("#recovery_code")
    inspector.look("wrong recovery code")
    page.fill("#recovery_code", codes[0])
    follow(page, "main button.wide")
    assert (
        page.inner_text(".notice:focus .lead") == "You signed in with a recovery code. You have 1 recovery code left."
    )
    dispose(app)


def add_an_app(inspector: Inspector) -> list[str]:
    """Add an authenticator app with a long name, and return the recovery codes."""
    page = inspector.page
    totp = begin_app(page)
    inspector.look("new app")
    page.fill("#name", "A phone with a name that is rather long, and-one-word-that-is-longer-than-a-line-has-room-for")
    follow(page, "text=Continue")
    inspector.look("new app, with an error")
    page.fill("#code", f" {totp.now()[:3]} {totp.now()[3:]} ")
    follow(page, "text=Continue")
    inspector.look("recovery codes")
    codes = page.inner_text("#recovery-codes").split()
    page.goto(page.url)
    inspector.look("recovery codes that were shown")
    follow(page, "text=I have saved them")
    return codes


def test_the_users(site: Site, inspector: Inspector) -> None:
    page = inspector.page
    site.fill()
    sign_in(page, site)
    inspector.look("overview")
    page.locator("main summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    inspector.look("overview with its tables")
    follow(page, "nav >> text=Users")
    inspector.look("users")
    look_at_the_filters(inspector, site)
    look_at_the_search(inspector, site)
    look_at_an_act_on_many(inspector, site)
    page.goto(f"{site.base_url}/admin/users/new")
    inspector.look("new user")
    page.check("#choice-2")
    inspector.look("new user, typing a password")
    follow(page, "text=Create user")
    inspector.look("new user with errors")
    page.fill("#email", "ada@example.com")
    page.fill("#password", PASSWORD)
    follow(page, "text=Create user")
    inspector.look("taken")
    page.fill("#email", "jo@gmial.com")
    page.check("#choice-1")
    page.select_option("#global_role_id", "role_auditor")
    follow(page, "text=Create user")
    inspector.look("generated password")
    follow(page, "text=See the user")
    inspector.look("user")
    follow(page, "text=Set a new password")
    inspector.look("new password")
    page.check("#choice-2")
    follow(page, "text=Continue")
    inspector.look("new password with an error")
    page.fill("#password", PASSWORD)
    follow(page, "text=Continue")
    follow(page, "text=Deactivate")
    inspector.look("deactivate")
    follow(page, "text=Deactivate user")
    inspector.look("deactivated")
    page.goto(f"{page.url}/password")
    inspector.look("new password without a link")
    look_at_links(inspector, site)


def look_at_links(inspector: Inspector, site: Site) -> None:
    """Create a user by link, make another link and end it."""
    page = inspector.page
    page.goto(f"{site.base_url}/admin/users/new")
    page.fill("#email", "another.long.address.that.has.to.wrap.somewhere@a-domain-that-is-long-too.gmial.com")
    page.fill("#first_name", "سام")
    follow(page, "text=Create user")
    inspector.look("password link")
    follow(page, "text=See the user")
    inspector.look("user without a password")
    follow(page, "text=Make a password link")
    follow(page, "text=See the user")
    follow(page, "text=End the link")
    follow(page, ".back a")
    inspector.look("list with a user without a password")


def test_changing_a_user(site: Site, inspector: Inspector) -> None:
    page = inspector.page
    site.fill()
    sign_in(page, site)
    sign_in_elsewhere(site, "person25@example.com")
    page.goto(f"{site.base_url}/admin/users")
    follow(page, "a:has-text('person25@example.com')")
    user = page.url
    inspector.look("user with every action")
    follow(page, "text=End all sessions")
    inspector.look("end all sessions")
    follow(page, "main button")
    page.goto(f"{user}/sessions")
    inspector.look("no sessions to end")
    reset_second_factor(inspector, site, user)
    edit_with_errors(inspector, user)
    page.goto(f"{user}/verify")
    inspector.look("verify")
    follow(page, "button:has-text('Make a link')")
    inspector.look("verification link")
    page.goto(f"{user}/verify")
    follow(page, "button:has-text('Mark as verified')")
    inspector.look("verified")
    page.goto(f"{user}/reactivate")
    inspector.look("active already")
    page.goto(f"{user}/deactivate")
    follow(page, "text=Deactivate user")
    page.goto(f"{user}/reactivate")
    inspector.look("reactivate")
    follow(page, "text=Reactivate user")
    page.goto(f"{user}/delete")
    inspector.look("delete")
    follow(page, "text=Delete user")
    inspector.look("deleted, back at the list")
    page.goto(user)
    inspector.look("deleted user")
    page.goto(f"{user}/edit")
    inspector.look("deleted meanwhile")
    page.goto(user)
    follow(page, "text=Restore")
    inspector.look("restore")
    app = site.app()
    make_user(app, "pat@example.com")
    dispose(app)
    follow(page, "text=Restore user")
    inspector.look("restore of a taken address")


def reset_second_factor(inspector: Inspector, site: Site, user: str) -> None:
    """Look at the pages that reset the second factor of the user."""
    page, app = inspector.page, site.app()
    add_app(app, User(id=user.rpartition("/")[2]))
    dispose(app)
    page.goto(user)
    follow(page, "text=Reset second factor")
    inspector.look("reset the second factor")
    follow(page, "main button")
    assert page.inner_text(".notice:focus .lead") == "Second factor reset. The user’s sessions have ended"
    page.goto(f"{user}/reset-second-factor")
    inspector.look("no second factor to reset")


def edit_with_errors(inspector: Inspector, user: str) -> None:
    """Look at the form for a user in all its states."""
    page = inspector.page
    page.goto(f"{user}/edit")
    inspector.look("edit")
    follow(page, "text=Save changes")
    inspector.look("nothing changed")
    page.fill("#email", "ada@example.com")
    page.fill("#first_name", "x" * 256)
    follow(page, "text=Save changes")
    inspector.look("edit with an error")
    page.fill("#first_name", "Pat")
    follow(page, "text=Save changes")
    page.fill("#email", "pat@example.com")
    page.locator("[name=was-first_name]").evaluate("field => field.value = 'Other'")
    follow(page, "text=Save changes")
    inspector.look("edit, changed meanwhile")
    page.select_option("#global_role_id", "role_admin")
    follow(page, "text=Save changes")
    page.goto(f"{user}/edit")
    page.select_option("#global_role_id", "")
    follow(page, "text=Save changes")
    inspector.look("take the administrator's role away")
    follow(page, "text=Take away the role")


def look_at_the_filters(inspector: Inspector, site: Site) -> None:
    """Filter and sort the list: folded and open, on a phone too, with filters in use and with an error."""
    page = inspector.page
    follow(page, "thead >> text=Email")
    assert page.locator("th[aria-sort=ascending]").inner_text() == "Email"
    assert not page.is_visible("#role")
    page.click("summary")
    inspector.look("users with open filters")
    assert not page.is_visible("#sort")
    page.set_viewport_size({"width": 360, "height": 740})
    page.select_option("#sort", "-email")
    page.select_option("#verified", "false")
    page.fill("#since", "2026-01-31")
    follow(page, "text=Find")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.locator("th[aria-sort=descending]").inner_text() == "Email"
    inspector.look("users with filters in use")
    follow(page, ".chips >> text=Created from")
    follow(page, ".chips >> text=Clear all")
    assert page.locator(".chips").count() == 0
    page.goto(f"{site.base_url}/admin/users?role=x&sort=x")
    assert page.is_visible("#sort-error")
    inspector.look("users with errors in the filters")
    page.goto(f"{site.base_url}/admin/users")


def look_at_the_search(inspector: Inspector, site: Site) -> None:
    """Search and filter the list: some users found, none found, none there."""
    page = inspector.page
    page.fill("#q", "person")
    follow(page, "button:has-text('Search')")
    inspector.look("users found")
    follow(page, "text=Deactivated")
    inspector.look("no deactivated user found")
    follow(page, "text=Clear")
    inspector.look("no deactivated users")
    page.goto(f"{site.base_url}/admin/users?q=somebody.who.is.not.there.and.whose.address.is.long%40example.com")
    inspector.look("an address that is not found")
    follow(page, "text=Create this user")
    assert page.input_value("#email") == "somebody.who.is.not.there.and.whose.address.is.long@example.com"


def look_at_an_act_on_many(inspector: Inspector, site: Site) -> None:
    """Select users in the list, answer the question, and look at the progress and the report."""
    page, app = inspector.page, site.app()
    page.goto(f"{site.base_url}/admin/users?q=person2")
    page.locator(".tick input").first.check()
    inspector.look("users with a selection")
    follow(page, "text=Continue")
    assert page.is_visible("#act-error")
    inspector.look("a selection without an act")
    page.select_option("#act", "links")
    follow(page, "text=Continue")
    inspector.look("question before an act on one user")
    page.goto(f"{site.base_url}/admin/users")
    for box in page.locator(".tick input").all()[-3:]:
        box.check()
    page.select_option("#act", "role:role_member")
    follow(page, "text=Continue")
    inspector.look("question before an act on many users")
    follow(page, "main button")
    with app.app_context():
        inspector.look("progress of an act")
        runner.work_here("acts")
    dispose(app)
    page.goto(page.url)
    inspector.look("report of an act")
    follow(page, "main nav >> text=Refused")
    inspector.look("report of who was refused")
    page.goto(f"{site.base_url}/admin/acts")
    inspector.look("acts on many users")


def test_the_reference(site: Site, inspector: Inspector, opened: "Callable[..., Page]") -> None:
    page = inspector.page
    page.goto(f"{site.base_url}/docs")
    inspector.look("reference")
    page.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    inspector.look("reference, all of it open")
    without_script = opened(java_script_enabled=False)
    without_script.goto(f"{site.base_url}/docs")
    assert without_script.is_visible("#createUser-curl")
    assert not without_script.is_visible("#createUser-python")
    assert not without_script.is_visible("#find")
    follow(without_script, "#createUser >> text=Python")
    assert without_script.url.endswith("/docs?lang=python#createUser")
    assert without_script.is_visible("#createUser-python")
    assert not without_script.is_visible("#createUser-curl")
    follow(without_script, "nav >> text=Errors")
    assert without_script.url.endswith("/docs?lang=python#errors")


def test_the_keys(site: Site, inspector: Inspector) -> None:
    page = inspector.page
    site.fill()
    app = site.app()
    make_key(app, *Permission, owner=make_user(app, "grace.hopper@a-domain-in-one-line.example"), name="Nightly")
    dispose(app)
    sign_in(page, site)
    page.goto(f"{site.base_url}/admin/keys")
    inspector.look("keys")
    follow(page, "text=Nightly")
    inspector.look("one key")
    page.go_back()
    follow(page, "text=Create an API key")
    inspector.look("new key")
    follow(page, "text=Create key")
    inspector.look("new key with errors")
    page.fill("#name", "CI")
    follow(page, "text=Create key")
    inspector.look("key shown")
    page.reload()
    assert page.inner_text("h1") == "This API key was made a moment ago"
    inspector.look("key made already")
    page.goto(f"{site.base_url}/admin/keys")
    follow(page, ".act a >> nth=0")
    roll = page.url
    inspector.look("roll")
    page.locator("#ends-0").evaluate("radio => radio.value = 'never'")
    page.check("#ends-0")
    follow(page, "button:has-text('Roll key')")
    inspector.look("roll with an error")
    page.locator("[name=was-expires_at]").evaluate("field => field.value = 'other'")
    page.check("#ends-0")
    follow(page, "button:has-text('Roll key')")
    inspector.look("rolled meanwhile")
    page.check("#ends-0")
    follow(page, "button:has-text('Roll key')")
    inspector.look("rolled")
    page.goto(roll)
    inspector.look("cannot be rolled")
    page.goto(f"{site.base_url}/admin/keys?state=ended")
    inspector.look("ended keys")
    follow(page, "text=Replaced by >> a")
    inspector.look("key in the place of another")
    page.goto(f"{site.base_url}/admin/keys")
    follow(page, ".act a >> nth=1")
    inspector.look("revoke")
    follow(page, "text=Revoke key")
    inspector.look("revoked")
    page.go_back()
    page.reload()
    inspector.look("revoked already")


def test_the_links_that_users_are_handed(site: Site, inspector: Inspector) -> None:
    page = inspector.page
    app = site.app()
    user = make_user(app, "a.very.long.address.that.has.to.wrap.somewhere@a-domain-that-is-long-too.example.com")
    key = make_key(app, Permission.USERS_CREATE, Permission.USERS_UPDATE)
    make_user(app, "ada@example.com", Role.ADMIN)
    dispose(app)
    another = site.server.call("POST", f"/v1/user/{user.id}/password-link", key=key, body={}).json["password_url"]
    first = site.server.call("POST", "/v1/user/invite", key=key, body={"email": "jo@example.com"}).json["password_url"]
    look_at_the_password_links(inspector, site, another, first)
    link = site.server.call("POST", f"/v1/user/{user.id}/verification", key=key).json["verification_url"]
    page.goto(link)
    assert page.url == f"{site.base_url}/verify"
    inspector.look("verify")
    follow(page, "main button.wide")
    inspector.look("verified")
    page.goto(link[:-1])
    inspector.look("link that has ended")
    page.context.clear_cookies()
    page.goto(f"{site.base_url}/verify")
    inspector.look("verify without a link")


def look_at_the_password_links(inspector: Inspector, site: Site, another: str, first: str) -> None:
    """Choose a password with each link, the second in an administrator's browser. The terminal shows neither."""
    page = inspector.page
    page.goto(f"{site.base_url}/password")
    inspector.look("password without a link")
    page.goto(another)
    assert page.url == f"{site.base_url}/password"
    inspector.look("choose a password")
    follow(page, "main button.wide")
    inspector.look("choose a password, with an error")
    page.fill("#password", PASSWORD)
    follow(page, "main button.wide")
    inspector.look("password chosen")
    page.goto(another)
    inspector.look("password link that has ended")
    sign_in(page, site)
    page.goto(first)
    inspector.look("password of another user")
    page.fill("#password", PASSWORD)
    follow(page, "main button.wide")
    inspector.look("password of another user chosen")
    page.go_back()
    assert page.inner_text("h1") == "Open your link"
    page.context.clear_cookies()
    for link in (another, first):
        assert link.partition("token=")[2] not in site.server.log()


def test_the_audit_trail(site: Site, inspector: Inspector) -> None:
    page = inspector.page
    site.fill()
    sign_in(page, site)
    page.goto(f"{site.base_url}/admin/audit")
    is_seen = "rows => rows.filter(row => row.getBoundingClientRect().bottom <= innerHeight).length"
    assert page.viewport_size == {"width": 1280, "height": 800}
    assert page.locator("tbody tr").evaluate_all(is_seen) >= 8
    inspector.look("audit")
    follow(page, "text=Next")
    page.goto(f"{site.base_url}/admin/audit")
    page.click("summary")
    inspector.look("audit with open filters")
    page.fill("#actor", "ada@example.com")
    page.fill("#since", "2026-01-31")
    page.fill("#until", "2026-01-31")
    follow(page, "text=Find")
    assert page.inner_text("main h2") == "Nothing found"
    inspector.look("nothing found in the audit")
    page.fill("#request", "x")
    follow(page, "text=Find")
    inspector.look("audit with an error")
    follow(page, "text=Show everything")
    assert not page.is_visible("#actor")
    assert page.input_value("#actor") == ""
