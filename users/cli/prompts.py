"""What a command asks at the terminal: a confirmation or a password. Without a terminal it names an option instead."""

import sys

import click

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str) -> None:
    """Ask `question` and end the command unless the answer is yes."""
    if not has_terminal():
        raise click.UsageError("Give --yes: there is no terminal to ask at.")
    click.confirm(question, abort=True, err=True)


def ask_for_password() -> str:
    """Ask for a password, twice and without an echo."""
    if not has_terminal():
        raise click.UsageError("Give --password-stdin or --generate-password: there is no terminal to ask at.")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def has_terminal() -> bool:
    """Tell whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()
