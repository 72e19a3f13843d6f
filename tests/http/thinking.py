"""A database with a live workflow that thinks by a model, the sandbox's model provider, and what to ask of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.auth import Principal
from api.config import settings
from api.connections import vault
from api.db import database
from api.gate.models import Contract, Rule
from api.gate.reasoner_spec import ModelReasoner
from api.ids import new_id
from api.model_providers.service import key_context
from api.runs.reasoners.reasoner import Ask, ReasonerError, Seal, Seen, Thought
from api.runs.reasoners.service import think
from sandbox.models.app import MODEL, admin_token, api_key, create_app
from sandbox.oauth.serving import serving
from sandbox.postgres import Server
from tests.db import models
from tests.db.founding import peopled, spec_of, world_from
from tests.db.names import ACME, PAY, Row
from tests.db.world import World

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
BILLS = {"bills": [
    {"id": "bill_1", "iban": "DE94000123450532013000", "amount": 129900, "currency": "EUR", "status": "open",
     "vendor_name": "Northwind Paper GmbH", "reference": "INV-1"},
    {"id": "bill_2", "iban": "<IBAN_1_1>", "amount": 500, "currency": "EUR", "status": "paid",
     "vendor_name": "Alpine Catering GmbH", "reference": "INV-2"},
]}  # fmt: skip
LABELS = {"/bills/*/iban": {"trust": "trusted"}, "/bills/*/reference": {"trust": "untrusted"}}


@dataclass
class Thinking:
    """Where tests of model reasoners happen: `world` is the database, `url` the provider, `state` its directory."""

    world: World
    url: str
    state: Path
    _workflows: int = 0

    @property
    def key(self) -> str:
        """The provider's key."""
        return api_key(self.state)

    def admin(self) -> httpx.Client:
        """A client of the provider's faults and journal."""
        headers = {"X-Sandbox-Admin": admin_token(self.state)}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=60)

    def fault(self, kind: str, times: int = 1, **more: Any) -> None:
        """The provider's next answers go wrong."""
        self.well()
        with self.admin() as client:
            client.post("/_faults", json={"kind": kind, "times": times} | more).raise_for_status()

    def well(self) -> None:
        """Nothing goes wrong any more, and what hangs is answered."""
        with self.admin() as client:
            client.delete("/_faults").raise_for_status()

    def told(self) -> list[Row]:
        """Every request that arrived at the provider."""
        with self.admin() as client:
            entries: list[Row] = client.get("/_log").json()["entries"]
            return entries

    def provider(self, name: str, kind: str, *, key: str | None = None, **changes: Any) -> str:
        """Registers a provider whose address the deployment replaces by the sandbox's; answers its id."""
        args = models.provider(
            ACME, name=name, kind=kind, models={MODEL: {"input_price": 10**6, "output_price": 10**7}}
        )
        bound_to = key_context(ACME.id, args["id"], "production", 1)
        args |= {"envelope": vault.seal({"api_key": key or self.key}, bound_to)} | changes
        self.world.call(ACME.user("admin"), "register_model_provider_v1", args)
        return str(args["id"])

    def run(self, spec: ModelReasoner, **changes: Any) -> UUID:
        """A run of a workflow of its own, which declares this reasoner."""
        self._workflows += 1
        slug, user = f"thinks-{self._workflows}", ACME.user
        document = spec_of(ACME, "production") | {"loop": {"reasoner": spec.model_dump(mode="json")}} | changes
        made = {"id": str(new_id()), "slug": slug, "environment": "production", "title": "Thinks", "spec": document}
        self.world.call(user("developer"), "create_workflow_v1", made)
        self.world.call(user("developer"), "submit_workflow_version_v1", {"slug": slug, "version": 1})
        approval = {"slug": slug, "version": 1, "reason": "reviewed"}
        self.world.call(user("admin"), "approve_workflow_version_v1", approval)
        return self._started(slug)

    def again(self, run: UUID) -> UUID:
        """Another run of the same workflow."""
        named = "select w.slug from app.workflows w join app.runs r on r.workflow_id = w.id where r.id = %s"
        return self._started(self.world.value(named, str(run)))

    def _started(self, slug: str) -> UUID:
        run = {"id": str(new_id()), "workflow": slug, "trigger": "call", "instruction": "Pay.", "subject": None}
        self.world.call(ACME.service(), "start_run_v1", run)
        return UUID(run["id"])

    def calls(self, run_id: UUID) -> list[Row]:
        """What is kept of a run's calls, in their order."""
        found = self.world.rows(
            "select to_jsonb(c) from app.model_calls c where run_id = %s order by created_at", str(run_id)
        )
        return [row for (row,) in found]

    def contract(self) -> Contract:
        [(document, version)] = self.world.rows(
            "select contract, version from private.tools_in_force where name = %s limit 1", PAY
        )
        return Contract.model_validate(document | {"version": version})

    def ask(self, run_id: UUID, result: Any = BILLS, **changes: Any) -> Ask:
        """The bills of a run, and one rule to cite."""
        rule = Rule(
            id="pay-due-bills", title="Pay what is due", principle="Bills are paid.", when="true", effect="allow"
        )
        asked: Row = {
            "run_id": run_id, "workflow": "thinks", "instruction": "Pay what is due, from acc_operating.",
            "subject": None, "observations": [Seen("bills", new_id(), "sandbox_bank.bills.list", result, LABELS)],
            "tools": {PAY: self.contract()}, "rules": [rule], "now": NOW,
        }  # fmt: skip
        return Ask(**asked | changes)


def spec(kind: str, **changes: Any) -> ModelReasoner:
    """A declared reasoner with room for a few calls."""
    budget = {
        "tokens_per_run": 200_000, "tokens_per_day": 2_000_000, "cost_per_run": 10**8, "cost_per_day": 10**9,
        "currency": "EUR",
    }  # fmt: skip
    declared: Row = {"kind": kind, "provider": kind, "model": MODEL, "max_tokens": 2000, "timeout_seconds": 60}
    return ModelReasoner.model_validate(declared | {"budget": budget | changes.pop("budget", {})} | changes)


def thought(declared: ModelReasoner, ask: Ask, seal: Seal | None = None) -> Thought:
    """What comes of an ask, as the loop would make it."""
    [came] = asyncio.run(_alone(declared, [ask], seal))
    assert isinstance(came, Thought)
    return came


def thoughts(
    declared: ModelReasoner, asks: list[Ask], left: int, then: Callable[[], None]
) -> list[Thought | ReasonerError]:
    """What comes of several asks at once; `then` is called when no more than `left` of them are still waited for."""
    return asyncio.run(_alone(declared, asks, None, (left, then)))


async def _alone(
    declared: ModelReasoner, asks: list[Ask], seal: Seal | None, until: tuple[int, Callable[[], None]] | None = None
) -> list[Any]:
    """Thinks with a pool of its own, which ends with the event loop."""
    principal = Principal(ACME.system("advance_runs"))
    database.cache_clear()
    try:
        thinking = [asyncio.ensure_future(think(principal, declared, ask, seal)) for ask in asks]
        if until is not None:
            waiting = set(thinking)
            while len(waiting) > until[0]:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.to_thread(until[1])
        found = await asyncio.gather(*thinking, return_exceptions=until is not None)
    finally:
        await database().close()
        database.cache_clear()
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, ReasonerError):
            raise one
    return found


@contextmanager
def started(cluster: Server, state: Path) -> Iterator[Thinking]:
    """Everything of it, with the settings of this process changed for as long."""
    with world_from(cluster, peopled(cluster)) as world, serving(create_app, state, []) as url:
        nowhere = dict.fromkeys(("SUPABASE_URL", "COUNTERSIGN_PUBLIC_URL", "CRON_SECRET"), "http://127.0.0.1:9")
        values = nowhere | {
            "DATABASE_URL": world.database.url(),
            "COUNTERSIGN_KEK": f"k:{'22' * 32}",
            "COUNTERSIGN_PROVIDER_ORIGINS": json.dumps({"https://models.example.com": url}),
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in values.items():
                patch.setenv(name, value)
            settings.cache_clear()
            yield Thinking(world, url, state)
        settings.cache_clear()
