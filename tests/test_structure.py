"""The house's facts: who may know whom, who makes users, who guards a view."""

import ast
import graphlib
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from flask import Flask

import app as app_module
from app import create_app
from conftest import CHEAP
from users import database, pages
from users.audit import Action
from users.roles import Permission

ROOT = Path(app_module.__file__).parent
MODULES = {path.stem: path for path in (ROOT / "users").glob("*.py") if path.stem != "__init__"}
FLASK = {"flask", "flask_migrate", "flask_sqlalchemy", "flask_wtf", "werkzeug", "wtforms"}
# The walk of a request (`users/__init__`): what stands in a row knows only rows below it, and what is beside the walk.
CORRIDOR = [
    {"admin", "admin_audit", "admin_keys", "admin_setup", "admin_user_changes", "admin_users", "admin_verify"}
    | {"api", "api_changes", "docs", "health"},
    {"cli_audit", "cli_keys", "cli_users", "doctor"},
    {"cli", "first_run"},
    {"envelope", "pages"},
    {"detour"},
    {"forms", "parsing", "sweep"},
    {"visits"},
    {"csrf", "headers", "urls"},
    {"idempotency", "setup", "signin", "verification"},
    {"audit_words", "service_changes", "service_prune", "service_purge"},
    {"service", "service_keys"},
    {"hasher"},
    {"attempts"},
    {"throttles"},
    {"audit", "audit_trail", "directory"},
    {"access"},
    {"authorization"},
    {"known_devices", "known_networks", "sessions"},
    {"settings"},
    {"validation"},
    {"emails", "passwords"},
    {"argon2id", "gate", "limits"},
    {"paging", "upgrading"},
    {"database"},
    {"drivers", "models"},
]
BESIDE = {"actors", "blueprint", "clock", "columns", "contract", "cores", "errors", "examples"}
BESIDE |= {"fields", "forks", "ids", "keys", "logs", "refusals", "roles", "search"}


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


def neighbours(module: str) -> set[str]:
    """Return the modules of the package that `module` imports."""
    names = (name.split(".") for name in imports(MODULES[module]))
    return {parts[1] for parts in names if parts[0] == "users"} & set(MODULES)


def reach(module: str) -> set[str]:
    """Return `module` and all modules of the package that it imports, through others too."""
    found, ahead = {module}, [module]
    while ahead:
        new = neighbours(ahead.pop()) - found
        found |= new
        ahead += new
    return found


@pytest.mark.parametrize(
    "module", ["validation", "emails", "passwords", "argon2id", "gate", "limits", "errors", "roles", "keys"]
)
def test_the_rules_know_no_flask_not_even_through_another_module(module: str) -> None:
    known = {(one, name) for one in reach(module) for name in imports(MODULES[one]) if name.split(".")[0] in FLASK}
    assert known == set()
    assert {name for one in reach(module) for name in imports(MODULES[one]) if name == "users.blueprint"} == set()


def test_no_modules_import_one_another_in_a_circle() -> None:
    graphlib.TopologicalSorter({module: neighbours(module) for module in MODULES}).prepare()


def test_no_station_calls_an_earlier_one() -> None:
    rows = {module: number for number, row in enumerate(CORRIDOR) for module in row}
    assert set(rows) | BESIDE == set(MODULES)
    backwards = [(one, other) for one in rows for other in neighbours(one) - BESIDE if rows[other] <= rows[one]]
    assert backwards == []


def test_what_is_beside_the_walk_knows_only_its_like() -> None:
    assert {other for one in BESIDE for other in neighbours(one)} <= BESIDE


def test_only_the_doors_know_a_request() -> None:
    with_request = {module for module, path in MODULES.items() if "flask.request" in imports(path)}
    doors = {"admin", "admin_audit", "admin_keys", "admin_setup", "admin_user_changes", "admin_users", "admin_verify"}
    doors |= {"api", "api_changes", "docs"}
    assert with_request <= doors | {
        "access",
        "csrf",
        "detour",
        "envelope",
        "forms",
        "headers",
        "pages",
        "urls",
        "visits",
    }


def calls(path: Path, name: str) -> list[int]:
    """Return the lines on which the source calls `name`, by itself or as an attribute."""
    found = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    return [node.lineno for node in found if name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))]


def test_a_user_is_made_in_one_place() -> None:
    sources = [ROOT / "app.py", *(ROOT / "users").rglob("*.py")]
    makers = {path.name: len(calls(path, "User")) for path in sources if calls(path, "User")}
    assert makers == {"service.py": 1}


def test_only_one_module_opens_a_session() -> None:
    opening = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("db.engine", "db.session")
    }
    assert opening == {"database"}


@pytest.fixture
def bare(tmp_path: Path) -> Flask:
    """An application whose database is never opened."""
    return create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{tmp_path}/enrol.db"})


def test_every_view_names_its_guard_or_says_that_it_is_public(bare: Flask) -> None:
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
    assert public == {"/", "/admin", "/admin/login", "/healthz", "/readyz", "/setup", "/verify"} | {
        "/docs",
        "/openapi.json",
    }


def test_every_page_that_changes_something_names_the_page_to_show_again(bare: Flask) -> None:
    views: dict[str, Any] = bare.view_functions
    for rule in bare.url_map.iter_rules():
        if not rule.rule.startswith("/v1") and "POST" in (rule.methods or ()):
            view = views[rule.endpoint]
            assert views[f"users.{view.again.__name__}"].guard == view.guard


def test_one_that_names_none_stops_the_start(bare: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare.view_functions["users.sign_out"], "again", None)
    with pytest.raises(TypeError, match="sign_out changes something"):
        pages.check_views(bare)


@pytest.mark.parametrize("enum", [Permission, Action])
def test_permissions_and_acts_are_in_alphabetical_order(enum: type[StrEnum]) -> None:
    assert [one.value for one in enum] == sorted(one.value for one in enum)
    assert list(enum.__members__) == sorted(enum.__members__)


@pytest.mark.parametrize("enum", [Permission, Action])
def test_a_permission_or_act_is_an_object_and_what_is_done_to_it(enum: type[StrEnum]) -> None:
    separator = ":" if enum is Permission else "."
    for one in enum:
        thing, act = one.value.split(separator)
        assert one.name == f"{thing}_{act}".upper()


def test_the_code_asks_for_the_newest_migration() -> None:
    migrations = ScriptDirectory(str(ROOT / "users" / "migrations"))
    assert migrations.get_heads() == [database.HEAD]
