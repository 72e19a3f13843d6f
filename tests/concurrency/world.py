"""A whole stack with an organisation at work in it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import urllib.error
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from sandbox.organisation import Organisation, found, ok, once
from sandbox.stack import Databases, Stack
from tests.concurrency import agreement
from tests.concurrency.outside import Outside
from tests.concurrency.patience import eventually, persistently

PAY = "sandbox_bank.payments.create"
SEND = "sandbox_crm.messages.send"
NOTE = "sandbox_crm.notes.create"
FINAL = {"succeeded", "failed", "unknown", "dead_letter", "rejected", "expired", "superseded", "cancelled", "denied"}
#: Seconds of a lease. Long, as a provider's time to answer is: what this machine is slow at is no fault of anybody's.
#: Where a lease has to be over, its time is made to pass (World.let_pass).
LEASE = 60
SETTINGS = {"COUNTERSIGN_LEASE_SECONDS": str(LEASE), "COUNTERSIGN_PROVIDER_TIMEOUT": "20"}

INSTRUCTION = (
    "Pay the bills. Send ada@juniper.example a message about her carpets. Note on con_ada that she was called."
)
_READ_FIELDS = {
    "sandbox_bank.bills.list": ["/bills/*/id", "/bills/*/iban", "/bills/*/amount", "/bills/*/vendor_name"],
    "sandbox_bank.payments.find": ["/payments/*/id"],
    "sandbox_crm.messages.find": ["/messages/*/id"],
    "sandbox_crm.notes.find": ["/notes/*/id"],
    "sandbox_crm.contacts.get": ["/id", "/email"],
}


@dataclass
class World(Outside):
    """A running stack, one organisation in it, and the run that its agent works in."""

    organisation: Organisation
    owner_url: str
    slug: str = "pay-vendor-bills"
    run_id: str = ""
    observation_id: str = ""
    limits: list[dict[str, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.agent = self.organisation.agent()
        self.mark = self.organisation.tenant_id[-12:]

    # Working as the agent and as the people of the organisation.

    def begin(self) -> None:
        """Connects both providers, puts the workflow live, starts a run and looks at the bills."""
        for provider in ("sandbox_bank", "sandbox_crm"):
            for access in ("read", "write"):
                self.organisation.connect(provider, access)
        self.organisation.go_live(self.slug, "Pay vendor bills", self.spec())
        self.start_run()

    def spec(self) -> dict[str, Any]:
        tools: dict[str, Any] = {name: {"access": "read", "read_fields": seen} for name, seen in _READ_FIELDS.items()}
        known = ["financial", "personal", "internal"]
        alone = {"access": "write", "data_classes": known, "irreversible_alone": True}
        mail = alone | {"outbound": {"recipients": ["@juniper.example"], "any_text": True}}
        tools |= {PAY: {"access": "write", "data_classes": known}, SEND: mail, NOTE: alone}
        return {
            "purpose": "Pay vendor bills",
            "owner": self.organisation.owner.email,
            "escalation_contact": self.organisation.owner.email,
            "stage": "autonomous",
            "connections": self.organisation.bindings(),
            "tools": tools,
            "data_classes": known,
            "limits": self.limits,
            "counterparty_approvals": 1,
        }

    def new_version(self) -> None:
        """Puts another version of the workflow live, which ends the runs of the one before."""
        owner, approver = self.organisation.owner, self.organisation.approver
        path = f"/v1/workflows/{self.slug}/versions"
        version = ok(owner.api.post(path, json={"spec": self.spec()}, headers=once()))["version"]
        ok(owner.api.post(f"{path}/{version}/submit", headers=once()))
        ok(approver.api.post(f"{path}/{version}/approve", json={"reason": "the same"}, headers=once()))

    def start_run(self) -> None:
        body = {"workflow": self.slug, "instruction": INSTRUCTION}
        self.run_id = ok(self.agent.post("/v1/runs", json=body, headers=once()))["id"]
        self.observation_id = self.observe("sandbox_bank.bills.list", {})["id"]

    def observe(self, tool: str, args: dict[str, Any]) -> dict[str, Any]:
        path = f"/v1/runs/{self.run_id}/observations"
        seen: dict[str, Any] = ok(self.agent.post(path, json={"tool": tool, "args": args}, headers=once()))
        return seen

    def proposal(self, tool: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "workflow": self.slug,
            "run_id": self.run_id,
            "tool": tool,
            "args": dict(args),
            "confidence": 0.95,
            "rationale": "due",
            "citations": ["look-before-paying"],
            "evidence": [{"observation_id": self.observation_id}],
        }

    def payment(self, amount: int = 100) -> dict[str, Any]:
        """The body of a proposed payment with a reference of its own."""
        order = {
            "from_account": "acc_operating",
            "to_iban": "DE94000123450532013000",
            "to_name": "Northwind Paper GmbH",
            "amount": amount,
            "currency": "EUR",
            "reference": f"{self.mark}-{next(self._numbers)}",
        }
        return self.proposal(PAY, order)

    def message(self) -> dict[str, Any]:
        """The body of a proposed message with a text of its own."""
        mail = {
            "to": "ada@juniper.example",
            "subject": "Your carpets",
            "body": f"They arrive on Monday ({self.mark}-{next(self._numbers)}).",
        }
        return self.proposal(SEND, mail)

    def note(self) -> dict[str, Any]:
        """The body of a proposed note with a text of its own."""
        body = f"She was called ({self.mark}-{next(self._numbers)})."
        return self.proposal(NOTE, {"contact_id": "con_ada", "body": body})

    def propose(self, body: dict[str, Any]) -> dict[str, Any]:
        key = once()
        action: dict[str, Any] = persistently(lambda: self.agent.post("/v1/actions", json=body, headers=key))
        assert action["status"] in ("authorized", "awaiting_approval"), action
        return action

    def approve(self, action: Mapping[str, Any], approver: httpx.Client | None = None) -> str:
        """Gives the approvals that the action waits for; answers its id."""
        if action["status"] == "awaiting_approval":
            path = f"/v1/exceptions/{action['exception']['id']}/decision"
            verdict = {"verdict": "approve", "digest": action["digest"], "reason": "seen the bill"}
            for person in (approver or self.organisation.approver.api, self.organisation.owner.api):
                decided = persistently(partial(person.post, path, json=verdict, headers=once()))
                if decided["status"] == "approved":
                    break
            assert decided["status"] == "approved", decided
        return str(action["id"])

    def do(self, body: dict[str, Any]) -> str:
        """Proposes and approves; the id of the authorized action."""
        return self.approve(self.propose(body))

    def park(self, bodies: Iterable[dict[str, Any]]) -> list[str]:
        """Proposes and approves without anything being executed yet; the ids of what is authorized and due."""
        # Without a citation even what an agent may do alone waits for a person (rule say-why).
        with ThreadPoolExecutor(4) as pool:
            proposed = list(pool.map(self.propose, [body | {"citations": []} for body in bodies]))
        switch = self.engage("tenant")
        approver = self.organisation.approver.api
        with httpx.Client(base_url=approver.base_url, headers=approver.headers, timeout=60) as line:
            ids = [self.approve(action, line) for action in proposed]
            ok(line.get("/v1/me"))
        self.quiet()  # every execution in the background has met the switch
        self.release(switch)
        return ids

    def engage(self, scope: str, target: str | None = None) -> dict[str, Any]:
        body = {"scope": scope, "target": target, "reason": "stop"}
        switch: dict[str, Any] = ok(self.organisation.owner.api.post("/v1/kill-switches", json=body, headers=once()))
        return switch

    def release(self, switch: Mapping[str, Any]) -> None:
        path = f"/v1/kill-switches/{switch['id']}/release"
        ok(self.organisation.owner.api.post(path, json={"reason": "go on"}, headers=once()))

    def reconcile(self, action_id: str, outcome: str | None = None) -> httpx.Response:
        body = {"reason": "looked"} | ({"outcome": outcome} if outcome else {})
        return self.organisation.owner.api.post(f"/v1/actions/{action_id}/reconcile", json=body, headers=once())

    def quiet(self) -> None:
        """Waits until the API has been doing nothing in the database for a while, in the background neither."""
        busy = (
            "select 1 from pg_stat_activity where datname = current_database() and application_name = 'countersign'"
            " and state <> 'idle'"
        )
        still = 0

        def calm() -> bool:
            nonlocal still
            still = 0 if self.rows(busy) else still + 1
            return still == 5

        eventually(calm, "the API comes to rest")

    # Time passing.

    def tick(self) -> dict[str, int]:
        """One call of the scheduler; what it meets while a part is down is an empty answer."""
        try:
            return self.stack.tick()
        except (urllib.error.URLError, OSError, ValueError):
            return {}

    def settle(self, ids: Iterable[str], *, hurry: bool = True) -> dict[str, str]:
        """Ticks until every action has come to an end; the status of each."""
        wanted = list(ids)

        def ended() -> dict[str, str] | None:
            if hurry:
                self.hurry(wanted)
            self.tick()
            now = self.statuses(wanted)
            return now if set(now.values()) <= FINAL else None

        return eventually(ended, lambda: f"the actions end: {Counter(self.statuses(wanted).values())}")

    def hurry(self, ids: Iterable[str]) -> None:
        """Lets the time pass until the next attempt of these actions is due."""
        statement = (
            "update app.actions set next_attempt_at = now()"
            " where id = any (%s::uuid[]) and status = 'authorized' and next_attempt_at > now()"
        )
        with contextlib.suppress(psycopg.OperationalError), self.database() as connection:
            connection.execute(statement, [list(ids)])
            self._no_waiting(connection)

    def calm(self) -> None:
        """Lets so much time pass that no connection waits for its provider to come back."""
        with contextlib.suppress(psycopg.OperationalError), self.database() as connection:
            self._no_waiting(connection)

    def let_pass(self, ids: Iterable[str], seconds: int = LEASE) -> None:
        """Lets the attempts at these actions have been made so much earlier; by default their leases are over."""
        columns = ("started_at", "sent_at", "finished_at", "lease_expires_at")
        earlier = ", ".join(f"{column} = {column} - make_interval(secs => %(seconds)s)" for column in columns)
        update = f"update app.attempts set {earlier} where action_id = any (%(ids)s::uuid[])"
        with self.database() as connection, connection.transaction():
            # Whoever has locked one of the rows ends first: he may want to write to the table, too.
            connection.execute("lock table app.attempts in access exclusive mode")
            connection.execute("alter table app.attempts disable trigger user")
            connection.execute(update.encode(), {"seconds": seconds, "ids": list(ids)})
            connection.execute("alter table app.attempts enable trigger user")

    def _no_waiting(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("delete from private.handouts")
        connection.execute(
            "update private.connection_flow set closed_until = '-infinity', open_until = '-infinity',"
            " probe_until = '-infinity', circuit = 'closed', failures = 0, window_calls = 0, window_failures = 0"
        )

    # What the database knows.

    def database(self) -> psycopg.Connection[dict[str, Any]]:
        return psycopg.connect(self.owner_url, autocommit=True, row_factory=dict_row)

    def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        with self.database() as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def statuses(self, ids: Iterable[str]) -> dict[str, str]:
        found = self.rows("select id::text, status from app.actions where id = any (%s::uuid[])", list(ids))
        return {row["id"]: row["status"] for row in found}

    def action(self, action_id: str) -> dict[str, Any]:
        return self.rows("select * from app.actions where id = %s", action_id)[0]

    def attempts(self, action_id: str) -> list[dict[str, Any]]:
        return self.rows("select * from app.attempts where action_id = %s order by number", action_id)

    def connection_status(self, name: str) -> tuple[str, str | None]:
        connection_id = self.organisation.connections[name]
        row = self.rows("select status, status_reason from app.connections where id = %s", connection_id)[0]
        return row["status"], row["status_reason"]

    def let_expire(self, name: str, seconds: int = 0) -> None:
        """Lets a connection's access token be over so soon, as far as we know, with nobody at replacing it."""
        statement = (
            "update app.credentials set token_expires_at = now() + make_interval(secs => %s),"
            " refresh_lease_until = now() where connection_id = %s returning 1"
        )
        assert self.rows(statement, seconds, self.organisation.connections[name])

    @contextlib.contextmanager
    def settings(self, changed: Mapping[str, str]) -> Iterator[None]:
        """Runs the API with other settings for a while."""
        before = self.stack.settings
        self._restart_with({**before, **changed})
        try:
            yield
        finally:
            self._restart_with(before)

    def _restart_with(self, settings: Mapping[str, str]) -> None:
        self.stack.kill("api")
        self.stack.settings = settings
        self.stack.restart("api")

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stops a part as a host that freezes functions does: it goes on later as if no time had passed."""
        pid = int((self.stack.state / f"{name}.pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    # Whether both tell the same story.

    def check(self) -> None:
        """Every status agrees with the bank's truth, every change is in the audit log, and nothing is under way."""
        agreement.check_bank(self)
        agreement.check_audit(self)


@contextlib.contextmanager
def running(
    state: Path,
    databases: Databases,
    owner_url: str,
    settings: Mapping[str, str] | None = None,
    access_seconds: int = 3600,
) -> Iterator[World]:
    """A stack without a schedule, with one organisation ready to pay."""
    everything = SETTINGS | dict(settings or {})
    with Stack(state, databases, schedule=None, settings=everything, access_seconds=access_seconds) as stack:
        world = World(stack, found(stack), owner_url)
        world.begin()
        yield world


def another(world: World, name: str) -> World:
    """A second organisation in the same stack."""
    neighbour = World(world.stack, found(world.stack, name), world.owner_url)
    neighbour.begin()
    return neighbour
