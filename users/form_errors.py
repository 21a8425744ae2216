"""What only a page refuses: errors that no other door raises, and that need no code of their own."""

from collections.abc import Mapping

from users.errors import AuthenticationRequired, Denied, EnrolError, NotFound, UserNotFound
from users.request_errors import InvalidParameter


class CrossSite(Denied):
    """A form was sent from a page of another site."""

    message = "This form was sent from another site. Open the page here and send it again."

    def __init__(self) -> None:
        super().__init__(missing=())


class FormNotUtf8(InvalidParameter):
    """A form holds bytes that are not UTF-8, which no browser sends from a page of ours."""

    message = "This form was not sent in UTF-8, so nothing was saved. Open the page here and send it again."


class SetupLinkEnded(Denied):
    """The set-up link is older than 30 minutes, or a newer one was made."""

    message = "This set-up link has ended."

    def __init__(self) -> None:
        super().__init__(missing=())


class SetupOver(NotFound):
    """There is no set-up any more: an administrator exists, maybe since a moment ago."""

    message = "Enrol is set up already."


class SessionEnded(AuthenticationRequired):
    """Who was signed in is so no more, since the form was opened or while it was on its way."""

    message = "You are not signed in any more, so nothing was saved. Sign in and send it again."


class FormRefused(EnrolError):
    """What a page alone can refuse: `problems` are the words to say beside each field."""

    code = "VALIDATION_ERROR"
    status = 422
    type = "validation_error"

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__()
        self.problems = dict(problems)


class Outdated(FormRefused):
    """The form was made for something that is not so any more."""

    message = "This page was open for too long, so nothing was saved. Check what you typed and send it again."

    def __init__(self) -> None:
        super().__init__({})


class UserChanged(Outdated):
    """The user is not as the form found them: changed by somebody else, or by this very form sent once before."""

    message = (
        "This user has changed since the page was opened, so no new password was set. If you were shown one a moment "
        "ago, it still holds. If you missed it, set another one."
    )


class UserEdited(Outdated):
    """Somebody else changed what the form had shown."""

    message = (
        "Somebody else changed this user after the page was opened, so nothing was saved. Check what is marked, then "
        "save again."
    )


class EmailChanged(Outdated):
    """The address is not the one that the form showed."""

    message = "The email address has changed since the page was opened, so nothing was saved. Check it, then try again."


class UserDeleted(UserNotFound):
    """There was such a user, who is deleted now, maybe since the page was opened."""

    message = "There is nothing to change any more."

    def __init__(self, user_id: str) -> None:
        super().__init__()
        self.deleted_id = user_id


class VerificationLinkEnded(Outdated):
    """The link that verifies an address is a day old, or the address is not that of its user any more."""

    message = "This link has ended."


class KeyMadeAlready(Outdated):
    """This very form has made its API key."""

    message = "This API key was made a moment ago."


class KeyRolled(Outdated):
    """The API key's end is not the one that the form showed."""

    message = "Somebody else rolled this API key after the page was opened, so no new key was made."


class KeyEnded(Outdated):
    """The API key does not work any more: it was revoked, its time is over, or its owner is not active."""

    message = "This API key has stopped working."
