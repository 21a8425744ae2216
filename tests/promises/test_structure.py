"""The house's facts: who may know whom, who makes users, who guards a view."""

import ast
import graphlib
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from flask import Flask

import app as app_module
import users
from app import create_app
from support.application import CHEAP
from users.audit.trail import Action
from users.pages import guards
from users.roles import Permission
from users.storage import schema_version

ROOT = Path(app_module.__file__).parent
PACKAGE = ROOT / "users"
FLASK = {"flask", "flask_migrate", "flask_sqlalchemy", "flask_wtf", "werkzeug", "wtforms"}
DOORS = {"api", "pages", "cli"}
MOST_AT_THE_TOP, MOST_IN_A_FOLDER, MOST_LINES = 16, 14, 300


def name_of(path: Path) -> str:
    """Return the dotted name of a module of the package; a folder's `__init__` has the folder's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts}
# The folders from the doors down, in the order in which the package's docstring names them.
FOLDERS = re.findall(r"^    (\w+)/ ", users.__doc__ or "", re.MULTILINE)


def folder_of(module: str) -> str:
    """Return the folder of a module, "" for a single file beside the folders."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else ""


@cache
def tree(path: Path) -> ast.Module:
    """Return the source at `path`, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that the source imports, wherever it does."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def neighbours(module: str) -> frozenset[str]:
    """Return the modules of the package that `module` imports."""
    names = {name if name in MODULES else name.rpartition(".")[0] for name in imports(MODULES[module])}
    return frozenset(names & set(MODULES) - {"users"})


def reach(module: str) -> set[str]:
    """Return `module` and all modules of the package that it imports, through others too."""
    found, ahead = {module}, [module]
    while ahead:
        new = neighbours(ahead.pop()) - found
        found |= new
        ahead += new
    return found


def test_docstring_names_every_folder() -> None:
    assert sorted(FOLDERS) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    assert set(FOLDERS[: len(DOORS)]) == DOORS


def may_import(module: str, other: str) -> bool:
    """Tell whether `module` may import `other`: its own folder, one that stands below it, or a single file."""
    ours, theirs = folder_of(module), folder_of(other)
    if not theirs or ours == theirs:
        return True
    if not ours:  # a single file; `settings` reads what HashParameters and Rules are, and DATABASE_URL
        known = theirs in ("passwords", "rules") or other == "users.storage.database_url"
        return module == "users.settings" and known
    return theirs not in DOORS and FOLDERS.index(ours) < FOLDERS.index(theirs)


def test_imports_point_downwards() -> None:
    """A folder imports only what stands below it."""
    inside = set(MODULES) - {"users"}  # which puts the doors together
    assert [(one, other) for one in inside for other in neighbours(one) if not may_import(one, other)] == []


def test_no_import_cycles() -> None:
    graphlib.TopologicalSorter({module: neighbours(module) for module in MODULES}).prepare()


def test_folders_and_files_stay_small() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= MOST_AT_THE_TOP
    sizes = {folder: len(list((PACKAGE / folder).glob("*.py"))) - 1 for folder in FOLDERS}
    assert {folder: size for folder, size in sizes.items() if size > MOST_IN_A_FOLDER} == {}
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


@pytest.mark.parametrize("folder", ["rules", "passwords", "openapi"])
def test_rules_without_flask(folder: str) -> None:
    """The folders of rules import no Flask, not even through another module."""
    modules = {module for one in MODULES if folder_of(one) == folder for module in reach(one)} | reach("users.errors")
    assert {(one, name) for one in modules for name in imports(MODULES[one]) if name.split(".")[0] in FLASK} == set()


def test_only_the_web_doors_use_request() -> None:
    knowing = {folder_of(module) for module, path in MODULES.items() if "flask.request" in imports(path)}
    assert knowing == {"api", "pages", "http"}


def calls(path: Path, name: str) -> list[int]:
    """Return the lines on which the source calls `name`, by itself or as an attribute."""
    found = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    return [node.lineno for node in found if name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))]


def test_one_place_makes_users() -> None:
    sources = [ROOT / "app.py", *PACKAGE.rglob("*.py")]
    makers = {name_of(path): len(calls(path, "User")) for path in sources if calls(path, "User")}
    assert makers == {"users.services.user_creation": 1}


def test_one_module_opens_sessions() -> None:
    opening = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("db.engine", "db.session")
    }
    assert opening == {"users.storage.database"}


@pytest.fixture
def bare(tmp_path: Path) -> Flask:
    """An application whose database is never opened."""
    return create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{tmp_path}/enrol.db"})


def test_every_view_is_guarded_or_public(bare: Flask) -> None:
    public = set()
    for rule in bare.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        guard = getattr(bare.view_functions[rule.endpoint], "guard", None)
        assert guard is not None, f"{rule.rule} names no guard"
        if guard == "public":
            public.add(rule.rule)
        else:
            assert set(guard) <= set(Permission)
    assert public == {"/", "/admin/login", "/healthz", "/readyz", "/password", "/setup", "/verify"} | {
        "/docs",
        "/docs.md",
        "/llms.txt",
        "/favicon.ico",
        "/openapi.json",
        "/robots.txt",
    }


def test_every_form_names_its_page(bare: Flask) -> None:
    """Every page that changes something names the page to show again after errors."""
    views: dict[str, Any] = bare.view_functions
    for rule in bare.url_map.iter_rules():
        if not rule.rule.startswith("/v1") and "POST" in (rule.methods or ()):
            view = views[rule.endpoint]
            assert views[f"users.{view.again.__name__}"].guard == view.guard


def test_form_without_its_page(bare: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that names no page to show again stops the start."""
    monkeypatch.setattr(bare.view_functions["users.sign_out"], "again", None)
    with pytest.raises(TypeError, match="sign_out changes something"):
        guards.check_views(bare)


@pytest.mark.parametrize("enum", [Permission, Action])
def test_alphabetical_order(enum: type[StrEnum]) -> None:
    """Permissions and audit actions are in alphabetical order."""
    assert [one.value for one in enum] == sorted(one.value for one in enum)
    assert list(enum.__members__) == sorted(enum.__members__)


@pytest.mark.parametrize("enum", [Permission, Action])
def test_names_of_permissions_and_actions(enum: type[StrEnum]) -> None:
    """A permission or audit action is named by an object and what is done to it."""
    separator = ":" if enum is Permission else "."
    for one in enum:
        thing, act = one.value.split(separator)
        assert one.name == f"{thing}_{act}".upper()


def test_newest_migration_is_required() -> None:
    migrations = ScriptDirectory(str(PACKAGE / "storage" / "migrations"))
    assert migrations.get_heads() == [schema_version.HEAD]


def test_no_test_module_imports_another() -> None:
    """What several of them use stands in tests/support."""
    found = {(path.name, name) for path in (ROOT / "tests").rglob("*.py") for name in imports(path)}
    assert {(one, name) for one, name in found if name.split(".")[0] == "conftest" or ".test_" in f".{name}"} == set()
