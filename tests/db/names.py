"""Names of the two tenants that database tests are about: `acme` and `globex`, alike in everything.

Ids follow from names, so that a database can be built once, cloned for every test, and still be talked about.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

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
REFUND = "sandbox_bank.refunds.create"
DELETE, BILLS = "sandbox_crm.contacts.delete", "sandbox_bank.bills.list"
EFFECTS = {PAY: "money_movement", NOTE: "write", DELETE: "destructive"}
#: Keys of a run as the database has them; these open nothing.
RUN_KEYS = {
    name: {"kek": "k1", "key": "bWFkZSB1cA=="} for name in ("args", "payload", "prompt", "observation:personal")
}
#: Every permission that an API key may hold.
SCOPES = [
    "tenant.read", "connections.read", "tools.read", "workflows.read", "constitution.read", "kill_switches.read",
    "kill_switches.engage", "runs.read", "runs.write", "actions.read", "actions.propose", "actions.cancel",
    "exceptions.read", "audit.read", "alerts.read", "directory.read", "directory.propose",
    "incidents.read", "incidents.open",
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

    def session(self, who: str) -> str:
        """The session at Supabase Auth in which a person acts here."""
        return named(self.name, "session", who)

    @property
    def agent(self) -> str:
        """The service account."""
        return named(self.name, "agent")

    @property
    def invited(self) -> str:
        """The address of somebody who is no member yet."""
        return f"invited@{self.name}.example"

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

    def undone(self, environment: str = "production") -> str:
        """A run that is being undone."""
        return named(self.name, "undone run", environment)

    def mark(self, environment: str = "") -> str:
        """Text to put into rows, by which a leak is recognised (tests/db/matrix.py)."""
        return f"marked:{self.name}/{environment}" if environment else f"marked:{self.name}"

    def user(self, who: str = "owner", aal: str = "aal2", **more: Any) -> Row:
        """Claims of a person, as api/auth.py makes them."""
        base = {"kind": "user", "sub": self.person(who), "tenant_id": self.id, "aal": aal}
        return base | {"session_id": self.session(who)} | more

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
