"""What is asked about an automation that somebody thinks of, and what its risk is said to be."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from api.gate.models import Effect, RiskFactor, Strict

Sensitivity = Literal["public", "internal", "confidential", "pii", "financial", "secret", "regulated"]
Autonomy = Literal["shadow", "supervised", "autonomous"]
#: What one action is worth, by its part of the ceiling: none of it, up to so much, or more than all.
AmountBand = Literal["none", "quarter", "half", "three_quarters", "ceiling", "above"]
Verdict = Literal["allow", "allow_with_approvals", "do_not_automate"]
Minor = Annotated[int, Field(ge=0, le=2**53 - 1)]


class InPlace(Strict):
    """Which mitigations are in place; see docs/risk.md."""

    read_back: bool = False
    idempotency: bool = False
    compensation: bool = False
    reviewed_templates: bool = False
    known_counterparty: bool = False
    records_pinned: bool = False
    approvals: bool = False


class Knobs(Strict):
    """An automation in outline: what it does, to which data, how freely, and what is in place.

    value, ceiling: in minor units of one currency, the most that one action is worth and what it may be worth;
    amount_band says the same in words, and either is left out where no amount is involved.
    """

    effect: Effect
    data_sensitivity: Sensitivity
    autonomy: Autonomy
    reversible: bool = False
    amount_band: AmountBand | None = None
    value: Minor | None = None
    ceiling: Minor | None = None
    mitigations: InPlace = InPlace()

    @model_validator(mode="after")
    def _one_amount(self) -> "Knobs":
        if (self.value is None) != (self.ceiling is None):
            raise ValueError("value goes with ceiling")
        if self.value is not None and self.amount_band is not None:
            raise ValueError("give value and ceiling, or amount_band")
        return self


class Lower(BaseModel):
    """One change of the outline, and what the score and the verdict would be then; `by` is how much lower it is."""

    what: str
    by: int
    score: int
    verdict: Verdict


class RiskScore(BaseModel):
    """The score, 0 to 100, with what it is the sum of; the policy's verdict and why; what would lower it, most first.

    A verdict grants nothing: what may happen is decided action by action.
    """

    score: int
    factors: list[RiskFactor]
    mitigations: list[RiskFactor]
    verdict: Verdict
    reasons: list[str]
    would_lower: list[Lower]
