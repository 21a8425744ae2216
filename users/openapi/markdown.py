"""The main part of a page as Markdown, so that a page and its text for programs have one source. No Flask."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

# What a line begins with, by the element that it stands in; the parts of a <dl> are a list.
BLOCKS = {"h1": "# ", "h2": "## ", "h3": "### ", "h4": "#### ", "summary": "#### ", "li": "- ", "dt": "- ", "dd": "  "}
BLOCKS |= dict.fromkeys(("div", "main", "p", "pre", "section"), "")
MARKS = {"b": "**", "code": "`"}
DROPPED = {"nav", "button"}
DROPPED_CLASSES = {"anchor", "code-head", "unseen"}
VOID = {"br", "input", "wbr"}
FENCES = {"curl": "sh", "python": "python", "javascript": "js"}  # by the language of a sample


def of_page(page: str, url: str) -> str:
    """Return the <main> of `page`, which stands at `url`, as Markdown."""
    reader = _Reader(url)
    reader.feed(page)
    return re.sub(r"\n{3,}", "\n\n", "".join(reader.lines)).strip() + "\n"


class _Reader(HTMLParser):
    """Reads a page whose elements are all closed."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.lines: list[str] = []
        self.open: list[str] = []  # elements in <main>
        self.dropped_at = 0  # how many were open when one began that is dropped, or 0
        self.text, self.prefix, self.href, self.fence = "", "", "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        if tag in VOID or not (self.open or tag == "main"):
            return
        is_marked = self._is_marked(tag)
        self.open.append(tag)
        given = dict(attrs)
        if not self.dropped_at and _is_dropped(tag, given):
            self.dropped_at = len(self.open)
        if self.dropped_at:
            return
        if tag in BLOCKS:
            self._end_line()
            self.prefix = BLOCKS[tag]
            self.fence = FENCES.get(given.get("data-lang") or "", self.fence)
        if tag == "pre":
            self.lines.append(f"\n{given['aria-label']}:\n")
        elif tag == "a":
            self.href = given["href"] or ""
            self.text += "["
        elif is_marked:
            self.text += MARKS[tag]

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        if not self.open:
            return
        self.open.pop()
        if self.dropped_at:
            self.dropped_at = self.dropped_at if len(self.open) >= self.dropped_at else 0
        elif tag == "pre":
            self.lines.append(f"\n```{self.fence}\n{self.text}\n```\n")
            self.text = self.fence = ""
        elif tag in BLOCKS:
            self._end_line()
        elif tag == "a":
            self.text += f"]({urljoin(self.url, self.href)})"
        elif self._is_marked(tag):
            self.text += MARKS[tag]

    def handle_data(self, data: str) -> None:
        """Add text."""
        if self.open and not self.dropped_at:
            self.text += data if "pre" in self.open else re.sub(r"\s+", " ", data)

    def _is_marked(self, tag: str) -> bool:
        """Tell whether the element has a mark of its own: code shows what is in it as it is."""
        return tag in MARKS and not {"pre", "code"} & set(self.open)

    def _end_line(self) -> None:
        line = re.sub(" +", " ", self.text).strip()
        if line:
            is_list = self.prefix in ("- ", "  ")
            self.lines.append(f"{self.prefix}{line}\n" if is_list else f"\n{self.prefix}{line}\n")
            self.prefix = ""
        self.text = ""


def _is_dropped(tag: str, given: dict[str, str | None]) -> bool:
    classes = set((given.get("class") or "").split())
    return tag in DROPPED or "hidden" in given or "aria-hidden" in given or bool(classes & DROPPED_CLASSES)
