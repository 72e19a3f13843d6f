"""Whether Countersign, its audit log and the bank tell the same story."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sandbox.organisation import ok

if TYPE_CHECKING:
    from tests.concurrency.world import World

PAY = "sandbox_bank.payments.create"
OPENING = 5_000_000  # of acc_operating, in cents


def check_bank(world: World) -> None:
    """Every payment was made once and is known to have been, or not at all; the balance is what that leaves."""
    tenant = world.organisation.tenant_id
    acts = world.rows("select id::text, status, tool, payload from app.actions where tenant_id = %s", tenant)
    paid = 0
    for act in acts:
        if act["tool"] != PAY:
            continue
        made = world.payments(act["id"])
        assert len(made) <= 1, f"{act['id']} was paid {len(made)} times"
        if act["status"] == "succeeded":
            assert len(made) == 1, f"{act['id']} succeeded and was not paid"
        elif made:
            assert act["status"] == "unknown", f"{act['id']} was paid and is {act['status']}"
        if made:
            amount = json.loads(act["payload"])["args"]["amount"]
            assert made[0]["amount"] == amount
            paid += amount
    # Other organisations of the stack pay from the same account.
    mine = "select amount from transfers where reference like ?"
    assert paid == sum(row["amount"] for row in world.outside("bank", mine, f"{world.mark}-%"))
    everything = world.outside("bank", "select amount from transfers")
    assert world.balance() == OPENING - sum(row["amount"] for row in everything)
    assert not [a for a in acts if a["status"] == "executing"]


def check_audit(world: World) -> None:
    """The chain verifies, and each row's events form one unbroken line of states that ends where the row stands."""
    tenant = world.organisation.tenant_id
    verified = ok(world.organisation.owner.api.get("/v1/audit/verify"))
    assert verified["ok"], verified
    for noun, table in (("action", "app.actions"), ("attempt", "app.attempts"), ("exception", "app.exceptions")):
        broken = world.rows(
            f"""
            with told as (
                select subject_id, record::jsonb ->> 'before' as before, record::jsonb ->> 'after' as after, seq,
                    lag(record::jsonb ->> 'after') over (partition by subject_id order by seq) as previous,
                    lead(seq) over (partition by subject_id order by seq) as next
                from app.audit_events where tenant_id = %s and record::jsonb -> 'subject' ->> 'type' = %s)
            select t.id, t.status, told.* from {table} t left join told on told.subject_id = t.id::text
            where t.tenant_id = %s and (told.seq is null or told.before is distinct from told.previous
                or (told.next is null and told.after <> t.status))""",
            tenant,
            noun,
            tenant,
        )
        assert not broken, broken[:3]
