"""What a command asks for: a confirmation or a password at the terminal, or a password on standard input."""

import codecs
import re
import sys

import click

_STDIN_BYTES = 64 * 1024  # far over the longest password: validation then sees, and says, that one is too long
_UTF_16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # UTF-32-LE begins as UTF-16-LE does

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str) -> None:
    """Ask `question` and end the command unless the answer is yes."""
    require_terminal("Give --yes: there is no terminal to ask at.")
    click.confirm(question, abort=True, err=True)


def ask_for_password() -> str:
    """Ask for a password, twice and without an echo."""
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def read_password() -> str:
    """Return the line on standard input without its end and a byte order mark.

    A second line and bytes that are no UTF-8 are a UsageError: guessed at, they would make another password than the
    one that was meant.
    """
    if sys.stdin is None:
        raise click.UsageError("Standard input is closed; there is no password to read.")
    given = sys.stdin.buffer.read(_STDIN_BYTES)
    if given.startswith(_UTF_16_OR_32) or b"\0" in given:  # as PowerShell pipes to a program
        raise click.UsageError("The password on standard input must be UTF-8, not UTF-16 or another encoding.")
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        text = decoder.decode(given, final=len(given) < _STDIN_BYTES)
    except UnicodeDecodeError:
        raise click.UsageError("The password on standard input must be UTF-8.") from None
    line = re.sub(r"\r?\n\Z", "", text)  # echo and editors add one line break
    if "\n" in line or "\r" in line:
        raise click.UsageError("The password on standard input must be one line.")
    return line


def require_terminal(otherwise: str) -> None:
    """Raise UsageError with the words `otherwise` unless a person can be asked."""
    if not has_terminal():
        raise click.UsageError(otherwise)


def has_terminal() -> bool:
    """Tell whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()
