"""Two tenants with everything in them, built through the application's own doors, for attacks to be short.

`acme` and `globex` are alike: people of every role, a service account with a key per environment, connections
with a sealed (made-up) envelope, and per environment a live workflow and a run. Ids follow from names, so that
the database can be built once, cloned for every test, and still be talked about.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

import psycopg
import rfc8785
from psycopg import errors
from psycopg.types.json import Jsonb

from api.ids import new_id
from tests.cluster import Database

Row = dict[str, Any]
Environment = Literal["sandbox", "production"]
ENVIRONMENTS: tuple[Environment, ...] = ("sandbox", "production")
TENANTS = ("acme", "globex")
#: Two people of each role that can approve, so that two can.
ROLES = {
    "owner": "owner", "owner2": "owner", "approver": "approver", "approver2": "approver", "admin": "admin",
    "operator": "operator", "developer": "developer", "auditor": "auditor",
}  # fmt: skip
PROVIDERS = {"bank": "sandbox_bank", "crm": "sandbox_crm"}
PAY, NOTE = "sandbox_bank.payments.create", "sandbox_crm.notes.create"
DELETE, BILLS = "sandbox_crm.contacts.delete", "sandbox_bank.bills.list"
EFFECTS = {PAY: "money_movement", NOTE: "write", DELETE: "destructive"}
#: Every permission that an API key may hold.
SCOPES = [
    "tenant.read", "connections.read", "tools.read", "workflows.read", "constitution.read", "kill_switches.read",
    "kill_switches.engage", "runs.read", "runs.write", "actions.read", "actions.propose", "actions.cancel",
    "exceptions.read", "audit.read",
]  # fmt: skip


def named(*parts: str) -> str:
    """The id of what these parts name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))


def soon(**delta: float) -> str:
    """A time from now, as `timedelta` takes it; an hour unless told otherwise."""
    return (datetime.now(UTC) + timedelta(**(delta or {"hours": 1}))).isoformat()


@dataclass(frozen=True)
class Tenant:
    """Names things of one tenant; says nothing about whether they are there."""

    name: str

    @property
    def id(self) -> str:
        return named(self.name)

    def person(self, who: str) -> str:
        return named(self.name, "person", who)

    @property
    def agent(self) -> str:
        """The service account."""
        return named(self.name, "agent")

    def key(self, environment: str = "production") -> str:
        return named(self.name, "key", environment)

    def key_hash(self, environment: str = "production") -> str:
        return sha256(self.key(environment).encode()).hexdigest()

    def connection(self, kind: str, environment: str = "production") -> str:
        """`kind` is one of bank/read, bank/write, crm/read, crm/write."""
        return named(self.name, "connection", kind, environment)

    def envelope(self, kind: str, environment: str = "production") -> str:
        return f"sealed:{self.name}/{kind}/{environment}"

    def slug(self, environment: str = "production") -> str:
        return f"operations-{environment}"

    def workflow(self, environment: str = "production") -> str:
        return named(self.name, "workflow", environment)

    def run(self, environment: str = "production") -> str:
        return named(self.name, "run", environment)

    def user(self, who: str = "owner", aal: str = "aal2", **more: Any) -> Row:
        """Claims of a person, as api/auth.py makes them."""
        base = {"kind": "user", "sub": self.person(who), "tenant_id": self.id, "aal": aal, "session_id": f"s-{who}"}
        return base | more

    def service(self, environment: str = "production", **more: Any) -> Row:
        """Claims of an API key."""
        return {
            "kind": "service",
            "key_id": self.key(environment),
            "key_hash": self.key_hash(environment),
        } | more

    def system(self, function: str = "execute_actions") -> Row:
        """Claims of a scheduled function."""
        return {"kind": "system", "tenant_id": self.id, "function": function}


ACME, GLOBEX = Tenant("acme"), Tenant("globex")
NOBODY: Row = {"kind": "nobody"}


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


class World:
    """The two tenants in one database, and the connections to attack it through."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._open: dict[str, psycopg.Connection[Any]] = {}

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()

    def _role(self, role: str) -> psycopg.Connection[Any]:
        if role not in self._open:
            self._open[role] = self.database.connect(role)
        return self._open[role]

    @property
    def api(self) -> psycopg.Connection[Any]:
        """The application's login."""
        return self._role("countersign_api")

    @property
    def owner(self) -> psycopg.Connection[Any]:
        """The owner of every table: may do any DML, is no superuser."""
        return self._role("postgres")

    @property
    def root(self) -> psycopg.Connection[Any]:
        """The superuser, to look and to tamper with."""
        return self._role("superuser")

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
        cursor = self._role(role).execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *values: object) -> Any:
        """The one value that a query of the superuser's gives."""
        return self.rows(statement, *values)[0][0]

    @contextmanager
    def acting(
        self, claims: Mapping[str, Any] | None, role: str = "authenticated", login: str = "countersign_api"
    ) -> Iterator[psycopg.Connection[Any]]:
        """A transaction in which a login has taken a role and set claims of its own making, past both doors."""
        with self.database.connect(login, autocommit=False) as connection:
            if claims is not None:
                connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            if role != login:
                connection.execute(f"set local role {role}".encode())
            yield connection

    @contextmanager
    def claiming(
        self, claims: Mapping[str, Any], isolation: str = "read committed"
    ) -> Iterator[psycopg.Connection[Any]]:
        """A transaction of the table owner, who pretends to be somebody."""
        with self.database.connect("postgres", autocommit=False) as connection:
            connection.execute(f"set transaction isolation level {isolation}".encode())
            connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            yield connection

    # What happens in a tenant.

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
        **more: Any,
    ) -> Row:
        """The arguments of record_action_v1 for a proposal, as api/actions/record.py makes them."""
        # Facts are asked for as the service does: a decision cites an epoch whose facts are kept.
        by = by or tenant.service(environment)
        facts = self.call(by, "gate_facts_v1", {"workflow": tenant.slug(environment)})["facts"]
        kind = "bank" if tool.startswith("sandbox_bank") else "crm"
        payload = {
            "tenant": tenant.id,
            "environment": environment,
            "workflow_version": facts["workflow"]["version"],
            "tool": tool,
            "tool_contract_version": 1,
            "connection": tenant.connection(f"{kind}/write", environment),
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
        }
        return {
            "id": str(new_id()),
            "decision_id": str(new_id()),
            "exception_id": str(new_id()),
            "run_id": tenant.run(environment),
            "workflow_id": tenant.workflow(environment),
            "epoch": facts["epoch"],
            "tool": tool,
            "contract_version": 1,
            "effect": effect or EFFECTS[tool],
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

    def propose(self, tenant: Tenant, tool: str = PAY, args: Row | None = None, **more: Any) -> Action:
        """Records a proposal; a payment waits for a human, a note is authorized at once."""
        more.setdefault("outcome", "allow" if tool == NOTE else "escalate")
        by = more.get("by") or tenant.service(more.get("environment", "production"))
        proposal = self.proposal(tenant, tool, args, **more)
        made = self.call(by, "record_action_v1", proposal)
        assert made["recorded"], made
        return Action(
            tenant, proposal["id"], made["status"], proposal["digest"], proposal["payload"],
            proposal["exception_id"], more.get("environment", "production"), proposal,
        )  # fmt: skip

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

    def fingerprint(self) -> dict[str, str]:
        """A hash of every table's rows, the vault's and the internal ones included."""
        tables = self.rows(
            "select format('%%I.%%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p') and n.nspname in ('app', 'private', 'vault') order by 1"
        )
        parts = [
            f"select '{t}', md5(coalesce(string_agg(r::text, '|' order by r::text), '')) from {t} r" for (t,) in tables
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
    def refuses(self, *reasons: str | type[psycopg.Error]) -> Iterator[None]:
        """Asserts that what happens inside is refused for one of these reasons, and changes nothing.

        A reason is a code of ours (the error's detail) or a psycopg error class; without any, every refusal counts.
        """
        with self.unchanged():
            raised: psycopg.Error | None = None
            try:
                yield
            except psycopg.Error as error:
                raised = error
            assert raised is not None, "the attack was let through"
            classes = tuple(reason for reason in reasons if not isinstance(reason, str))
            code = raised.diag.message_detail if (raised.sqlstate or "").startswith("CS") else None
            assert not reasons or code in reasons or isinstance(raised, classes), raised

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
        return self.call(tenant.user("auditor"), "verify_audit_v1")


DENIED = errors.InsufficientPrivilege


def build(database: Database) -> None:
    """Fills a migrated database with both tenants."""
    world = World(database)
    for name in TENANTS:
        _found(world, Tenant(name))
    world.close()


def _found(world: World, tenant: Tenant) -> None:
    """Founds a tenant, peoples it, and opens both environments for business."""
    founder = tenant.user() | {"tenant_id": None}
    constitution = {"rules": [], "reason": "to begin with"}
    creation = {"id": tenant.id, "name": tenant.name, "email": "owner@example.com", "constitution": constitution}
    world.call(founder, "create_tenant_v1", creation)
    for who, role in ROLES.items():
        if who != "owner":
            member = {"user_id": tenant.person(who), "role": role, "email": f"{who}@example.com", "name": who}
            world.call(tenant.user(), "put_member_v1", member)
    world.call(tenant.user("developer"), "create_service_account_v1", {"id": tenant.agent, "name": "agent"})
    for environment in ENVIRONMENTS:
        key = {
            "id": tenant.key(environment), "service_account_id": tenant.agent, "environment": environment,
            "prefix": "cs_test", "secret_hash": tenant.key_hash(environment), "scopes": SCOPES,
            "expires_at": soon(days=30),
        }  # fmt: skip
        world.call(tenant.user("developer"), "create_api_key_v1", key)
        _open(world, tenant, environment)


def _open(world: World, tenant: Tenant, environment: Environment) -> None:
    """Connects the bank and the CRM, puts a workflow live and starts a run of it."""
    for short, provider in PROVIDERS.items():
        for access in ("read", "write"):
            connect(world, tenant, f"{short}/{access}", environment, provider)
    spec = {
        "connections": {
            provider: {a: tenant.connection(f"{short}/{a}", environment) for a in ("read", "write")}
            for short, provider in PROVIDERS.items()
        },
        "tools": {PAY: {"access": "write"}, NOTE: {"access": "write"}, DELETE: {"access": "write"}, BILLS: {"access": "read"}},
    }  # fmt: skip
    slug = tenant.slug(environment)
    workflow = {"id": tenant.workflow(environment), "slug": slug, "environment": environment, "title": slug}
    world.call(tenant.user("developer"), "create_workflow_v1", workflow | {"spec": spec})
    world.call(tenant.user("developer"), "submit_workflow_version_v1", {"slug": slug, "version": 1})
    approval = {"slug": slug, "version": 1, "reason": "reviewed"}
    world.call(tenant.user("admin"), "approve_workflow_version_v1", approval)
    run = {"id": tenant.run(environment), "workflow": slug, "trigger": "call", "instruction": "Pay the bills"}
    world.call(tenant.service(environment), "start_run_v1", run | {"subject": None})


def connect(world: World, tenant: Tenant, kind: str, environment: str, provider: str) -> None:
    """Begins a connection and stores its envelope, as a sign-in at the provider does."""
    connection = tenant.connection(kind, environment)
    state = sha256(connection.encode()).hexdigest()
    begin = {
        "id": connection, "provider": provider, "environment": environment, "access": kind.partition("/")[2],
        "scopes": ["all"], "state_hash": state, "binding_hash": state, "verifier": "sealed",
        "redirect_uri": "https://example.com/callback", "expires_at": soon(minutes=10),
    }  # fmt: skip
    world.call(tenant.user("admin"), "create_connection_v1", begin)
    tokens = {
        "connection_id": connection, "replaces": None, "envelope": tenant.envelope(kind, environment),
        "token_expires_at": soon(hours=1), "scopes_granted": ["all"], "account": {"id": "1"},
    }  # fmt: skip
    world.call(tenant.user("admin"), "store_credential_v1", tokens)
