"""The risk of an automation in outline. Nothing of it is recorded."""

from api.auth import Principal
from api.db import database
from api.risk.models import Knobs, RiskScore
from api.risk.planning import plan


async def score_risk(principal: Principal, knobs: Knobs) -> RiskScore:
    """The score, the verdict and what would lower it, for whoever may read workflows. Raises CS403 for others."""
    async with database().tenant_transaction(principal, "workflows.read"):
        return plan(knobs)
