"""Errors that only the pages show, so they need no code of their own. Pages, services and sign-in raise them."""

from collections.abc import Mapping

from users.errors import AuthenticationRequired, Denied, EnrolError, NotFound, TooManyWrongPasswords, UserNotFound
from users.request_errors import InvalidParameter


class CrossSite(Denied):
    """A form was sent from a page of another site."""

    message = "This form was sent from another site. Open the page here and send it again."

    def __init__(self) -> None:
        super().__init__(missing=())


class WrongOrigin(CrossSite):
    """A form came from an address that is not known as the service's own. `advice` names both and what to change."""

    def __init__(self, advice: str) -> None:
        super().__init__()
        self.message = f"{advice} If another site sent it, open the page here and send it again."


class FormNotUtf8(InvalidParameter):
    """A form holds bytes that are not UTF-8. No browser sends such bytes from Enrol's pages."""

    message = "This form was not sent in UTF-8, so nothing was saved. Open the page here and send it again."


class UploadBroken(InvalidParameter):
    """The connection ended before the form had arrived whole, or what arrived is no form."""

    message = "The file did not arrive whole, so nothing was imported. Send it again."


class SetupLinkEnded(Denied):
    """The set-up link is older than 30 minutes, or a newer link was made."""

    message = "This set-up link has ended."

    def __init__(self) -> None:
        super().__init__(missing=())


class SetupOver(NotFound):
    """The set-up is over: an administrator exists, perhaps since a moment ago."""

    message = "Enrol is set up already."


class SessionEnded(AuthenticationRequired):
    """The session ended after the form was opened, or while the form was being sent."""

    message = "You are not signed in any more, so nothing was saved. Sign in and send it again."
    notice = "Your session has ended"  # on the sign-in page


class AnswersUsedUp(SessionEnded):
    """The last of the wrong answers that a session may get has ended it."""

    notice = "Your session has ended after too many wrong answers"


class TooManyWrongCodes(TooManyWrongPasswords):
    """Too many wrong passwords and codes, at a page that asks for a code."""

    what = "code"


class ConfirmationNeeded(Denied):
    """The act needs a proof, in the last ten minutes, that it is the user who is signed in."""

    message = "Confirm that it is you, then send it again."

    def __init__(self) -> None:
        super().__init__(missing=())


class FormRefused(EnrolError):
    """Input that a page refuses: `problems` has the message for each field."""

    code = "VALIDATION_ERROR"
    status = 422
    type = "validation_error"

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__()
        self.problems = dict(problems)


class FileTooLarge(FormRefused):
    """The file of a form is larger than it may be."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413
    type = "invalid_request_error"

    def __init__(self, words: str) -> None:
        super().__init__({"file": words})


class Outdated(FormRefused):
    """The data that the form was made for has changed."""

    message = "This page was open for too long, so nothing was saved. Check what you typed and send it again."

    def __init__(self) -> None:
        super().__init__({})


class UserChanged(Outdated):
    """The user has changed since the form was opened: by another person, or by the same form sent twice."""

    message = (
        "This user has changed since the page was opened, so no new password was set and no link was made. If you were "
        "shown one a moment ago, it still works. If you missed it, choose again."
    )


class UserEdited(Outdated):
    """Another person changed the user after the form was opened."""

    message = (
        "Somebody else changed this user after the page was opened, so nothing was saved. Check what is marked, then "
        "save again."
    )


class EmailChanged(Outdated):
    """The email address has changed since the form was opened."""

    message = "The email address has changed since the page was opened, so nothing was saved. Check it, then try again."


class UserDeleted(UserNotFound):
    """The user was deleted, perhaps after the page was opened."""

    message = "There is nothing to change any more."

    def __init__(self, user_id: str) -> None:
        super().__init__()
        self.deleted_id = user_id


class VerificationLinkEnded(Outdated):
    """The verification link is older than a day, or the user has another email address now."""

    message = "This link has ended."


class FactorNotFound(NotFound):
    """The user has no such second factor (any more)."""

    message = "You have no such second factor any more."


class LastFactor(FormRefused):
    """A second factor is required of the user, and this is the last one."""

    message = "A second factor is required here, and this is your last one. Add another one first."

    def __init__(self) -> None:
        super().__init__({})


class PasskeyKnown(FormRefused):
    """The passkey is one of the user's second factors already."""

    def __init__(self) -> None:
        super().__init__({"credential": "You have added this passkey already"})


class TooManyFactors(FormRefused):
    """The user has as many second factors as there may be."""

    message = "You have ten second factors, and more are not possible. Remove one first."

    def __init__(self) -> None:
        super().__init__({})


class PasswordLinkEnded(Outdated):
    """The password link was used, replaced or ended, it is too old, or no link of ours."""

    message = "This link has ended."


class KeyMadeAlready(Outdated):
    """The same form was sent before and has already made its API key."""

    message = "This API key was made a moment ago."


class KeyRolled(Outdated):
    """The expiry of the API key has changed since the form was opened."""

    message = "Somebody else rolled this API key after the page was opened, so no new key was made."


class KeyEnded(Outdated):
    """The API key has stopped working: it was revoked, it expired, or its owner is not active."""

    message = "This API key has stopped working."
