"""Control 5: an agent that is not sure asks."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome


def check(case: Case) -> Iterator[Finding]:
    """Escalates what does not reach the tool's threshold, else the workflow's. A missing confidence is none."""
    proposal, facts = case.proposal, case.facts
    spec = facts.workflow.spec
    grant = spec.tools.get(proposal.tool)
    own = grant.confidence_min if grant else None
    threshold = spec.confidence_min if own is None else own
    setting = "confidence_min" if own is None else f"tools.{proposal.tool}.confidence_min"
    claimed = proposal.confidence
    if claimed is None or not claimed >= threshold:
        said = "The agent claims no confidence" if claimed is None else f"The agent's confidence of {claimed} is low"
        yield Finding(
            check="confidence",
            outcome=Outcome.ESCALATE,
            control=5,
            setting=setting,
            message=f"{said}; {threshold} is asked for.",
        )
    else:
        yield Finding(
            check="confidence",
            outcome=Outcome.ALLOW,
            control=5,
            setting=setting,
            message=f"The agent's confidence of {claimed} reaches {threshold}.",
        )
