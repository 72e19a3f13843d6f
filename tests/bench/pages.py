"""What each page of the dashboard costs in a tenant that has grown large: `make bench`.

A real organisation on a real stack, whose one exception and first events are then copied behind its back: 100,000
actions, 10,000 of them waiting, and a million audit events whose chain holds. Every page that is read is asked for in
process, as its owner, and measured: the bytes of the page with its style sheet and scripts, its statements, and the
median time of the server. It fails when a page is too large or is not there; a time depends on what else the machine
does, so that one that is over is only said to be. `--events 10000 --actions 2000` tries it out on less.
"""

import argparse
import asyncio
import gzip
import os
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from sandbox.organisation import Organisation, ok, once
from tests import cluster
from tests.bench.crowded import Crowd, crowd
from tests.http.alerts import an_alert
from tests.http.amendments import amendment_of
from tests.http.channels import new_channel
from tests.http.constitutions import drafted
from tests.http.integrator import NOTE, PAY, access_spec, at_work, new_organisation, note, payment, vouched_for
from tests.http.world import World, running

ROUNDS, TARGET_MS, TARGET_BYTES = 20, 100, 150_000
#: A page that asks for nothing: what every page costs at least on this machine, now.
TRIVIAL = "/account/password"
#: Pages with a view of their own behind the address: filters and sortings that people choose.
VIEWS = ("/exceptions?sort=amount", "/actions?status=succeeded", "/audit?type=action.proposed")
#: Not pages that are read: files, a number that a script asks for, and what only a link in a mail opens.
APART = {"/static/{name}", "/exceptions/count", "/exceptions/together", "/auth/confirm", "/audit/export"}
_ASSET = re.compile(r'(?:href|src)="(/static/[^"]+\.(?:css|js)\?v=[0-9a-f]+)"')


class Statements:
    """Counts what the application asks the database, `begin` and `commit` apart, and how long each took."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str]] = []
        inner = psycopg.AsyncCursor.execute

        async def execute(cursor: Any, query: Any, *args: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await inner(cursor, query, *args, **named)
            finally:
                parameters = args[0] if args else None
                text = str(query) + (f" -- {parameters[1]}" if "app.call_v1" in str(query) and parameters else "")
                self.seen.append(((time.perf_counter() - begun) * 1000, text))

        psycopg.AsyncCursor.execute = execute  # type: ignore[assignment, method-assign]


def founded(world: World) -> Organisation:
    """An organisation with something behind most addresses."""
    organisation = new_organisation(world)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation))
    vouched_for(organisation, "Northwind Paper GmbH", {"type": "bank_account", "iban": "DE94000123450532013000"})
    return organisation


def examples(world: World, organisation: Organisation, crowded: Crowd) -> dict[str, str]:
    """What stands in the addresses, where the organisation has it."""
    found = {
        "action_id": crowded.action_id, "exception_id": crowded.exception_id, "run_id": crowded.run_id,
        "seq": str(crowded.events // 2), "slug": "pay-vendor-bills", "provider": "sandbox_bank", "number": "1",
        "account_id": organisation.service_account_id, "kind": "account",
    }  # fmt: skip
    tables = {
        "connection_id": "connections", "entry_id": "directory_entries", "change_id": "directory_changes",
        "switch_id": "kill_switches", "alert_id": "alerts", "amendment_id": "amendments",
        "draft_id": "constitution_drafts", "erasure_id": "erasures", "incident_id": "incidents",
        "channel_id": "channels",
    }  # fmt: skip
    for name, table in tables.items():
        rows = world.rows(f"select id from app.{table} where tenant_id = %s limit 1", organisation.tenant_id)
        if rows:
            found[name] = str(rows[0][0])
    of_run = "select id from app.observations where run_id = %s limit 1"
    given_up = "select id from app.actions where tenant_id = %s and status = 'dead_letter' limit 1"
    for name, rows in (
        ("observation_id", world.rows(of_run, crowded.run_id)),
        ("dead-letters/action_id", world.rows(given_up, organisation.tenant_id)),
    ):
        if rows:
            found[name] = str(rows[0][0])
    return found


def addresses(known: dict[str, str]) -> tuple[list[str], list[str]]:
    """The addresses of the pages that can be read, and the routes of those of which there is no example.

    known: by the name of the parameter, or, where a page needs one of its own, by `<first part of the path>/<name>`.
    """
    from fastapi.routing import iter_route_contexts

    from api.dashboard.routes import router

    pages, without = [], []
    for route in iter_route_contexts(router.routes):
        path = str(route.path)
        if "GET" not in (route.methods or ()) or path in APART or path.startswith("/sign-in"):
            continue
        names = re.findall(r"{(\w+)(?::\w+)?}", path)
        if all(name in known for name in names):
            first = path.split("/")[1]
            pages.append(
                re.sub(
                    r"{(\w+)(?::\w+)?}",
                    lambda name: known.get(f"{first}/{name[1]}", known[name[1]]),  # noqa: B023 - called at once
                    path,
                )
            )
        else:
            without.append(path)
    together = [f"/exceptions/together?id={known['exception_id']}"] if "exception_id" in known else []
    return [*pages, *VIEWS, *together], without


def cookie(organisation: Organisation) -> dict[str, str]:
    """The owner's session, which begins now."""
    from api.dashboard import session

    owner = organisation.owner
    sealed = session._sealed(session.begun(owner.access_token, owner.refresh_token, organisation.tenant_id))
    return {session.cookie_name(): sealed}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a page costs. size, packed: bytes, with style sheet and scripts. ms: the median time; least: the least one,
    which is nearest to what the page takes where nothing else runs. slowest: of its statements.
    """

    name: str
    status: int
    size: int
    packed: int
    statements: int
    ms: float
    least: float
    slowest: str

    @property
    def slow(self) -> bool:
        return self.ms > TARGET_MS

    @property
    def wrong(self) -> bool:
        """Whatever the machine has to do besides, this is not as it should be."""
        return self.size > TARGET_BYTES or self.status != 200

    def row(self, trivial: float) -> str:
        """A row of the table; trivial: the least time of a page that asks for nothing."""
        over = " **over**" if self.slow or self.wrong else ""
        status = "" if self.status == 200 else f" ({self.status})"
        return (
            f"| `{self.name}`{status} | {self.size / 1000:.0f} | {self.packed / 1000:.0f} | {self.statements} |"
            f" {self.ms:.0f}{over} | {self.least:.0f} | {self.least / trivial:.0f} |"
        )


async def measured(
    client: httpx.AsyncClient, path: str, rounds: int, statements: Statements, sizes: dict[str, tuple[int, int]]
) -> Cost:
    """Asks for a page once, and then so often that its time can be told. sizes: of the files seen so far, added to."""
    times = []
    answer = await client.get(path)
    for _ in range(rounds):
        statements.seen.clear()
        begun = time.perf_counter()
        answer = await client.get(path)
        times.append((time.perf_counter() - begun) * 1000)
    asked = list(statements.seen)
    files = sorted(set(_ASSET.findall(answer.text)))
    for each in files:
        if each not in sizes:
            content = (await client.get(each)).content
            sizes[each] = len(content), len(gzip.compress(content, 6))
    slowest = max(asked, default=(0.0, ""))
    return Cost(
        name=re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "{id}", path),
        status=answer.status_code,
        size=len(answer.content) + sum(sizes[each][0] for each in files),
        packed=len(gzip.compress(answer.content, 6)) + sum(sizes[each][1] for each in files),
        statements=len(asked),
        ms=statistics.median(times),
        least=min(times),
        slowest=f"{slowest[0]:.0f} ms: {' '.join(slowest[1].split())[:150]}",
    )


async def table(organisation: Organisation, known: dict[str, str], rounds: int, statements: Statements) -> bool:
    """Prints a row for each page, then those that miss a target; answers whether all are of the size that they may be.

    The last column is a page's least time as a multiple of that of a page without any statement, for machines differ.
    """
    from api.config import settings
    from api.index import app

    pages, without = addresses(known)
    sizes: dict[str, tuple[int, int]] = {}
    costs: list[Cost] = []
    print("| page | KB | KB packed | statements | ms | least | of a trivial page |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for path in [TRIVIAL, *(each for each in pages if each != TRIVIAL)]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=settings().public_url, cookies=cookie(organisation)
        ) as client:
            costs.append(await measured(client, path, rounds, statements, sizes))
        print(costs[-1].row(costs[0].least), flush=True)
    print("Not measured, for want of an example:", ", ".join(without) or "none")
    over = [each for each in costs if each.slow or each.wrong]
    print(f"{len(over)} of {len(costs)} pages miss {TARGET_MS} ms or {TARGET_BYTES // 1000} KB")
    print(*(f"{each.row(costs[0].least)} {each.slowest}" for each in over), sep="\n")
    return not any(each.wrong for each in costs)


def prepared(world: World, actions: int, waiting: int, events: int) -> tuple[Organisation, dict[str, str]]:
    """The large tenant, and what stands in the addresses of its pages."""
    organisation = founded(world)
    with at_work(organisation) as agent:
        agent.propose(PAY, payment())
        amendment_of(organisation, agent)
        asked = agent.propose(NOTE, note("Called back"), confidence=0.1)
        crowded = crowd(
            world,
            organisation.tenant_id,
            organisation.owner.user_id,
            asked["id"],
            actions=actions,
            waiting=waiting,
            events=events,
        )
    an_alert(world, organisation, kind="action.unknown", severity="critical", title="Nobody knows")  # and an incident
    new_channel(organisation.owner)
    erase = {"subject": {"type": "iban", "id": "DE75512108001245126199"}, "reason": "They asked us to."}
    ok(organisation.owner.api.post("/v1/erasures", json=erase, headers=once()))
    rules = ok(organisation.owner.api.get("/v1/constitution"))
    drafted(organisation.owner, rules["rules"], rules["version"])
    stop = {"scope": "workflow", "target": "pay-vendor-bills", "reason": "A drill"}
    ok(organisation.owner.api.post("/v1/kill-switches", json=stop, headers=once()))
    os.environ.update(world.stack.environment())
    return organisation, examples(world, organisation, crowded)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    run = cluster.Run()
    try:
        server = cluster.start(run.state())
        with (
            tempfile.TemporaryDirectory() as state,
            cluster.cloned(server) as database,
            running(Path(state), database, access_seconds=7200) as world,
        ):
            begun = time.perf_counter()
            organisation, known = prepared(world, asked.actions, asked.waiting, asked.events)
            print(f"{asked.actions:,} actions, {asked.waiting:,} waiting, {asked.events:,} audit events, "
                  f"made in {time.perf_counter() - begun:.0f} s; median of {asked.rounds}")  # fmt: skip
            before = os.getloadavg()[0]
            fits = asyncio.run(table(organisation, known, asked.rounds, Statements()))
            print(f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")
    finally:
        run.end()
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
