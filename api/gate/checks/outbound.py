"""Control 2: what leaves for an outsider is a draft, unless a reviewer has read whom it goes to and what it says."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome
from api.gate.outbound import EFFECTS

_SHOWN = 20  # one mistake repeated in a thousand items is still one to correct


def check(case: Case) -> Iterator[Finding]:
    """Escalates a message to an outsider of which not both the recipients and the text have been reviewed."""
    if not case.effects & EFFECTS:
        yield _finding(Outcome.ALLOW, "The effect is none that sends a message.")
        return
    review = case.review
    for gap in review.gaps[:_SHOWN]:
        yield _finding(Outcome.ESCALATE, gap.message, gap.setting, gap.pointer)
    if review.inside:
        yield _finding(Outcome.ALLOW, "Every recipient is an insider.", "insiders")
    elif not review.gaps:
        told = "A reviewer has read whom this goes to and what it says."
        yield _finding(Outcome.ALLOW, told, f"tools.{case.proposal.tool[:120]}.outbound")


def _finding(outcome: Outcome, message: str, setting: str | None = None, pointer: str | None = None) -> Finding:
    at = None if pointer is None else f"/args{pointer}"
    return Finding(check="outbound", outcome=outcome, control=2, message=message, setting=setting, pointer=at)
