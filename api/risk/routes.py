"""The risk score of an automation in outline."""

from typing import Any

from api.auth import Caller
from api.risk import service
from api.risk.models import Knobs, RiskScore
from api.routing import slice_router

router = slice_router("risk")


@router.post("/risk/score", operation_id="score_risk", response_model=RiskScore)
async def score_risk(body: Knobs, caller: Caller) -> Any:
    """What an automation in outline scores, by the table that the gate scores every action with; nothing is recorded.

    `allow`: it may run by itself where no check objects; `allow_with_approvals`: people approve what it does;
    `do_not_automate`: not like this. A verdict grants nothing: what happens is decided action by action.
    """
    return await service.score_risk(caller, body)
