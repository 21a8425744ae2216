"""The forms of the pages: labels and widgets. The rules are in `rules.validation`."""

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from flask import request
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import (
    BooleanField,
    EmailField,
    Field,
    PasswordField,
    RadioField,
    SelectField,
    SelectMultipleField,
    StringField,
)

from users.form_errors import FormNotUtf8
from users.http import csrf
from users.passwords import policy
from users.roles import Permission, Role
from users.rules import validation
from users.rules.validation import Rules

MARK_FIELD = "mark"  # what the form was made for: sending it twice does nothing twice
# Never carried through a sign-in: secrets and fields that are not typed, like the `username` for password managers.
NOT_KEPT = frozenset(
    {csrf.FIELD, MARK_FIELD, "code", "credential", "current_password", "password", "recovery_code", "rows", "username"}
)

_URL_ENCODED = "application/x-www-form-urlencoded"

LINK, GENERATE, TYPE = "link", "generate", "type"
ROLE_WORDS = {
    Role.ADMIN: ("Administrator", "everything, also roles and API keys"),
    Role.OPERATOR: ("Operator", "create, see and change users"),
    Role.AUDITOR: ("Auditor", "see users and who did what"),
    Role.MEMBER: ("Member", "nothing but their own account"),
}
SCOPE_WORDS = {
    Permission.USERS_CREATE: "Create users",
    Permission.USERS_IMPORT: "Import many users",
    Permission.USERS_READ: "See users",
    Permission.USERS_UPDATE: "Change users",
    Permission.USERS_DELETE: "Delete users",
    Permission.USERS_VERIFY: "Check users’ passwords",
    Permission.HASHES_READ: "Export password hashes",
    Permission.ROLES_ASSIGN: "Assign roles",
    Permission.KEYS_MANAGE: "Manage API keys",
    Permission.AUDIT_READ: "Read the audit trail",
}
EXPIRY_DAYS = {"30": "30 days", "90": "90 days", "365": "1 year", "never": "Never"}
OLD_KEY_ENDS = {"0": "Now", "1": "In 1 hour", "24": "In 24 hours", "168": "In 7 days"}  # hours


def require_utf8() -> None:
    """Raise FormNotUtf8 for a form with bytes that are not UTF-8, which Werkzeug would read as `%E9` or U+FFFD."""
    if request.mimetype not in (_URL_ENCODED, "multipart/form-data"):
        return
    body = request.get_data()  # kept, so that Flask reads the form from it
    try:
        (unquote_to_bytes(body) if request.mimetype == _URL_ENCODED else body).decode("utf-8")
    except UnicodeDecodeError:
        raise FormNotUtf8 from None


FormData = MultiDict[str, str]  # the fields that were sent, each as often as it was
NO_DATA: FormData = MultiDict()


def mark() -> str:
    """Return what the form sent with this request was made for."""
    return request.form.get(MARK_FIELD, "")


class Form(FlaskForm):
    """A form that holds `formdata`, or `defaults` when there is none. The guard has checked its token."""

    class Meta(FlaskForm.Meta):
        """The guard checks the token of every form, also of forms without fields."""

        csrf = False

    def __init__(self, formdata: FormData | None = None, **defaults: object) -> None:
        super().__init__(formdata=formdata, data=defaults)

    def given(self, *names: str) -> dict[str, object]:
        """Return the values of the fields `names`, for `validation`."""
        return {name: self.data[name] for name in names if name in self.data}


class LoginForm(Form):
    """The sign-in."""

    email = EmailField("Email address", render_kw={"autocomplete": "username"})
    password = PasswordField("Password", render_kw={"autocomplete": "current-password"})


class CodeField(StringField):
    """A code as text that people see while they type it. A page that is shown again does not repeat it."""

    def _value(self) -> str:
        return ""


class FactorForm(Form):
    """The second factor at the sign-in."""

    code = CodeField("Code from your app", render_kw={"autocomplete": "one-time-code", "inputmode": "numeric"})
    recovery_code = CodeField("Recovery code", render_kw={"autocomplete": "off", "autocapitalize": "characters"})


class ConfirmForm(FactorForm):
    """The proof that it is the user: the second factor, or the password."""

    password = PasswordField("Password", render_kw={"autocomplete": "current-password"})


class FactorNameForm(Form):
    """A name for a second factor."""

    name = StringField("Name", render_kw={"autocomplete": "off"})


class AppForm(FactorForm, FactorNameForm):
    """The first code of a new authenticator app, and a name for it."""


class ProfileForm(Form):
    """A form with the optional text fields of a user."""

    @property
    def texts(self) -> list[Field]:
        """Return the fields, in their order."""
        return [self[field.name] for field in validation.TEXT_FIELDS]


def _add_texts(form: type[ProfileForm], *, for_oneself: bool) -> None:
    for field in validation.TEXT_FIELDS:
        autocomplete = field.autocomplete if for_oneself else "off"
        setattr(form, field.name, StringField(f"{field.label} (optional)", render_kw={"autocomplete": autocomplete}))


class SetupForm(ProfileForm):
    """The first administrator, who types their own email and names: the browser may fill them in."""

    email = EmailField("Email address", render_kw={"autocomplete": "username"})
    password = PasswordField("Password", render_kw={"autocomplete": "new-password"})


class PasswordForm(Form):
    """How another user gets a password: a link with which they choose it, or one that is generated or typed."""

    choice = RadioField("How to set the password")
    password = PasswordField("Password", render_kw={"autocomplete": "new-password"})
    password_change_required = BooleanField("They must choose a new password when they sign in", default=True)

    def __init__(self, formdata: FormData | None = None, *, can_link: bool = True, **defaults: object) -> None:
        self.can_link = can_link
        choices = {LINK: "Let them choose it: make a link"} if can_link else {}
        choices |= {GENERATE: "Generate a strong password", TYPE: "I will type one"}
        sent = formdata or NO_DATA
        without_choice = TYPE if "password" in sent else None
        super().__init__(formdata, choice=without_choice, **defaults)
        self.choice.choices = choices
        if sent.get("choice", without_choice) in (None, LINK):  # the box was not seen
            self.password_change_required.data = True
        if self.choice.data not in choices:
            self.choice.data = next(iter(choices))

    @property
    def makes_link(self) -> bool:
        """Tell whether to make a link. The other fields of the password then mean nothing."""
        return self.chosen == LINK

    @property
    def generates(self) -> bool:
        """Tell whether to generate a password. Without the choice, the password was typed."""
        return self.chosen == GENERATE

    @property
    def chosen(self) -> str | None:
        """Return the choice that was sent."""
        return self.choice.raw_data[0] if self.choice.raw_data else None

    def password_or_new(self, rules: Rules) -> str | None:
        """Return the typed or the generated password, for `validation`."""
        return policy.generate(rules.password_min_length) if self.generates else self.password.data


class EditForm(ProfileForm):
    """The profile of another user: the browser must not fill in the administrator's own email and names."""

    email = EmailField("Email address", render_kw={"autocomplete": "off"})
    global_role_id = SelectField("Role (optional)")

    def __init__(self, roles: Iterable[Role], formdata: FormData | None = None, **defaults: object) -> None:
        super().__init__(formdata, **defaults)
        choices = {role.value: " – ".join(ROLE_WORDS[role]) for role in roles}
        held = str(defaults.get("global_role_id") or "")
        if held and held not in choices:  # of a newer version: kept unless another role is chosen
            choices[held] = f"{held} – not known to this version of Enrol"
        self.global_role_id.choices = {"": "No role", **choices}
        if not choices and not self.global_role_id.data:
            del self.global_role_id


_add_texts(SetupForm, for_oneself=True)
_add_texts(EditForm, for_oneself=False)


class UserForm(EditForm, PasswordForm):
    """A new user."""


class NewPasswordForm(Form):
    """A new password for oneself."""

    password = PasswordField("New password", render_kw={"autocomplete": "new-password"})


class OwnPasswordForm(Form):
    """A new password for the signed-in user."""

    current_password = PasswordField("Current password", render_kw={"autocomplete": "current-password"})
    password = PasswordField("New password", render_kw={"autocomplete": "new-password"})


class RollForm(Form):
    """A new API key that replaces another."""

    ends = RadioField("The old key stops working", choices=OLD_KEY_ENDS, default="24")
    expires = RadioField("The new key expires after", choices=EXPIRY_DAYS)


class KeyForm(Form):
    """A new API key."""

    name = StringField("Name", render_kw={"autocomplete": "off"})
    scopes = SelectMultipleField("What it may do", default=[Permission.USERS_CREATE.value])
    owner = EmailField("Owner", render_kw={"autocomplete": "off"})
    expires = RadioField("Expires after", choices=EXPIRY_DAYS, default="90")

    def __init__(self, scopes: Iterable[Permission], formdata: FormData | None = None, **defaults: object) -> None:
        super().__init__(formdata, **defaults)
        held = set(scopes)
        self.scopes.choices = {scope.value: words for scope, words in SCOPE_WORDS.items() if scope in held}
