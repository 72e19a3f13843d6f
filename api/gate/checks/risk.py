"""Control 5: many small things that speak against an action are one large one."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome


def check(case: Case) -> Iterator[Finding]:
    """Escalates from the score that the spec says (`risk.escalate_at`), and denies from `risk.deny_at`."""
    risk, thresholds = case.risk, case.spec.risk
    outcome, setting = Outcome.ALLOW, "risk.escalate_at"
    told = f"below the {thresholds.escalate_at} at which a person looks"
    if risk.score >= thresholds.deny_at:
        outcome, setting, told = (
            Outcome.DENY,
            "risk.deny_at",
            f"at or above {thresholds.deny_at}, where nothing is done",
        )
    elif risk.score >= thresholds.escalate_at:
        outcome, told = Outcome.ESCALATE, f"at or above the {thresholds.escalate_at} at which a person looks"
    weightiest = sorted(risk.factors, key=lambda factor: -factor.points)[:3]
    because = ", ".join(f"{factor.name.replace('_', ' ')} {factor.points}" for factor in weightiest)
    message = f"The risk score is {risk.score} of 100, {told}{f'; most of it is {because}' if because else ''}."
    yield Finding(check="risk", outcome=outcome, control=5, setting=setting, message=message)
