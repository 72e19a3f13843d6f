"""Control 2: four eyes on what a person wrote himself."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome


def check(case: Case) -> Iterator[Finding]:
    """Escalates a payload that a person edited: somebody else approves it."""
    proposal = case.proposal
    if proposal.edited_by is not None:
        yield Finding(
            check="edit",
            outcome=Outcome.ESCALATE,
            control=2,
            message="A person edited this payload; another person approves it.",
        )
