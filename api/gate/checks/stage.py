"""Control 2: how far the workflow's autonomy has been reviewed."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome


def check(case: Case) -> Iterator[Finding]:
    """`shadow` denies every side effect, `supervised` escalates it, `autonomous` leaves it to the other checks."""
    stage = case.spec.stage
    if stage == "shadow":
        yield Finding(
            check="stage",
            outcome=Outcome.DENY,
            control=2,
            setting="stage",
            message="The workflow is in shadow: proposals are recorded and nothing is done.",
        )
    elif stage == "supervised":
        yield Finding(
            check="stage",
            outcome=Outcome.ESCALATE,
            control=2,
            setting="stage",
            message="The workflow is supervised: a person approves every side effect.",
        )
    else:
        yield Finding(
            check="stage",
            outcome=Outcome.ALLOW,
            control=2,
            setting="stage",
            message="The workflow may act where no other check objects.",
        )
