"""What closes an action whose end is open."""

from typing import Literal

from api.gate.models import Reason, Strict


class Reconciliation(Strict):
    """Without `outcome` the provider is asked through the tool's read-back; with it a person says what is so."""

    outcome: Literal["succeeded", "failed"] | None = None
    reason: Reason


class Requeue(Strict):
    reason: Reason
