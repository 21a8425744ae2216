"""README and the map tell the truth: what they show was run, every link leads somewhere, no folder is missing."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import users
from support.api import USER_FIELDS
from support.documents import CONTRIBUTING, MAP, README, blocks, first_cells, page, section
from support.installations import Installation, installed
from support.servers import REPOSITORY, Server

MOST_LINES, MOST_BYTES_OF_A_PICTURE = 150, 40_000
PAGES = sorted(
    path
    for path in REPOSITORY.rglob("*.md")
    if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(REPOSITORY).parts)
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Server]]:
    """A fresh clone in which `flask run` was started."""
    with installed(tmp_path_factory.mktemp("readme") / "enrol") as here:
        (here.folder / ".venv").symlink_to(sys.prefix)
        # By the environment of the folder, as README does: the commands that Enrol shows name it.
        line, port = here.command("flask")
        yield here, here.launch([".venv/bin/python", "-m", "flask", *line[1:]], port)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_its_picture_is_small() -> None:
    (picture,) = re.findall(r"!\[.+\]\((.+)\)", README)
    assert (REPOSITORY / picture).stat().st_size < MOST_BYTES_OF_A_PICTURE


def test_the_first_start_prints_what_readme_shows(site: tuple[Installation, Server]) -> None:
    printed = re.sub(r"token=[\w-]{43}", "token=…", site[1].log()).replace(f":{site[1].port}", ":5000").splitlines()
    shown = blocks(README, "text")[0].splitlines()
    *first_steps, address = shown
    begin = printed.index(first_steps[0])
    assert printed[begin : begin + len(first_steps)] == first_steps
    assert address in printed


def test_the_first_curl_answers_what_readme_shows(site: tuple[Installation, Server]) -> None:
    commands = next(block for block in blocks(README, "sh") if "curl" in block)
    run = subprocess.run(
        ["bash", "-euc", commands.replace(":5000", f":{site[1].port}")],
        cwd=site[0].folder,
        env=site[0].environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answer, shown = json.loads(run.stdout), json.loads(blocks(README, "json")[0])
    assert list(answer) == list(shown) == USER_FIELDS
    moving = dict.fromkeys(("id", "created_at", "updated_at"), "")
    assert {**answer, **moving} == {**shown, **moving}


def test_tab_completes_commands_as_readme_shows(site: tuple[Installation, Server]) -> None:
    (line,) = re.findall(r"^\| bash \| `(.+)` \|$", README, re.MULTILINE)
    press = 'COMP_WORDS=(flask users passw) COMP_CWORD=2; _flask_completion flask; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{line}\n{press}"],
        cwd=site[0].folder,
        env=site[0].environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("password-link\n", "")


def test_ci_finds_the_test_command() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    (find,) = re.findall(r"^command=\$\((.*)\)$", script, re.MULTILINE)
    found = subprocess.run(["bash", "-euc", find], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout == blocks(section(README, "Test it"), "sh")[0]


def headings(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as a forge makes them of their words."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]
    assert len(anchors) == len(set(anchors)), f"{path} has a heading twice"
    return set(anchors)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file_or_heading(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert target.is_relative_to(REPOSITORY), link
        assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_path_it_names_exists(path: Path) -> None:
    found = re.findall(r"(?<![\w/.-])((?:tests|users|static|templates)/[\w/.-]*)", path.read_text(encoding="utf-8"))
    assert [name for name in found if not (REPOSITORY / name).exists()] == []


def test_readme_leads_to_every_page() -> None:
    linked = {(REPOSITORY / link).resolve() for link in re.findall(r"\]\(([\w/]+\.md)\)", README)}
    assert linked == set(PAGES) - {REPOSITORY / "README.md"}


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\d.*)$", page("users/CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == users.__version__
    numbers = [tuple(map(int, one.split("."))) for one in versions]
    assert all(len(number) == 3 for number in numbers)
    assert numbers == sorted(set(numbers), reverse=True)


def test_the_map_has_the_words_of_the_package() -> None:
    lines = re.findall(r"^    (\w+/) +(.*)$", users.__doc__ or "", re.MULTILINE)
    assert "\n".join(f"| `{folder}` | {words} |" for folder, words in lines) in MAP


def test_the_map_names_everything_at_the_top() -> None:
    named = {cell.strip("`/") for cell in first_cells(MAP.partition("Beside `users/`")[2].partition("## ")[0])}
    ignored = {"README.md", "requirements.txt", "users", "__pycache__"}
    there = {path.name for path in REPOSITORY.iterdir() if not path.name.startswith(".")}
    assert named == there - ignored


def test_contributing_names_every_folder_of_the_tests() -> None:
    named = set(re.findall(r"`tests/(\w+)/`", " ".join(first_cells(section(CONTRIBUTING, "Tests")))))
    folders = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir()}
    assert named == folders - {"__pycache__"}
