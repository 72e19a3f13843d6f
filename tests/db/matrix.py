"""What the isolation matrices (test_isolation_matrix.py, test_function_matrix.py) are made of.

Places, and what is recognisable of each: every id, digest and planted mark that only its rows hold. Principals of
every kind. And the attempts themselves, which run inside the database (matrix.sql) and are all undone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from api.ids import new_id
from tests.db.names import ACME, ENVIRONMENTS, GLOBEX, ROLES, SCOPES, Environment, Row, Tenant
from tests.db.world import World

#: SQLSTATEs: let through; refused by Postgres for want of privilege.
THROUGH, REFUSED = "00000", "42501"
#: Refused because nobody can write to a view that does not say how.
NOT_WRITABLE = {"55000", "0A000"}
#: What a row says that no other place's row says: ids, digests, planted marks (names.py), sealed envelopes. The hashes
#: of the audit chain, one for both environments, are none of these: each names the one before it.
TELLING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|sha256:[0-9a-f]{64}|(?:marked|sealed):[a-z0-9/]+"
)
#: One member of each role.
MEMBERS = {role: who for who, role in reversed(ROLES.items())}

OUTSIDERS: dict[str, Row] = {
    "another tenant's owner, naming this one": GLOBEX.user() | {"tenant_id": ACME.id},
    "a stranger, naming this tenant": ACME.user() | {"sub": str(new_id())},
    "this tenant's key, with another secret": ACME.service() | {"key_hash": "00" * 32},
    "this tenant's key, with another tenant's secret": ACME.service() | {"key_hash": GLOBEX.key_hash()},
    "this tenant's key, without a secret": {"kind": "service", "key_id": ACME.key()},
    "a service account without a key": {"kind": "service", "sub": ACME.agent, "tenant_id": ACME.id},
    "a scheduled function of no tenant": {"kind": "system", "function": "execute_actions"},
    "an unknown kind": {"kind": "admin", "sub": ACME.person("owner"), "tenant_id": ACME.id},
    "a role by name": {"role": "service_role", "sub": ACME.person("owner"), "tenant_id": ACME.id},
    "a plain Supabase token": {"role": "authenticated", "sub": ACME.person("owner"), "aal": "aal2"},
    "nobody": {},
}


@dataclass(frozen=True)
class Principal:
    """Somebody who belongs to a tenant (None: to none), confined to an environment (None: to none)."""

    name: str
    claims: Row = field(compare=False, repr=False)
    tenant: Tenant | None = None
    environment: Environment | None = None
    #: What it may hear of although it belongs nowhere here.
    knows: str = ""

    def belongs_to(self, place: Place) -> bool:
        """Whether what is in this place is this principal's own."""
        return place.tenant == self.tenant and self.environment in (None, place.environment)


@dataclass(frozen=True)
class Place:
    """One environment of one tenant."""

    tenant: Tenant
    environment: Environment

    def __str__(self) -> str:
        return f"{self.tenant.name}/{self.environment}"


PLACES = [Place(tenant, environment) for tenant in (ACME, GLOBEX) for environment in ENVIRONMENTS]


def insiders(*tenants: Tenant) -> list[Principal]:
    """Everybody who belongs to these tenants: each role at both assurance levels, each key, the scheduled functions."""
    return [
        principal
        for tenant in tenants
        for principal in (
            *(
                Principal(f"{tenant.name}'s {role} at {aal}", tenant.user(who, aal), tenant)
                for role, who in MEMBERS.items()
                for aal in ("aal1", "aal2")
            ),
            *(Principal(f"{tenant.name}'s {e} key", tenant.service(e), tenant, e) for e in ENVIRONMENTS),
            Principal(f"{tenant.name}'s scheduled functions", tenant.system(), tenant),
        )
    ]


#: Who has been invited to a tenant, and may hear of it, but is no member.
INVITED = [
    Principal(
        f"somebody whom {tenant.name} invited",
        {"kind": "user", "sub": str(new_id()), "tenant_id": None, "aal": "aal2", "verified_email": tenant.invited},
        tenant,
    )
    for tenant in (ACME, GLOBEX)
]
EVERYBODY = (
    insiders(ACME, GLOBEX)
    + INVITED
    + [
        # A person's own memberships are theirs, whatever tenant they name.
        Principal(name, claims, knows=GLOBEX.id if claims.get("sub") == GLOBEX.person("owner") else "")
        for name, claims in OUTSIDERS.items()
    ]
)


class Matrix:
    """A busy world with the means of attack in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cells = 0
        self.leaks: list[str] = []
        self.examples: dict[str, dict[Place, Row]] = {}
        self._sources: dict[str, str] = {}
        install = Path(__file__).with_name("matrix.sql").read_text(encoding="utf-8")
        world.root.execute(f"{install};\n{self._digests()}".encode())

    def found(self, what: str) -> None:
        """A cell that is not as it must be."""
        self.leaks.append(what)

    def report(self, record: Any) -> None:
        """Tells the size of what was tried to the run's summary (tests/conftest.py), and fails on any leak."""
        cells, leaks = self.cells, self.leaks
        self.cells, self.leaks = 0, []
        record("isolation", {"cells": cells, "leaks": len(leaks)})
        shown = "\n".join(leaks[:20])
        assert not leaks, f"{len(leaks)} of {cells} cells leak:\n{shown}"

    @cached_property
    def relations(self) -> list[tuple[str, str, list[str]]]:
        """(name, kind as in pg_class, columns in their order) of every relation of ours."""
        found = self.world.rows(
            "select format('%%I.%%I', n.nspname, c.relname), c.relkind::text, array(select attname::text from"
            " pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped order by attnum)"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname in ('app', 'private') and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') order by 1"
        )
        return [(name, kind, columns) for name, kind, columns in found]

    @cached_property
    def granted(self) -> dict[str, list[str]]:
        """The columns of each relation that may be selected by whom row-level security then confines."""
        return dict(
            self.world.rows(
                "select format('%%I.%%I', n.nspname, c.relname),"
                " array_agg(attname::text order by attnum) from pg_class c"
                " join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid"
                " where n.nspname in ('app', 'private') and attnum > 0 and not attisdropped"
                " and has_column_privilege('authenticated', c.oid, attnum, 'select') group by 1"
            )
        )

    def attempts(self, connection: psycopg.Connection[Any], how: str, statements: list[str]) -> list[list[str]]:
        """Tries statements as whoever holds the connection: `try` or `read`, as matrix.sql has them."""
        row = connection.execute(f"select attack.{how}_each(%s)".encode(), (statements,)).fetchone()
        assert row is not None
        self.cells += len(statements)
        outcomes: list[list[str]] = row[0]
        return outcomes

    def call(self, claims: Row, function: str, args: Row) -> Row:
        """Calls a function as the application does; answers {state, said, digests}, as matrix.sql has it."""
        row = self.world.root.execute(
            "select attack.call(%s, %s, %s)", (json.dumps(claims), function, Jsonb(args))
        ).fetchone()
        assert row is not None
        self.cells += 1
        outcome: Row = row[0]
        return outcome

    def source_of(self, function: str) -> str:
        """The body of a function of `app`."""
        if function not in self._sources:
            self._sources |= dict(
                self.world.rows("select proname, prosrc from pg_proc where pronamespace = 'app'::regnamespace")
            )
        return self._sources[function]

    @cached_property
    def digests(self) -> dict[str, dict[str, str]]:
        """Of the rows as they are: table -> `table tenant/environment` -> digest."""
        told: dict[str, dict[str, str]] = self.world.value("select attack.digests(null)")
        return told

    def changed(self, digests: dict[str, dict[str, str]] | None) -> set[str]:
        """Of which tables and places the rows differ, as `table tenant/environment`; of those tables that are told."""
        return {
            name
            for table, after in (digests or {}).items()
            for name in after.keys() | self.digests[table].keys()
            if after.get(name) != self.digests[table].get(name)
        }

    @cached_property
    def telling(self) -> dict[str, set[str]]:
        """What tells a place or a tenant: by `tenant` and by `tenant/environment`."""
        names = {tenant.id: tenant.name for tenant in (ACME, GLOBEX)}
        of: dict[str, set[str]] = {name: set() for name in (*map(str, PLACES), *names.values())}
        for table, _, columns in self.relations:
            if "tenant_id" not in columns:
                continue
            environment = "environment" if "environment" in columns else "null"
            for tenant, where, text in self.world.rows(
                f"select tenant_id::text, {environment}, t::text from {table} t"
            ):
                found = set(TELLING.findall(text))
                of[names[tenant]] |= found
                if where in ENVIRONMENTS:
                    of[f"{names[tenant]}/{where}"] |= found
        a, b = ENVIRONMENTS
        told = {"acme": of["acme"] - of["globex"], "globex": of["globex"] - of["acme"]}
        for name in ("acme", "globex"):
            told[f"{name}/{a}"] = (of[f"{name}/{a}"] - of[f"{name}/{b}"]) & told[name]
            told[f"{name}/{b}"] = (of[f"{name}/{b}"] - of[f"{name}/{a}"]) & told[name]
        return told

    def told_to(self, principal: Principal, text: str, given: str = "") -> set[str]:
        """What a text tells somebody that is not theirs, apart from what they have said themselves."""
        found = set(TELLING.findall(text)) - set(TELLING.findall(given + principal.knows))
        if not found:
            return set()
        foreign: set[str] = set()
        for tenant in (ACME, GLOBEX):
            if principal.tenant != tenant:
                foreign |= self.telling[tenant.name]
            elif principal.environment:
                (other,) = set(ENVIRONMENTS) - {principal.environment}
                foreign |= self.telling[f"{tenant.name}/{other}"]
        return found & foreign

    @cached_property
    def permissions(self) -> dict[str, Row]:
        """Who holds what, as private.permissions has it; what an API key here holds: everything that one may hold."""
        found = self.world.rows("select permission, roles, service, system, aal2 from private.permissions")
        return {
            permission: {"roles": roles, "service": service and permission in SCOPES, "system": system, "aal2": aal2}
            for permission, roles, service, system, aal2 in found
        }

    def role_of(self, principal: Principal) -> str | None:
        """The role of a member; None for who is none."""
        session = principal.claims.get("session_id")
        sessions = {tenant.session(who): role for tenant in (ACME, GLOBEX) for who, role in ROLES.items()}
        return sessions.get(session) if session else None

    def is_foreign(self, principal: Principal, changed: str) -> bool:
        """Whether rows, as `changed` names them, are not this principal's own."""
        _, _, place = changed.partition(" ")
        tenant, _, environment = place.partition("/")
        if tenant not in (ACME.name, GLOBEX.name):
            return False
        if principal.tenant is None or tenant != principal.tenant.name:
            return True
        return bool(environment) and principal.environment not in (None, environment)

    def _digests(self) -> str:
        """The function attack.digests(oid[]): one pass over those tables, or every one (null), the vault's included."""
        parts = [_digest("vault.secrets", "''")]
        for table, kind, columns in self.relations:
            if kind not in ("r", "p"):
                continue
            place = "''"
            if "tenant_id" in columns:
                names = " ".join(f"when '{tenant.id}' then '{tenant.name}'" for tenant in (ACME, GLOBEX))
                place = f"coalesce(case tenant_id {names} end, tenant_id::text)"
                place += " || coalesce('/' || environment, '')" if "environment" in columns else ""
            parts.append(_digest(table, place))
        return (
            "create function attack.digests(p_of oid[]) returns jsonb language plpgsql"
            " set search_path = pg_catalog, pg_temp as $body$"
            f" declare v_told jsonb := '{{}}'; begin {' '.join(parts)} return v_told; end $body$"
        )


def _digest(table: str, place: str) -> str:
    """Adds a table's digests, by what tells the place of a row. plpgsql keeps the plan of each statement."""
    return (
        f"if p_of is null or '{table}'::regclass = any (p_of) then v_told := v_told || jsonb_build_object('{table}',"
        f" (select coalesce(jsonb_object_agg(name, digest), '{{}}') from (select '{table} ' || {place} as name,"
        f" md5(sum(hashtextextended(t::text, 0))::text) as digest from {table} t group by 1) d)); end if;"
    )
