"""The check of second factors: which administrators have none, and whether apps can still be checked."""

from users.auth.factors import coverage
from users.auth.factors.coverage import Administrators, AppUsers
from users.cli.doctor.findings import Finding, failed, ok, warning
from users.errors import Unavailable
from users.settings import Settings

_MOST_NAMES = 5
_UNREADABLE = (
    "Put the key before it into SECRET_KEY_FALLBACKS. If that is lost, they sign in with a passkey or a recovery code "
    "and add the app again, or run: flask users reset-second-factor EMAIL_OR_ID"
)


def check_second_factors(given: Settings) -> Finding:
    """Name the administrators without a second factor, and tell how many apps depend on an older secret key."""
    subject = "second factors"
    try:
        administrators, apps = coverage.administrators(), coverage.app_users()
    except Unavailable:
        return failed(subject, "They are in the database: mend that first.")
    words = " ".join([_about_administrators(administrators, given), *_about_apps(apps)])
    return warning(subject, words) if administrators.without or apps.unreadable else ok(subject, words)


def _about_administrators(found: Administrators, given: Settings) -> str:
    if not found.without:
        return "All administrators have one." if found.number else "There is no administrator."
    emails = [user.email for user in found.without[:_MOST_NAMES]]
    more = f" and {len(found.without) - _MOST_NAMES} more" if len(found.without) > _MOST_NAMES else ""
    words = f"{len(found.without)} of {found.number} administrators without one: {', '.join(emails)}{more}."
    if given.require_second_factor == "off":
        return f"{words} They add one at /account/factors; ENROL_REQUIRE_SECOND_FACTOR=administrators requires it."
    return f"{words} Their next sign-in leads them to add one: ENROL_REQUIRE_SECOND_FACTOR is set."


def _about_apps(found: AppUsers) -> list[str]:
    words = []
    if found.of_older_key:
        words.append(f"Users whose authenticator app still needs SECRET_KEY_FALLBACKS: {found.of_older_key}.")
    if found.unreadable:
        count = f"Users whose authenticator app this secret key does not open: {found.unreadable}."
        words.append(f"{count} {_UNREADABLE}")
    return words
