"""What changed in the API, as the changelog tells it: the entries whose bold words end in "API". No Flask."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parents[1] / "CHANGELOG.md"
_VERSION = re.compile(r"^## (Next version|\d\S*)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^- \*\*([^*]*\bAPI)\.\*\* (.*?)(?=^- |\n\n|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[(.*?)\]\(.*?\)")  # to a page that a server does not have


@dataclass(frozen=True)
class Version:
    """A version and its entries about the API, each a title and a text with code between backticks."""

    name: str
    entries: list[tuple[str, str]]

    @property
    def id(self) -> str:
        """The anchor of the version on a page."""
        return "changes-" + re.sub(r"\W", "-", self.name.lower())


@cache
def versions() -> list[Version]:
    """Return the versions in which the API changed, the newest first."""
    text = _FILE.read_text(encoding="utf-8")
    found = [Version(name, _entries(body)) for name, body in _VERSION.findall(text)]
    return [one for one in found if one.entries]


def _entries(body: str) -> list[tuple[str, str]]:
    return [(title, _LINK.sub(r"\1", " ".join(text.split()))) for title, text in _ENTRY.findall(body)]
