"""Two tenants with everything in them, and the ways to attack them, for attacks to be short.

People of every role, a service account with a key per environment, connections with a sealed (made-up)
envelope, and per environment a live workflow and a run: tests/db/founding.py builds them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import psycopg
import rfc8785
from psycopg import errors
from psycopg.types.json import Jsonb

from api.ids import new_id
from tests.cluster import Database
from tests.db.names import ACME, BILLS, EFFECTS, GLOBEX, NOTE, PAY, Environment, Row, Tenant, soon

#: What Postgres itself says to who lacks a privilege.
DENIED = errors.InsufficientPrivilege


@dataclass(frozen=True)
class Action:
    """A proposal as it was recorded."""

    tenant: Tenant
    id: str
    status: str
    digest: str
    payload: str
    exception: str
    environment: str
    arguments: Row = field(compare=False, repr=False)


@contextmanager
def refusal(*reasons: str | type[psycopg.Error], note: object = "") -> Iterator[None]:
    """Asserts that the database refuses what happens inside, for one of these reasons.

    A reason is a code of ours (the error's detail) or a psycopg error class; without any, every refusal counts.
    `note` says in a failure which of several attacks it was.
    """
    raised: psycopg.Error | None = None
    try:
        yield
    except psycopg.Error as error:
        raised = error
    assert raised is not None, f"the attack was let through: {note}"
    classes = tuple(reason for reason in reasons if not isinstance(reason, str))
    code = raised.diag.message_detail if (raised.sqlstate or "").startswith("CS") else None
    assert not reasons or code in reasons or isinstance(raised, classes), f"{note}: {code} {raised!r}"


class World:
    """The two tenants in one database, and the connections to attack it through."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._open: dict[tuple[str, str], psycopg.Connection[Any]] = {}

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()

    def connection(self, role: str, purpose: str = "") -> psycopg.Connection[Any]:
        """A connection as a role that this world keeps open; there is another one for every purpose."""
        if (role, purpose) not in self._open:
            self._open[role, purpose] = self.database.connect(role)
        return self._open[role, purpose]

    @property
    def api(self) -> psycopg.Connection[Any]:
        """The application's login."""
        return self.connection("countersign_api")

    @property
    def owner(self) -> psycopg.Connection[Any]:
        """The owner of every table: may do any DML, is no superuser."""
        return self.connection("postgres")

    @property
    def root(self) -> psycopg.Connection[Any]:
        """The superuser, to look and to tamper with."""
        return self.connection("superuser")

    def call(
        self,
        claims: Mapping[str, Any],
        function: str,
        args: Row | None = None,
        *,
        key: str | None = None,
        request: str | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> Row:
        """Calls a function through the hot door, as the application does; answers its result."""
        answer = self.answer(claims, function, args, key=key, request=request, connection=connection)
        result: Row = answer["result"]
        return result

    def answer(
        self,
        claims: Mapping[str, Any],
        function: str,
        args: Row | None = None,
        *,
        key: str | None = None,
        request: str | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> Row:
        """As `call`, but answers {result, replayed}."""
        row = (connection or self.api).execute(
            "select app.call_v1(%s, %s, %s, %s, %s)",
            (json.dumps(claims), function, Jsonb(args or {}), key, request),
        ).fetchone()  # fmt: skip
        assert row is not None
        answer: Row = row[0]
        return answer

    def rows(self, statement: str, *values: object, role: str = "superuser") -> list[tuple[Any, ...]]:
        """Looks into the database past every rule."""
        cursor = self.connection(role).execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *values: object) -> Any:
        """The one value that a query of the superuser's gives."""
        return self.rows(statement, *values)[0][0]

    def waiter(self) -> psycopg.Connection[Any]:
        """A connection of the application's that waits for a lock for as long as it takes, and not for seconds."""
        connection = self.database.connect()
        connection.execute("set lock_timeout = 0; set statement_timeout = 0")
        return connection

    def until_somebody_waits(self, call: Future[Any]) -> None:
        """Returns when a session in this database waits for a lock, which the call is to be the one to do.

        The locks of other databases are told to everybody: other tests have some of the same cluster.
        """
        waiting = (
            "select 1 from pg_stat_activity a join pg_locks l on l.pid = a.pid"
            " where a.datname = current_database() and not l.granted"
        )
        while not self.rows(waiting):
            assert not call.done(), call.result()
            time.sleep(0.02)

    def beat(self) -> None:
        """The scheduled functions that a go-live relies on have run just now."""
        with self.api.transaction():
            self.api.execute("set local role countersign_worker")
            for function in ("execute_actions", "advance_runs", "expire_exceptions", "refresh_tokens", "purge_expired"):
                self.api.execute("select app.note_function_run_v1(%s, now(), true)", (function,))

    # What happens in a tenant.

    def admit(self, tenant: Tenant, user_id: str, role: str, email: str, name: str = "") -> Row:
        """Lets a person in as people join: an owner invites, and the person accepts."""
        invitation = {"id": str(new_id()), "email": email, "role": role, "name": name}
        self.call(tenant.user(), "invite_v1", invitation)
        person = {"kind": "user", "sub": user_id, "tenant_id": None, "aal": "aal1", "verified_email": email}
        return self.call(person, "accept_invitation_v1", {"id": invitation["id"]})

    def epoch(self, tenant: Tenant) -> int:
        return int(self.value("select control_epoch from app.tenants where tenant_id = %s", tenant.id))

    def proposal(
        self,
        tenant: Tenant,
        tool: str = PAY,
        args: Row | None = None,
        *,
        outcome: str = "escalate",
        environment: Environment = "production",
        effect: str | None = None,
        required: Row | None = None,
        by: Mapping[str, Any] | None = None,
        connection: str | None = None,
        limits: list[Row] | None = None,
        **more: Any,
    ) -> Row:
        """The arguments of record_action_v1 for a proposal, as api/actions/record.py makes them."""
        # Facts are asked for as the service does: a decision cites an epoch whose facts are kept.
        by = by or tenant.service(environment)
        facts = self.call(by, "gate_facts_v1", {"workflow": tenant.slug(environment)})["facts"]
        kind = "bank" if tool.startswith("sandbox_bank") else "crm"
        version = facts["known_tools"].get(tool, {}).get("version", 1)
        payload = {
            "tenant": tenant.id,
            "environment": environment,
            "workflow_version": facts["workflow"]["version"],
            "tool": tool,
            "tool_contract_version": version,
            "connection": connection or tenant.connection(f"{kind}/write", environment),
            "args": args or {"amount": 1299, "reference": str(new_id())},
        }
        canonical = rfc8785.dumps(payload).decode()
        decision = {
            "outcome": outcome,
            "decided_at": soon(seconds=0),
            "findings": [],
            "required_approvals": {
                "count": 0 if outcome == "allow" else 1,
                "roles": ["owner", "approver"],
                "aal": "aal1",
            }
            | (required or {}),
            "limits": [self.claimed(tenant, environment)] if limits is None else limits,
        }
        return {
            "id": str(new_id()),
            "decision_id": str(new_id()),
            "exception_id": str(new_id()),
            "run_id": tenant.run(environment),
            "workflow_id": tenant.workflow(environment),
            "epoch": facts["epoch"],
            "tool": tool,
            "contract_version": version,
            "effect": EFFECTS[tool] if effect is None else effect,
            "connection_id": payload["connection"],
            "payload": canonical,
            "digest": "sha256:" + sha256(canonical.encode()).hexdigest(),
            "confidence": 0.9,
            "rationale": "matches the purchase order",
            "citations": [],
            "evidence": [],
            "subject": {"type": "bill", "id": "1042"},
            "decision": decision,
            "reasons": [],
            "severity": "high",
            "summary": "A payment waits",
            "expires_at": soon(days=1),
        } | more

    def claimed(self, tenant: Tenant, environment: Environment, **more: Any) -> Row:
        """What an action takes of a limit that counts and never ends."""
        return {
            "key": f"{tenant.mark(environment)}/counted", "name": "counted", "window_seconds": 3600, "currency": "EUR",
            "amount": 100, "count": 1, "max_amount": None, "max_count": None, "over": False, "exact": False,
            "seen": None,
        } | more  # fmt: skip

    def propose(self, tenant: Tenant, tool: str = PAY, args: Row | None = None, **more: Any) -> Action:
        """Records a proposal; a payment waits for a human, a note is authorized at once."""
        more.setdefault("outcome", "allow" if tool == NOTE else "escalate")
        by = more.get("by") or tenant.service(more.get("environment", "production"))
        proposal = self.proposal(tenant, tool, args, **more)
        made = self.call(by, "record_action_v1", proposal)
        assert made["recorded"], made
        return self.recorded(proposal, made)

    def recorded(self, proposal: Row, answer: Row) -> Action:
        """The action that a proposal became, by what record_action_v1 answered."""
        payload = json.loads(proposal["payload"])
        tenant = next(t for t in (ACME, GLOBEX) if t.id == payload["tenant"])
        return Action(
            tenant=tenant,
            id=proposal["id"],
            status=answer["status"],
            digest=proposal["digest"],
            payload=proposal["payload"],
            exception=proposal["exception_id"],
            environment=payload["environment"],
            arguments=proposal,
        )

    def payment(self, tenant: Tenant = ACME, **more: Any) -> Action:
        """A payment that waits for a human."""
        return self.propose(tenant, PAY, **more)

    def note(self, tenant: Tenant = ACME, **more: Any) -> Action:
        """A note in the CRM that may be written at once."""
        return self.propose(tenant, NOTE, **more)

    def verdict(self, action: Action, verdict: str = "approve", **more: Any) -> Row:
        """The arguments of decide_exception_v1."""
        return {
            "id": action.exception,
            "approval_id": str(new_id()),
            "verdict": verdict,
            "digest": action.digest,
            "reason": "seen",
            "approval_expires_at": soon(hours=12),
        } | more

    def approve(self, action: Action, who: str = "owner", aal: str = "aal2", **more: Any) -> Row:
        """A person's approval, through the door."""
        return self.call(action.tenant.user(who, aal), "decide_exception_v1", self.verdict(action, **more))

    def authorized(self, tenant: Tenant = ACME, tool: str = PAY, **more: Any) -> Action:
        """An action that may execute, approved where that is needed."""
        action = self.propose(tenant, tool, **more)
        if action.status == "awaiting_approval":
            self.approve(action)
        return action

    def claim(self, action: Action, lease_seconds: int = 60, **more: Any) -> Row:
        """Claims an attempt as the executor does."""
        args = {"action_id": action.id, "attempt_id": str(new_id()), "lease_seconds": lease_seconds} | more
        return self.call(action.tenant.system(), "claim_attempt_v1", args)

    def finish(self, tenant: Tenant, claimed: Row, outcome: str = "succeeded", **more: Any) -> Row:
        """Finishes a claimed attempt."""
        args = {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"], "outcome": outcome} | more
        return self.call(tenant.system(), "finish_attempt_v1", args)

    def observation(self, tenant: Tenant = ACME, environment: Environment = "production", **more: Any) -> Row:
        """The arguments of claim_observation_v1 for a read of the bank's bills."""
        return {
            "id": str(new_id()),
            "run_id": tenant.run(environment),
            "epoch": self.epoch(tenant),
            "tool": BILLS,
            "contract_version": 1,
            "connection_id": tenant.connection("bank/read", environment),
            "args": {},
            "lease_seconds": 60,
        } | more

    def stop(self, tenant: Tenant = ACME, scope: str = "tenant", target: str | None = None) -> str:
        """Engages a kill switch; answers its id."""
        args = {"id": str(new_id()), "scope": scope, "target": target or tenant.id, "reason": "stop"}
        return str(self.call(tenant.user("operator", "aal1"), "engage_kill_switch_v1", args)["id"])

    def status(self, action: Action) -> str:
        return str(self.value("select status from app.actions where id = %s", action.id))

    # What an attack must not do.

    def tables(self, *schemas: str) -> list[str]:
        """The qualified names of every table of these schemas, as the catalog has them."""
        found = self.rows(
            "select format('%%I.%%I', n.nspname, c.relname) from pg_class c"
            " join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p') and n.nspname = any (%s) order by 1",
            list(schemas),
        )
        return [name for (name,) in found]

    def fingerprint(self) -> dict[str, str]:
        """A hash of every table's rows, the vault's and the internal ones included.

        But for `key_uses`: that a key was used is noted whatever came of it.
        """
        parts = [
            f"select '{t}', md5(coalesce(string_agg(r::text, '|' order by r::text), '')) from {t} r"
            for t in self.tables("app", "private", "vault")
            if t != "app.key_uses"
        ]
        return {str(name): str(digest) for name, digest in self.rows(" union all ".join(parts))}

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Asserts that what happens inside leaves every row of every table as it was."""
        before = self.fingerprint()
        yield
        after = self.fingerprint()
        assert {name for name in after if after[name] != before.get(name)} == set()

    @contextmanager
    def refuses(self, *reasons: str | type[psycopg.Error], note: object = "") -> Iterator[None]:
        """Asserts that what happens inside is refused, as `refusal` does, and changes nothing."""
        with self.unchanged(), refusal(*reasons, note=note):
            yield

    @contextmanager
    def nothing_released(self) -> Iterator[None]:
        """Asserts that no credential leaves while something happens that may change other rows."""
        count = "select count(*) from app.credential_releases"
        before = self.value(count)
        yield
        assert self.value(count) == before

    def events(self, tenant: Tenant = ACME, after: int = 0) -> list[Row]:
        """The tenant's audit records beyond a sequence number, oldest first."""
        found = self.rows(
            "select record from app.audit_events where tenant_id = %s and seq > %s order by seq", tenant.id, after
        )
        return [json.loads(record) for (record,) in found]

    def last_event(self, tenant: Tenant = ACME) -> int:
        return int(self.value("select coalesce(max(seq), 0) from app.audit_events where tenant_id = %s", tenant.id))

    def verified(self, tenant: Tenant = ACME) -> Row:
        """What verify_audit_v1 says about the tenant's chain."""
        return self.call(tenant.user("owner"), "verify_audit_v1")
