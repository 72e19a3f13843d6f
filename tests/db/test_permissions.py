"""Roles and permissions are one table: SQL asks for nothing that is not in it, and the documentation shows it."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.permissions_table import PAGE, table, written
from tests.db.names import ROLES, SCOPES
from tests.db.world import World

ROOT = Path(__file__).parents[2]


def permissions(world: World) -> set[str]:
    return {name for (name,) in world.rows("select permission from private.permissions")}


def test_the_documentation_shows_the_table(still_world: World) -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = written(page, table(still_world.database.url("postgres")))
    assert page == shown, "run: python -m scripts.permissions_table"
    assert page.count("\n| `") > 25


def test_the_table_names_the_roles_that_there_are(still_world: World) -> None:
    named = {role for (role,) in still_world.rows("select distinct unnest(roles) from private.permissions")}
    assert named == set(ROLES.values())


def test_every_scope_is_held_by_some_key_of_the_tests(still_world: World) -> None:
    """What a key may hold is tried by the isolation matrix, whose keys hold everything."""
    assert set(SCOPES) == {p for (p,) in still_world.rows("select permission from private.permissions where service")}


def test_functions_ask_for_permissions_that_exist(still_world: World) -> None:
    asked = {
        permission
        for (source,) in still_world.rows(
            "select prosrc from pg_proc where pronamespace in ('app'::regnamespace, 'private'::regnamespace)"
        )
        for permission in re.findall(r"private\.require\('([^']*)'\)", source)
    }
    assert len(asked) > 15
    assert asked <= permissions(still_world)


def test_the_application_asks_for_permissions_that_exist(still_world: World) -> None:
    calls = r"(?:tenant_transaction|stored|_list|begin_v1)\([^()]*?\"([a-z_]+\.[a-z_]+)\""
    asked = {
        permission
        for path in (ROOT / "api").rglob("*.py")
        for permission in re.findall(calls, path.read_text(encoding="utf-8"))
    }
    assert len(asked) > 5
    assert asked <= permissions(still_world)


def test_every_permission_is_asked_for_by_somebody(still_world: World) -> None:
    """A permission that nothing asks for would promise a protection that is not there."""
    functions = " ".join(source for (source,) in still_world.rows("select prosrc from pg_proc where prolang <> 12"))
    code = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "api").rglob("*.py"))
    assert [p for p in sorted(permissions(still_world)) if p not in functions and p not in code] == []
