"""Control 2: four eyes on what a person wrote himself."""

from collections.abc import Iterator

from api.gate.models import Facts, Finding, Outcome, Proposal


def check(proposal: Proposal, facts: Facts) -> Iterator[Finding]:
    """Escalates a payload that a person edited: somebody else approves it."""
    if proposal.edited_by is not None:
        yield Finding(
            check="edit",
            outcome=Outcome.ESCALATE,
            control=2,
            message="A person edited this payload; another person approves it.",
        )
