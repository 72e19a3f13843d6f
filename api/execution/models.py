"""What closes an action whose end is open."""

from typing import Literal

from pydantic import Field

from api.gate.models import Strict


class Reconciliation(Strict):
    """Without `outcome` the provider is asked through the tool's read-back; with it a person says what is so."""

    outcome: Literal["succeeded", "failed"] | None = None
    reason: str = Field(min_length=1, max_length=2000)


class Requeue(Strict):
    reason: str = Field(min_length=1, max_length=2000)
