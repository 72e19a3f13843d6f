"""What other slices and the routes ask of execution."""

from uuid import UUID

from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.execution.execute import execute, execute_soon, expire
from api.execution.models import Requeue
from api.execution.reconcile import reconcile

__all__ = ["execute", "execute_soon", "expire", "reconcile", "requeue"]


async def requeue(principal: Principal, action_id: UUID, body: Requeue, once: Idempotency) -> Answer:
    return await database().call(principal, "requeue_action_v1", {"id": action_id, "reason": body.reason}, once)
