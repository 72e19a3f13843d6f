"""Control 9: what nobody can toggle off."""

from collections.abc import Iterator

from api.gate.models import HARD_GATES, Facts, Finding, Outcome, Proposal


def check(proposal: Proposal, facts: Facts) -> Iterator[Finding]:
    """Escalates every effect on the list, always; an effect that is not known counts as one."""
    known = facts.contracts.get(proposal.tool) or facts.known_tools.get(proposal.tool)
    if known is None or known.effect in HARD_GATES:
        effect = known.effect.replace("_", " ") if known else "an unknown effect"
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
