"""What only a page refuses: errors that no other door raises, and that need no code of their own."""

from collections.abc import Mapping

from users.errors import Denied, EnrolError, NotFound


class CrossSite(Denied):
    """A form was sent from a page of another site."""

    message = "This form was sent from another site. Open the page here and send it again."

    def __init__(self) -> None:
        super().__init__(missing=())


class SetupLinkEnded(Denied):
    """The set-up link is older than 30 minutes, or a newer one was made."""

    message = "This set-up link has ended."

    def __init__(self) -> None:
        super().__init__(missing=())


class SetupOver(NotFound):
    """There is no set-up any more: an administrator exists, maybe since a moment ago."""

    message = "Enrol is set up already."


class Refused(EnrolError):
    """What a page alone can refuse: `problems` are the words to say beside each field."""

    code = "VALIDATION_ERROR"
    status = 422
    type = "validation_error"

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__()
        self.problems = dict(problems)


class Outdated(Refused):
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


class VerificationLinkEnded(Outdated):
    """The link that verifies an address is a day old, or the address is not that of its user any more."""

    message = "This link has ended."


class KeyMadeAlready(Outdated):
    """This very form has made its API key."""

    message = "This API key was made a moment ago."
