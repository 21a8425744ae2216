"""The filters of a list as texts in its URL: each is read, or has a problem that is shown beside its field."""

import contextlib
from collections.abc import Callable, Collection, Mapping
from datetime import date
from typing import Any

from flask import request

from users.form_errors import FormRefused
from users.pages.problems import Problems

Reader = Callable[[str, str], Any]  # returns what a filter asks for, from its name and text. Raises FormRefused
YES_OR_NO = {"true": True, "false": False}
_DAYS = {"since": "first", "until": "last"}


def given(names: Collection[str], sent: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the filters that are set, by their names: of this request's URL, or of a form that was `sent`."""
    texts = request.args if sent is None else sent
    return {name: text for name in names if (text := texts.get(name, "").strip())}


def read(texts: Mapping[str, str], readers: Mapping[str, Reader], problems: Problems) -> dict[str, Any]:
    """Return what the `texts` that have a reader ask for; `problems` collects those that cannot be read."""
    wanted: dict[str, Any] = {}
    for name, reader in readers.items():
        if name in texts:
            with problems.collect():
                wanted[name] = reader(name, texts[name])
    if "since" in wanted and "until" in wanted and wanted["since"] > wanted["until"]:
        problems.by_field["until"] = "Choose a last day that is not before the first"
    return wanted


def day(name: str, text: str) -> date:
    """Read a day in UTC."""
    with contextlib.suppress(ValueError):
        found = date.fromisoformat(text)
        if found.isoformat() == text:  # the only form that the field of the page shows again
            return found
    raise FormRefused({name: f"Enter the {_DAYS[name]} day as year, month and day, like 2026-01-31"})


def choice(meanings: Mapping[str, Any], refused: str) -> Reader:
    """Return the reader of a choice: `meanings` has what each text means, `refused` answers any other."""

    def read_choice(name: str, text: str) -> Any:
        if text not in meanings:
            raise FormRefused({name: refused})
        return meanings[text]

    return read_choice
