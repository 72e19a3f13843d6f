"""Every function of ours, called by everybody, about everybody's things.

Made from the catalog. A function that joins `app` for people, keys or scheduled functions needs example arguments in
tests/db/examples.py; one that asks for no permission needs a reason in NO_PERMISSION.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from sandbox.postgres import Server
from tests.db.examples import EXAMPLES, Here
from tests.db.founding import busy, world_from
from tests.db.matrix import EVERYBODY, PLACES, REFUSED, THROUGH, Matrix, Place, Principal
from tests.db.names import ACME, ENVIRONMENTS, Row
from tests.db.test_catalog import CALLABLE, DOORS, INTERNAL, WORKER
from tests.db.world import World

#: Callable functions that do not begin by asking for a permission, and why.
NO_PERMISSION = {
    "create_tenant_v1": "there is no tenant yet to hold a permission in",
    "accept_invitation_v1": "who accepts is no member yet",
    "list_my_invitations_v1": "a person's own invitations",
    "list_tenants_v1": "a person's own memberships",
}
#: Who may execute what, by (role, schema); everything else is refused.
GRANTED: dict[tuple[str, str], set[str]] = {
    ("countersign_api", "app"): DOORS,
    ("countersign_worker", "app"): WORKER,
    ("authenticated", "app"): {f"{name}(jsonb)" for name in CALLABLE},
    ("authenticated", "private"): INTERNAL,
}
ROLES = ("anon", "authenticated", "service_role", "authenticator", "countersign_api", "countersign_worker")
#: (schema, signature, a call with nothing but nulls)
SIGNATURES = """
    select nspname, proname || '(' || coalesce(types, '') || ')',
        format('select %%I.%%I(%%s)', nspname, proname, nulls)
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    cross join lateral (
        select string_agg(format_type(t, null), ',' order by i) as types,
            string_agg('null::' || format_type(t, null), ', ' order by i) as nulls
        from unnest(p.proargtypes) with ordinality a (t, i)) a
    where nspname in ('app', 'private') order by 1, 2
"""


@pytest.fixture(scope="module")
def matrix(still_world: World) -> Matrix:
    return Matrix(still_world)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_calls_what_it_is_granted_and_nothing_else(matrix: Matrix, role: str, record_property: Any) -> None:
    """Every function of both schemas, triggers and internals included, really called, as an owner at aal2."""
    functions = matrix.world.rows(SIGNATURES)
    login = role if role in ("anon", "service_role", "authenticator", "countersign_api") else "countersign_api"
    with matrix.world.database.connect(login, autocommit=False) as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(ACME.user()),))
        if role != login:
            connection.execute(f"set local role {role}".encode())
        outcomes = matrix.attempts(connection, "try", [call for _, _, call in functions])
        connection.rollback()
    for (schema, signature, _), (state, said) in zip(functions, outcomes, strict=True):
        granted = signature in GRANTED.get((role, schema), set())
        if (state == REFUSED and "permission denied" in said) == granted:
            matrix.found(f"{role}: {schema}.{signature}: {state} {said}")
    matrix.report(record_property)


def test_every_function_has_example_arguments(matrix: Matrix) -> None:
    """Without them the matrix below would not call it."""
    missing = sorted(_callable(matrix) - EXAMPLES.keys())
    assert not missing, (
        f"add example arguments to EXAMPLES in tests/db/examples.py for: {', '.join(missing)}; they name rows of"
        " `here`, which tests/db/founding.py makes for both tenants and both environments"
    )
    assert sorted(EXAMPLES.keys() - _callable(matrix)) == [], "examples of functions that are not in the catalog"


def test_every_function_asks_for_a_permission_first(matrix: Matrix) -> None:
    assert {name for name in _callable(matrix) if _permission(matrix, name) is None} == NO_PERMISSION.keys()


def _reach(matrix: Matrix, place: Place, functions: Iterable[str]) -> None:
    for function in sorted(functions):
        args = _example(matrix, function, place)
        for principal in EVERYBODY:
            _call(matrix, principal, function, args)


def _smuggle(matrix: Matrix, place: Place, functions: Iterable[str]) -> None:
    strangers = [p for p in EVERYBODY if p.tenant and not p.belongs_to(place)]
    for function in sorted(functions):
        theirs = _example(matrix, function, place)
        for principal in strangers:
            if _lacks(matrix, principal, function):
                continue
            for own in _own_places(principal, place):
                for mixed in _mixed(matrix, principal, _example(matrix, function, own), theirs):
                    _call(matrix, principal, function, mixed)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_nobody_reaches_beyond_their_own(matrix: Matrix, place: Place, record_property: Any) -> None:
    """Every function, by everybody, about one place: what is not theirs stays as it is and is not told of."""
    _reach(matrix, place, EXAMPLES)
    matrix.report(record_property)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_nobody_smuggles_in_what_is_not_theirs(matrix: Matrix, place: Place, record_property: Any) -> None:
    """As above, with arguments of the caller's own of which one names something of this place."""
    _smuggle(matrix, place, EXAMPLES)
    matrix.report(record_property)


def test_every_example_works_where_it_belongs(matrix: Matrix) -> None:
    """A call that always fails shows nothing."""
    idle = {
        f"{function} about {place}"
        for function in EXAMPLES
        for place in PLACES
        if not any(
            matrix.call(principal.claims, function, _example(matrix, function, place))["state"] == THROUGH
            for principal in EVERYBODY
            if principal.belongs_to(place)
        )
    }
    assert idle == set()


def _callable(matrix: Matrix) -> set[str]:
    return {
        name
        for (name,) in matrix.world.rows(
            "select p.proname from pg_proc p where p.pronamespace = 'app'::regnamespace"
            " and has_function_privilege('authenticated', p.oid, 'execute')"
        )
    }


def _example(matrix: Matrix, function: str, place: Place) -> Row:
    """The example arguments about a place; the same ones every time, as nothing that is done with them lasts."""
    known = matrix.examples.setdefault(function, {})
    if place not in known:
        known[place] = EXAMPLES[function](Here(matrix.world, place))
    return known[place]


def _permission(matrix: Matrix, function: str) -> str | None:
    """The permission that a function asks for in its first statement or declaration."""
    source = matrix.source_of(function)
    declared, _, body = source.partition("begin\n")
    first = body.split(";")[0]
    asked = re.search(
        r"private\.require(?:_alone)?\('([a-z_.]+)'\)", declared + ("" if first.lstrip().startswith("if ") else first)
    )
    return asked.group(1) if asked else None


def _lacks(matrix: Matrix, principal: Principal, function: str) -> str | None:
    """With which SQLSTATE a principal is refused whatever the arguments, if it is."""
    permission = _permission(matrix, function)
    if permission is None:
        return None if function in NO_PERMISSION else "CS401"
    if principal.tenant is None:
        return "CS401"
    held = matrix.permissions[permission]
    kind = principal.claims["kind"]
    if kind != "user":
        return None if held[kind] else "CS403"
    role = matrix.role_of(principal)
    if role is None:
        return "CS401"
    return None if role in held["roles"] and (principal.claims["aal"] == "aal2" or not held["aal2"]) else "CS403"


def _call(matrix: Matrix, principal: Principal, function: str, args: Row) -> None:
    """One cell: refused where the permission is missing, and never beyond what is the caller's own."""
    outcome = matrix.call(principal.claims, function, args)
    cell = f"{principal.name}: {function}({json.dumps(args)[:300]})"
    lacks = _lacks(matrix, principal, function)
    if lacks and outcome["state"] != lacks:
        matrix.found(f"{cell}: not refused for want of the permission, but {outcome['state']} {outcome['said']}")
    told = matrix.told_to(principal, json.dumps(outcome["said"]), json.dumps(args))
    if told:
        matrix.found(f"{cell}: tells of {sorted(told)[:3]}")
    for changed in matrix.changed(outcome.get("digests")):
        if matrix.is_foreign(principal, changed):
            matrix.found(f"{cell}: changes {changed}")


def _own_places(principal: Principal, place: Place) -> Iterator[Place]:
    """The caller's place that is like this one, or next to it."""
    for own in PLACES:
        alike = own.environment == place.environment or principal.environment is not None
        if principal.belongs_to(own) and alike:
            yield own


def _mixed(matrix: Matrix, principal: Principal, own: Row, theirs: Row) -> Iterator[Row]:
    """The caller's own arguments, each time with one of another place's that tells of it."""
    for name, value in theirs.items():
        if value != own.get(name) and matrix.told_to(principal, json.dumps(value)):
            yield own | {name: value}


def test_the_matrix_has_both_environments_in_it(matrix: Matrix) -> None:
    """Each place tells of itself by something, or nothing could be seen to leak from it."""
    for name, tokens in matrix.telling.items():
        assert len(tokens) > 20, name
        assert any(token.startswith("marked:") for token in tokens), name
    assert {place.environment for place in PLACES} == set(ENVIRONMENTS)


_HOLE = """
    create function app.{name}(p_args jsonb) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
    declare
        v_principal private.principal := {asks};
        v_run app.runs;
    begin
        select * into v_run from app.runs where id = (p_args ->> 'id')::uuid and {where};
        {does};
        return case when {tells} then to_jsonb(v_run) end;
    end
    $$;
    revoke all on function app.{name} from public;
    grant execute on function app.{name} to authenticated
"""
_SOUND = {
    "asks": "private.require('runs.write')",
    "where": "tenant_id = v_principal.tenant_id and environment = coalesce(v_principal.environment, environment)",
    "does": "null",
    "tells": "true",
}
#: What a careless function would do with the id of a run, and how the matrix tells of it.
HOLES = {
    "any_tenant_v1": ({"where": "true"}, "tells of"),
    "any_environment_v1": ({"where": "tenant_id = v_principal.tenant_id"}, "acme's sandbox key: .*tells of"),
    "anybody_v1": ({"asks": "private.current_principal()", "tells": "false"}, "nobody: .*not refused"),
    "complains_v1": ({"where": "true", "does": "perform private.fail(404, 'x', v_run.instruction)"}, "tells of"),
    "completes_v1": (
        {"where": "true", "tells": "false", "does": "update app.runs set status = 'completed' where id = v_run.id"},
        "changes app.runs globex/production",
    ),
    "renames_v1": (
        {
            "where": "true",
            "tells": "false",
            "does": "update app.tenants set name = 'x' where tenant_id = v_run.tenant_id",
        },
        "changes app.tenants globex",
    ),
}


def test_every_hole_is_seen(cluster: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix that finds nothing where there are holes would find nothing anywhere."""
    with world_from(cluster, busy(cluster)) as world:
        for name, (hole, _) in HOLES.items():
            world.owner.execute(_HOLE.format(name=name, **_SOUND | hole).encode())
            monkeypatch.setitem(EXAMPLES, name, lambda here: {"id": here.id("app.runs", "driven_by = 'client'")})
        matrix = Matrix(world)
        assert [name for name in HOLES if _permission(matrix, name) is None] == ["anybody_v1"]
        for place in PLACES:
            _reach(matrix, place, HOLES)
            _smuggle(matrix, place, HOLES)
    for name, (_, leak) in HOLES.items():
        assert any(re.search(leak, line) for line in matrix.leaks if name in line), name
