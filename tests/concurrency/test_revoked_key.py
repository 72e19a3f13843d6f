"""A key that has ended is refused by whoever is asked next, however warm: several instances of the API under load.

The clock is one: the threads that propose and the person who ends the key share this process's monotonic clock. What
began after the end was answered must be refused; what began before may have been either.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from sandbox.organisation import AGENT_SCOPES, ok, once
from sandbox.ports import Reservation
from sandbox.state import CHECKOUT
from tests.concurrency.patience import eventually
from tests.concurrency.world import World

pytestmark = pytest.mark.slow

INSTANCES, THREADS_EACH = 3, 3
#: How many requests each thread sends after the end was answered, and how long all of it may take.
LATE, SECONDS = 16, 90


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent, whether it only read, which instance it went to, and what came back."""

    began: float
    read: bool
    instance: str
    status: int
    code: str | None


@dataclass(frozen=True)
class Key:
    id: str
    secret: str
    account: str


@pytest.fixture(scope="module")
def instances(world: World) -> Iterator[list[str]]:
    """The stack's API and others beside it, on the same database: each a process with a memory of its own."""
    with contextlib.ExitStack() as running:
        held = [running.enter_context(Reservation()).port for _ in range(INSTANCES - 1)]
        urls = [world.stack.url["api"], *(f"http://127.0.0.1:{port}" for port in held)]
        for url in urls[1:]:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "uvicorn",
                    "api.index:app",
                    "--port",
                    url.rsplit(":", 1)[1],
                    "--log-level",
                    "error",
                ],
                cwd=CHECKOUT,
                env=os.environ | world.stack.environment(),
                start_new_session=True,
            )
            running.callback(process.wait, 30)
            running.callback(process.terminate)
        for url in urls:
            eventually(lambda url=url: _lives(url), f"{url} answers")  # type: ignore[misc]
        yield urls


def _lives(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


_NAMES = itertools.count(1)


@pytest.fixture
def key(world: World) -> Key:
    """A key of a service account of its own, so that ending either is nobody else's business."""
    owner = world.organisation.owner.api
    account = ok(owner.post("/v1/service-accounts", json={"name": f"load {next(_NAMES)}"}, headers=once()))["id"]
    body = {"environment": "sandbox", "scopes": AGENT_SCOPES}
    made = ok(owner.post(f"/v1/service-accounts/{account}/keys", json=body, headers=once()))
    return Key(made["id"], made["secret"], account)


def revoke(owner: httpx.Client, key: Key) -> httpx.Response:
    return owner.delete(f"/v1/keys/{key.id}")


def rotate_without_overlap(owner: httpx.Client, key: Key) -> httpx.Response:
    return owner.post(f"/v1/keys/{key.id}/rotate", json={"grace_seconds": 0}, headers=once())


def disable_the_account(owner: httpx.Client, key: Key) -> httpx.Response:
    return owner.delete(f"/v1/service-accounts/{key.account}")


def remove_the_scope(owner: httpx.Client, key: Key) -> httpx.Response:
    scopes = [scope for scope in AGENT_SCOPES if scope != "actions.propose"]
    return owner.patch(f"/v1/keys/{key.id}", json={"scopes": scopes})


ENDS: dict[Callable[[httpx.Client, Key], httpx.Response], tuple[int, str]] = {
    revoke: (401, "unauthenticated"),
    rotate_without_overlap: (401, "unauthenticated"),
    disable_the_account: (401, "unauthenticated"),
    remove_the_scope: (403, "permission_denied"),
}


def hammer(world: World, instance: str, key: Key, ended: list[float], warm: threading.Barrier) -> list[Answer]:
    """Proposes and reads without pause until well after the end; the first two answers make the instance warm."""
    answers: list[Answer] = []
    late = 0
    headers = {"Authorization": f"Bearer {key.secret}"}
    with httpx.Client(base_url=instance, headers=headers, timeout=60) as agent:
        give_up = time.monotonic() + SECONDS
        while late < LATE and time.monotonic() < give_up:
            body, read = world.payment(), len(answers) % 2 == 1
            began = time.monotonic()
            if read:  # through the other door
                answer = agent.get(f"/v1/runs/{world.run_id}")
            else:
                answer = agent.post("/v1/actions", json=body, headers=once())
            answers.append(Answer(began, read, instance, answer.status_code, answer.json().get("code")))
            late += bool(ended) and began > ended[0]
            if len(answers) == 2:
                warm.wait(timeout=SECONDS)
    return answers


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_nothing_that_begins_after_the_end_succeeds(
    world: World, instances: list[str], key: Key, end: Callable[[httpx.Client, Key], httpx.Response]
) -> None:
    refusal = ENDS[end]
    ended: list[float] = []
    clients = [instance for instance in instances for _ in range(THREADS_EACH)]
    warm = threading.Barrier(len(clients) + 1)
    with ThreadPoolExecutor(len(clients)) as pool:
        sent = [pool.submit(hammer, world, instance, key, ended, warm) for instance in clients]
        warm.wait(timeout=SECONDS)
        time.sleep(0.5)
        ok(end(world.organisation.owner.api, key))
        ended.append(time.monotonic())
        answers = [answer for future in sent for answer in future.result(timeout=2 * SECONDS)]
    late = [answer for answer in answers if answer.began > ended[0]]
    early = [answer for answer in answers if answer.began <= ended[0]]
    # Every instance had it in memory, and every one was asked again.
    assert {a.instance for a in early if a.status == 201} == {a.instance for a in late} == set(instances)
    assert len(late) >= LATE * len(clients)
    proposals, reads = ({(a.status, a.code) for a in late if a.read is read} for read in (False, True))
    assert proposals == {refusal}
    assert reads == {refusal if end is not remove_the_scope else (200, None)}
    # A read that is let in and then finds nothing met the end between its two statements.
    between = {(409, "epoch_moved"), (404, "not_found"), refusal}
    assert {(a.status, a.code) for a in early} <= {(201, None), (200, None)} | between
    assert _in_the_log(world, key, Counter(a.status for a in answers)[201]) == []
    world.check()


def _in_the_log(world: World, key: Key, proposed: int) -> list[dict[str, Any]]:
    """What the key did after its end in the order of commits; every success is in the log, and before it."""
    events = world.rows(
        "select seq, type, record::jsonb -> 'principal' ->> 'key_id' as by_key from app.audit_events"
        " where tenant_id = %s and (subject_id = any (%s) and type like '%%.updated'"
        " or type = 'action.proposed' and record::jsonb -> 'principal' ->> 'key_id' = %s) order by seq",
        world.organisation.tenant_id,
        [key.id, key.account],
        key.id,
    )
    assert Counter(event["type"] for event in events)["action.proposed"] == proposed
    at = next(n for n, event in enumerate(events) if event["type"] != "action.proposed")
    return [event for event in events[at:] if event["by_key"] == key.id]
