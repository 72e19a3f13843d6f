"""A model provider of each environment, and calls of it: what tests of model providers rest on."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from api.ids import new_id
from tests.db.names import Row, Tenant

if TYPE_CHECKING:
    from tests.db.world import World

NAME, MODEL = "thinker", "m-1"
#: What an access spec says of the reasoner of its runs.
REASONER: Row = {
    "kind": "anthropic", "provider": NAME, "model": MODEL,
    "budget": {
        "tokens_per_run": 20_000, "tokens_per_day": 50_000, "cost_per_run": 100_000, "cost_per_day": 200_000,
        "currency": "EUR",
    },
}  # fmt: skip


def provider(tenant: Tenant, environment: str = "production", **changes: object) -> Row:
    """The arguments of register_model_provider_v1."""
    args: Row = {
        "id": str(new_id()), "name": NAME, "kind": "anthropic", "environment": environment,
        "base_url": "https://models.example.com/v1", "region": None, "currency": "EUR",
        "models": {MODEL: {"input_price": 1_000_000, "output_price": 5_000_000}},
        "trains_on_data": False, "retention_days": 0, "basis": tenant.mark(environment), "envelope": "sealed",
    }  # fmt: skip
    return args | changes


def asking(tenant: Tenant, environment: str = "production", **changes: object) -> Row:
    """The arguments of begin_model_call_v1: 1,000 tokens in and 200 out, which cost 2,000 millionths."""
    args: Row = {
        "id": str(new_id()), "run_id": tenant.run(environment), "kind": "anthropic", "provider": NAME, "model": MODEL,
        "attempt": 1, "prompt_digest": f"sha256:{sha256(b'prompt').hexdigest()}",
        "system_version": tenant.mark(environment), "input_bound": 1000, "output_bound": 200,
    }  # fmt: skip
    return args | changes


def ended(call: str, **changes: object) -> Row:
    """The arguments of settle_model_call_v1."""
    args: Row = {"id": call, "outcome": "suggested", "error": None, "input_tokens": 100, "output_tokens": 20}
    return args | changes


def work(world: World, tenant: Tenant, environment: str) -> None:
    """One call has ended, and one is under way."""
    world.call(tenant.user("admin"), "register_model_provider_v1", provider(tenant, environment))
    for ends in (True, False):
        call = asking(tenant, environment)
        world.call(tenant.system(), "begin_model_call_v1", call)
        if ends:
            over = ended(call["id"], outcome="invalid", error=tenant.mark(environment))
            world.call(tenant.system(), "settle_model_call_v1", over)
