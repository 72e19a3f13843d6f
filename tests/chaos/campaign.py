"""Carries a plan out against a whole stack, and settles what is left as people would."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import psycopg

from sandbox import postgres
from sandbox.organisation import RefusedError, once
from sandbox.state import CHECKOUT
from tests.chaos.plan import KINDS, Blow, Plan
from tests.concurrency.patience import eventually, persistently
from tests.concurrency.world import FINAL, World

#: What the workers call, as a deployment's scheduler does.
FUNCTIONS = ("execute_actions", "refresh_tokens")
PROPOSERS = 4
#: What is on its way to a provider mostly arrives in so many seconds; what does not is lost with its process.
QUIET_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Done:
    """What was authorized: the kind, and the amount in cents."""

    kind: str
    amount: int


@dataclass
class Campaign:
    """actions: by id, everything that was authorized. happened: what went wrong, counted."""

    world: World
    plan: Plan
    say: Callable[[str], None] = lambda _: None
    actions: dict[str, Done] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    by_hand: Counter[str] = field(default_factory=Counter)
    seconds: float = 0
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Everything: work under fire, then quiet, then the people who look after what is theirs."""
        began = time.monotonic()
        with self._working():
            over = threading.Event()
            monkey = threading.Thread(target=self._go_wrong, args=(over,), daemon=True)
            monkey.start()
            with ThreadPoolExecutor(PROPOSERS) as pool:
                list(pool.map(self._do, range(len(self.plan.kinds))))
            over.set()
            monkey.join(timeout=300)
            assert not monkey.is_alive(), "what goes wrong has not come to an end"
            self.say(f"{len(self.actions)} actions are authorized; nothing goes wrong any more")
            self.world.mend("bank")
            self.world.mend("crm")
            self._until_settled()
            self._nothing_on_its_way()
            self._people()
            self._until_settled()
        self.seconds = time.monotonic() - began

    # The work.

    def _do(self, number: int) -> None:
        kind = self.plan.kinds[number]
        body = self._body(kind, number)
        action = self._authorized(body)
        with self._lock:
            self.actions[action] = Done(kind, body["args"].get("amount", 0))
            if len(self.actions) % 100 == 0:
                killed = sum(count for name, count in self.happened.items() if name.endswith("killed"))
                wrong = sum(self.happened.values()) - killed
                self.say(f"{len(self.actions)} authorized, {wrong} faults ordered, {killed} processes killed")

    def _body(self, kind: str, number: int) -> dict[str, Any]:
        if kind == "payment":
            return self.world.payment(self.plan.amounts[number])
        if kind == "message":
            return self.world.message()
        return self.world.note()

    def _authorized(self, body: dict[str, Any]) -> str:
        """Proposes and approves as careful clients do: each asks again with its key until it is answered."""
        action = self.world.propose(body)
        if action["status"] == "authorized":
            return str(action["id"])
        path = f"/v1/exceptions/{action['exception']['id']}/decision"
        verdict = {"verdict": "approve", "digest": action["digest"], "reason": "seen"}
        approver = self.world.organisation.approver.api
        decided = persistently(partial(approver.post, path, json=verdict, headers=once()))
        assert decided["status"] == "approved", decided
        return str(action["id"])

    # What goes wrong.

    def _go_wrong(self, over: threading.Event) -> None:
        faults, blows = iter(self.plan.faults), iter(self.plan.blows)
        fault, blow = next(faults, None), next(blows, None)
        while fault or blow:
            done = len(self.actions)
            while fault and (fault.at <= done or over.is_set()):
                if not over.is_set():
                    self._break(fault.provider, fault.operation, fault.kind, fault.more)
                fault = next(faults, None)
            if blow and (blow.at <= done or over.is_set()):
                self._strike(blow)
                blow = next(blows, None)
            time.sleep(0.02)

    def _break(self, provider: str, operation: str, kind: str, more: dict[str, Any]) -> None:
        def ordered() -> bool:
            with suppress(httpx.TransportError):
                self.world.break_next(provider, operation, kind, **more)
                return True
            return False

        eventually(ordered, f"the {provider} takes the order of a fault")
        self.happened[f"{provider} {operation}: {kind}{' after the work' if more.get('after') else ''}"] += 1

    def _strike(self, blow: Blow) -> None:
        """Kills without warning (SIGKILL) and starts again."""
        self.happened[f"{blow.what} killed"] += 1
        if blow.what == "worker":
            number = self.happened["worker killed"] % len(self._workers)
            self._kill(self._workers[number])
            self._workers[number] = self._launch(number)
        elif blow.what == "postgres":
            postgres.kill(self.world.stack.state)
            time.sleep(0.3)
            postgres.start(self.world.stack.state)
        else:
            self.world.stack.kill(blow.what)
            self.world.stack.restart(blow.what)

    # The workers.

    @contextmanager
    def _working(self) -> Iterator[None]:
        self._workers = [self._launch(number) for number in range(len(self.plan.skews))]
        try:
            yield
        finally:
            for worker in self._workers:
                self._kill(worker)

    def _launch(self, number: int) -> subprocess.Popen[bytes]:
        named = itertools.chain.from_iterable(("--function", name) for name in FUNCTIONS)
        with (self.world.stack.state / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker", "--skew", str(self.plan.skews[number]), *named],
                cwd=CHECKOUT,
                env=os.environ | self.world.stack.environment() | {"COUNTERSIGN_POOL_SIZE": "4"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @staticmethod
    def _kill(worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait()

    # The end.

    def statuses(self) -> dict[str, str]:
        return self.world.statuses(self.actions)

    def _until_settled(self) -> None:
        """Lets time pass, pauses between attempts included, until nothing is under way."""

        def settled() -> bool:
            with suppress(psycopg.OperationalError):
                self.world.hurry(self.actions)
                return set(self.statuses().values()) <= FINAL
            return False

        eventually(settled, self._left, seconds=480)

    def _left(self) -> str:
        """What is still under way, for whoever has to find out why: the plan's seed, and what was tried last."""
        open_ones = [action for action, status in self.statuses().items() if status not in FINAL]
        statement = (
            "select a.id::text, a.status, a.next_attempt_at::text, t.number, t.status as attempt, t.put_off, t.error"
            " from app.actions a left join lateral (select * from app.attempts t where t.tenant_id = a.tenant_id"
            " and t.action_id = a.id order by number desc limit 1) t on true where a.id = any (%s::uuid[]) limit 5"
        )
        with self.world.database() as connection:
            last = connection.execute(statement, [open_ones]).fetchall()
        return f"everything comes to an end (seed {self.plan.seed}): {len(open_ones)} are open, such as {last}"

    def _nothing_on_its_way(self) -> None:
        """Nothing is under way any more by our books; from now on nothing is at the providers either."""
        time.sleep(QUIET_SECONDS)
        for provider in ("bank", "crm"):
            self.world.stack.kill(provider)
            self.world.stack.restart(provider)

    def _people(self) -> None:
        """They look at the provider and say what became of the unknown, and requeue the dead letters."""
        api = self.world.organisation.owner.api
        for action, status in self.statuses().items():
            if status == "unknown":
                outcome = "succeeded" if self.found(action) else "failed"
                body = {"outcome": outcome, "reason": "looked it up at the provider"}
                if self._told(partial(api.post, f"/v1/actions/{action}/reconcile", json=body, headers=once())):
                    self.by_hand[f"unknown, found to have {outcome}"] += 1
            elif status == "dead_letter":
                body = {"reason": "the provider is well again"}
                persistently(partial(api.post, f"/v1/actions/{action}/requeue", json=body, headers=once()))
                self.by_hand["dead letter, requeued"] += 1

    @staticmethod
    def _told(send: Callable[[], httpx.Response]) -> bool:
        """Whether the person was the first to say it: an executor may have looked it up just before."""
        try:
            persistently(send)
        except RefusedError as refused:
            if '"code":"not_unknown"' in str(refused):
                return False
            raise
        return True

    def found(self, action: str) -> int:
        """How often the outside world has it, by its own files."""
        mark = f"cs_{action}"
        match self.actions[action].kind:
            case "payment":
                return len(self.world.payments(action))
            case "note":
                return len(self.world.outside("crm", "select id from notes where idempotency_key = ?", mark))
        return len(self.world.messages(action))

    def hit(self) -> Counter[str]:
        """The faults that really met a write, by the journals of the providers."""
        statement = "select operation, fault from journal where fault is not null"
        met = Counter(
            f"{provider} {entry['operation']}: {entry['fault']}"
            for provider in ("bank", "crm")
            for entry in self.world.outside(provider, statement)
        )
        return Counter({name: count // 2 if name.endswith("duplicate") else count for name, count in met.items()})

    def deliveries_too_many(self) -> int:
        """Messages that the CRM was made to take twice by its own fault, which no client can keep it from."""
        operation = KINDS["message"][2]
        twice = [entry for entry in self.world.journal("crm", operation) if entry["fault"] == "duplicate"]
        return len(twice) // 2
