"""Control 9: what nobody can toggle off."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import HARD_GATES, Finding, Outcome


def check(case: Case) -> Iterator[Finding]:
    """Escalates every effect on the list, always; an effect that is not known counts as one."""
    proposal, facts = case.proposal, case.facts
    effects = facts.effects_of(proposal.tool)
    if not effects or effects & HARD_GATES:
        effect = " and ".join(sorted(effects & HARD_GATES)).replace("_", " ") or "an unknown effect"
        yield Finding(
            check="hard_gate",
            outcome=Outcome.ESCALATE,
            control=9,
            message=f"This is {effect}: a person approves it, every time.",
        )
    else:
        yield Finding(
            check="hard_gate",
            outcome=Outcome.ALLOW,
            control=9,
            message="The effect is not one that always waits for a person.",
        )
