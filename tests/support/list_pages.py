"""What the list of users shows."""

import html
import re

from support.api import Answer

LIST = "/admin/users"


def emails_on(page: Answer) -> list[str]:
    """Return the addresses in the table, each the header of its row."""
    cells = re.findall(r'<th scope="row">(.*?)</th>', page.text)
    return [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in cells]


def link(page: Answer, name: str) -> str:
    """Return where the link called `name` leads, nothing if there is none."""
    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>{name}\b', page.text)
    return html.unescape(found[1]) if found else ""


def words(page: Answer) -> str:
    """Return the text of the page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page.text.partition("<body>")[2])).split())


def caption(page: Answer) -> str:
    """Return what the table says of itself."""
    found = re.findall(r"<caption>(.*?)</caption>", page.text, re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", found[0])).split()) if found else ""


def chips(page: Answer) -> dict[str, str]:
    """Return where the link of each filter in use leads, by its words."""
    (part,) = re.findall(r'<ul class="chips".*?</ul>', page.text, re.DOTALL) or [""]
    return {words: html.unescape(path) for path, words in re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)</a>', part)}


def headers(page: Answer) -> dict[str, tuple[str, str]]:
    """Return how the list is sorted by each header that can sort it, and where the header leads."""
    header = r'<th scope="col"(?: aria-sort="(\w+)")? abbr="\w+"><a href="([^"]+)"[^>]*>(\w+)</a></th>'
    found = re.findall(header, page.text)
    return {words: (order, html.unescape(path)) for order, path, words in found}
