"""Control 5: an agent that is not sure asks."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import AccessSpec, Finding, Outcome


def in_spec(spec: AccessSpec, tool: str) -> tuple[float, str]:
    """What the access spec asks for of a tool, and the setting that says so: the tool's own, else the workflow's."""
    grant = spec.tools.get(tool)
    if grant is None or grant.confidence_min is None:
        return spec.confidence_min, "confidence_min"
    return grant.confidence_min, f"tools.{tool}.confidence_min"


def check(case: Case) -> Iterator[Finding]:
    """Escalates what does not reach the threshold: the access spec's, or the calibrated one where that is larger.

    A missing confidence is none.
    """
    tool, claimed = case.proposal.tool, case.proposal.confidence
    threshold, setting = in_spec(case.spec, tool)
    calibrated = case.facts.thresholds.get(tool)
    why = ""
    if calibrated is not None and not calibrated <= threshold:
        why = f" Calibration asks for more than the {threshold} of {setting}, by how earlier claims turned out."
        threshold, setting = calibrated, f"thresholds.{tool}"
    if claimed is None or not claimed >= threshold:
        said = "The agent claims no confidence" if claimed is None else f"The agent's confidence of {claimed} is low"
        outcome, message = Outcome.ESCALATE, f"{said}; {threshold} is asked for.{why}"
    else:
        outcome, message = Outcome.ALLOW, f"The agent's confidence of {claimed} reaches {threshold}.{why}"
    yield Finding(check="confidence", outcome=outcome, control=5, setting=setting, message=message)
