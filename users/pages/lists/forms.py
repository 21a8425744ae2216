"""The forms of filters: of the list of users and of the audit trail."""

from collections.abc import Mapping

from wtforms import BooleanField, RadioField, SelectField, StringField
from wtforms.fields.choices import SelectChoice

from users.audit.trail import Action
from users.pages.forms import ROLE_WORDS, Form, FormData

# What was done, by what it was done to.
_DONE: Mapping[str, Mapping[str, str]] = {
    "Users": {
        Action.USER_CREATE: "User created",
        Action.USER_UPDATE: "User changed",
        Action.USER_DEACTIVATE: "User deactivated",
        Action.USER_REACTIVATE: "User reactivated",
        Action.USER_DELETE: "User deleted",
        Action.USER_RESTORE: "User restored",
        Action.USER_PURGE: "User erased",
        Action.USER_UNLOCK: "User unlocked",
        Action.USER_IMPORT: "Users imported",
        Action.USER_EXPORT: "Users exported",
    },
    "Email addresses": {
        Action.USER_VERIFY: "Email address verified",
        Action.VERIFICATION_CREATE: "Verification link made",
    },
    "Passwords": {
        Action.USER_SET_PASSWORD: "Password set",
        Action.PASSWORD_LINK_CREATE: "Password link made",
        Action.PASSWORD_LINK_REVOKE: "Password link ended",
        Action.USER_VERIFY_PASSWORD: "Password checked by a program",
    },
    "Second factors": {
        Action.FACTOR_CREATE: "Second factor added",
        Action.FACTOR_DELETE: "Second factor removed",
        Action.FACTOR_RESET: "Second factors reset",
        Action.RECOVERY_CODES_CREATE: "Recovery codes made",
    },
    "Sign-ins and sessions": {
        Action.SESSION_CREATE: "Signed in",
        Action.SESSION_CONFIRM: "Confirmed that it is them",
        Action.SESSION_END: "Signed out",
        Action.SESSION_END_OTHER: "One other session ended",
        Action.SESSION_END_OTHERS: "All other sessions ended",
        Action.SESSION_END_ALL: "All sessions of a user ended",
    },
    "API keys": {
        Action.KEY_CREATE: "API key created",
        Action.KEY_ROLL: "API key rolled",
        Action.KEY_REVOKE: "API key revoked",
    },
    "Service": {
        Action.REQUEST_REFUSE: "Request refused",
        Action.AUDIT_PRUNE: "Audit trail pruned",
        Action.SECRET_KEY_ADOPT: "Secret key adopted",
    },
}


class UserListForm(Form):
    """The order and the filters of the list of users."""

    sort = SelectField("Order")
    role = SelectField(
        "Role", choices={"": "Any or none", **{role.value: words[0] for role, words in ROLE_WORDS.items()}}
    )
    verified = SelectField(
        "Email address", choices={"": "Verified or not", "true": "Verified", "false": "Not verified"}
    )
    has_password = SelectField("Password", choices={"": "Set or not", "true": "Set", "false": "None yet"})
    never_signed_in = SelectField("Last sign-in", choices={"": "Any or none", "true": "Never"})
    since = StringField("Created from (UTC)", render_kw={"type": "date"})
    until = StringField("Created until (UTC)", render_kw={"type": "date"})

    def __init__(self, orders: Mapping[str, str], **defaults: object) -> None:
        super().__init__(None, **defaults)
        self.sort.choices = {order: words.capitalize() for order, words in orders.items()}


class ExportForm(Form):
    """What an export of users is."""

    format = RadioField(
        "Format",
        choices={"csv": "CSV, for spreadsheets and for an import", "jsonl": "JSON lines, for programs"},
        default="csv",
    )
    excel = BooleanField("For Excel: mark the CSV as UTF-8")
    hashes = BooleanField("With the password hashes")


class ActForm(Form):
    """What to do with the users of a list who are ticked, or with all of them."""

    act = SelectField("Act")
    all = BooleanField("All that this list finds")

    def __init__(self, acts: Mapping[str, str], formdata: FormData | None = None, **defaults: object) -> None:
        super().__init__(formdata, **defaults)
        self.act.choices = {"": "Choose what to do", **acts}


class TrailForm(Form):
    """The filters of the audit trail."""

    actor = StringField("Who did it", render_kw={"autocomplete": "off"})
    user = StringField("To whom or what", render_kw={"autocomplete": "off"})
    request = StringField("Request ID", render_kw={"autocomplete": "off"})
    action = SelectField("What was done")
    since = StringField("First day (UTC)", render_kw={"type": "date"})
    until = StringField("Last day (UTC)", render_kw={"type": "date"})

    def __init__(self, **defaults: object) -> None:
        super().__init__(None, **defaults)
        done = [
            SelectChoice(act, words, optgroup=group) for group, acts in _DONE.items() for act, words in acts.items()
        ]
        self.action.choices = [SelectChoice("", "Anything"), *done]
