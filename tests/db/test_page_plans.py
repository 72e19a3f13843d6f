"""What a page of a list looks at in a tenant that has grown large: the rows of that page, and not all of the tenant's.

Counted by Postgres itself (`explain analyze`), on tables that were analysed: the clock plays no part.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args

import pytest
from psycopg.rows import dict_row

from api.auth import Principal
from api.exceptions import inbox
from api.exceptions.models import Asked, Sort
from api.exceptions.recipients import MOST, SIZE
from api.pagination import PageRequest
from api.sql import query
from sandbox.postgres import Server
from tests.bench.crowded import crowd
from tests.db.founding import peopled, world_from
from tests.db.names import ACME, NOTE, PAY, Row
from tests.db.world import World

ACTIONS, WAITING, SHOWN = 3000, 1500, 50
#: What finding a page may look at: one more says that there are more, and another that an order is whole.
FEW = SHOWN + 5
FIRST = {"after_at": None, "after_id": None, "limit": SHOWN + 1}
NOTHING_ELSE = dict.fromkeys(("status", "workflow", "tool", "effect", "run_id", "trigger"))


@pytest.fixture(scope="module")
def large(cluster: Server) -> Iterator[World]:
    """A tenant with 3,000 actions, of which 1,500 wait, in 300 runs."""
    with world_from(cluster, peopled(cluster)) as world:
        asked = world.propose(ACME)
        crowd(world, ACME.id, ACME.person("owner"), asked.id, actions=ACTIONS, waiting=WAITING, events=200)
        yield world


def plan(
    world: World, permission: str, statement: str, parameters: Mapping[str, Any], before: str = "select"
) -> list[dict[str, Any]]:
    """Every node of what a statement did, as the tenant's owner."""
    with world.api.transaction(force_rollback=True):
        world.api.execute("select app.begin_v1(%s, %s)", (json.dumps(ACME.user("owner")), permission))
        world.api.execute(before.encode())
        row = world.api.execute(f"explain (analyze, format json) {statement}".encode(), parameters).fetchone()
    assert row is not None
    nodes: list[dict[str, Any]] = [row[0][0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


def looked_at(
    world: World, permission: str, statement: str, parameters: Mapping[str, Any], before: str = "select"
) -> Counter[str]:
    """How many rows of each table a statement has looked at: those that it left out, too."""
    seen: Counter[str] = Counter()
    for node in plan(world, permission, statement, parameters, before):
        if "Relation Name" in node:
            left_out = (node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
            seen[node["Relation Name"]] += round(node["Actual Loops"] * (node["Actual Rows"] + sum(left_out)))
    return seen


def queue(asked: Asked) -> tuple[str, dict[str, Any]]:
    page = PageRequest(limit=SHOWN, cursor=None)
    principal = Principal(ACME.user("owner"), "-", None)
    statement = inbox.statement(asked, query("exceptions/list_exceptions"))
    return statement, inbox.key(asked, page) | inbox.parameters(asked, principal)


@pytest.mark.parametrize("sort", get_args(Sort))
def test_a_page_of_the_queue_looks_at_that_page(large: World, sort: Sort) -> None:
    """In every order, also among what is alike; at each exception, its action and its decision once."""
    for asked in (Asked(status="open", sort=sort), Asked(status="open", sort=sort, assigned="none")):
        seen = looked_at(large, "exceptions.read", *queue(asked))
        assert seen["exceptions"] <= FEW, (asked, seen)
        assert max(seen["actions"], seen["decisions"]) <= FEW, (asked, seen)


def test_a_page_of_what_is_alike_looks_at_that_page(large: World) -> None:
    key = large.value("select class_key from app.exceptions where tenant_id = %s limit 1", ACME.id)
    seen = looked_at(large, "exceptions.read", *queue(Asked(class_key=key)))
    assert max(seen["exceptions"], seen["actions"], seen["decisions"]) <= FEW, seen


def test_whom_a_page_goes_to_is_looked_up_by_its_keys(large: World) -> None:
    """Of a directory of 2,000 entries, each with a domain, the few that the page names."""
    keys = ["account:iban:DE89370400440532013000", "email:a@vendor-7.example", "name:vendor 8"]
    with large.root.transaction():
        # Its own guards refuse what no change was approved for. Nothing else in this module changes these tables.
        for table in ("directory_entries", "directory_details", "exceptions"):
            large.root.execute(f"alter table app.{table} disable trigger all".encode())
        large.root.execute(
            "insert into app.directory_entries"
            " (tenant_id, id, environment, kind, name, key, skeleton, version, change_id)"
            " select %s, gen_random_uuid(), 'production', 'vendor', 'Vendor ' || n, 'vendor ' || n, 'vendor' || n, 1,"
            " gen_random_uuid() from generate_series(1, 2000) n",
            (ACME.id,),
        )
        large.root.execute(
            "insert into app.directory_details"
            " (tenant_id, id, environment, entry_id, type, key, value, trusted_from, change_id)"
            " select tenant_id, gen_random_uuid(), environment, id, 'domain', replace(key, ' ', '-') || '.example',"
            " '{}', now(), change_id from app.directory_entries where tenant_id = %s",
            (ACME.id,),
        )
        large.root.execute(
            "update app.exceptions set class_key = repeat('0', 64), class = jsonb_build_object("
            "'key', repeat('0', 64), 'counterparties', %s::jsonb) where tenant_id = %s",
            (json.dumps(keys), ACME.id),
        )
    large.root.execute("analyze app.directory_entries, app.directory_details, app.exceptions")
    ids = [row[0] for row in large.rows("select id from app.exceptions where tenant_id = %s limit 50", ACME.id)]
    statement, asked = query("exceptions/recipients"), {"ids": ids, "most": MOST, "size": SIZE}
    seen = looked_at(large, "exceptions.read", statement, asked)
    assert max(seen["exceptions"], seen["actions"]) <= FEW, seen
    assert max(seen["directory_entries"], seen["directory_details"]) <= 5 * FEW, seen


def test_a_page_of_actions_looks_at_that_page(large: World) -> None:
    """Once to find them, once to show them; and what is passed over on the way is passed over in an index."""
    statement = query("actions/list_actions")
    assert looked_at(large, "actions.read", statement, FIRST | NOTHING_ELSE)["actions"] <= 2 * FEW
    for narrowed in ({"status": "succeeded"}, {"effect": "destructive"}, {"workflow": "another"}):
        nodes = plan(large, "actions.read", statement, FIRST | NOTHING_ELSE | narrowed)
        scans = {each["Node Type"] for each in nodes if each.get("Relation Name") == "actions"}
        assert scans <= {"Index Only Scan", "Index Scan"}, (narrowed, scans)


def test_a_page_of_runs_need_not_look_at_more(large: World) -> None:
    """With as few as here all of them may be sorted, too; the order is there without that, for when there are many."""
    statement = query("runs/history/list_runs")
    for narrowed in ({}, {"status": "running"}):
        seen = looked_at(large, "runs.read", statement, FIRST | NOTHING_ELSE | narrowed, "set local enable_sort = off")
        assert seen["runs"] <= FEW, (narrowed, seen)


def test_kill_switches_are_counted_together(large: World) -> None:
    """Several look at what waits as often as one does, once; and each has as many as the API names."""
    stops = [
        ("tenant", ACME.id),
        ("workflow", ACME.workflow()),
        ("tool", PAY),
        ("tool", NOTE),
        ("service_account", ACME.agent),
    ]
    stops.append(("connection", ACME.connection("bank/write")))
    for scope, target in stops:
        large.stop(ACME, scope, target)
    statement = query("workflows/count_kill_switches")
    assert looked_at(large, "kill_switches.read", statement, {})["actions"] <= ACTIONS + 1
    with large.api.transaction(force_rollback=True):
        large.api.execute("select app.begin_v1(%s, %s)", (json.dumps(ACME.user("owner")), "kill_switches.read"))
        cursor = large.api.cursor(row_factory=dict_row).execute(statement.encode())
        counted = {str(row["id"]): (row["stopped"], row["in_flight"], row["manual"]) for row in cursor}
    listed = cast("list[Row]", large.call(ACME.user("owner"), "list_kill_switches_v1", {}))
    assert counted == {each["id"]: (len(each["stopped"]), len(each["in_flight"]), each["manual"]) for each in listed}
    assert sorted(stopped for stopped, _, _ in counted.values())[-4:] == [WAITING + 1] * 4


def test_a_switch_in_outline_is_the_beginning_of_its_proof(large: World) -> None:
    switch = large.value("select id::text from app.kill_switches where tenant_id = %s and scope = 'tenant'", ACME.id)
    whole = large.call(ACME.user("owner"), "get_kill_switch_v1", {"id": switch})
    outline = large.call(ACME.user("owner"), "get_kill_switch_v1", {"id": switch, "most": SHOWN})
    parts = {name: lines for name, lines in whole.pop("proof").items() if isinstance(lines, list)}
    shown = outline.pop("proof")
    assert {name: shown[name] for name in parts} == {
        name: {"count": len(lines), "first": lines[:SHOWN]} for name, lines in parts.items()
    }
    assert len(parts["waiting"]) == WAITING + 1
    assert outline.items() <= whole.items()
    assert len(json.dumps(shown)) < 20_000
