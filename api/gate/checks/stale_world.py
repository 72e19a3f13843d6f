"""Control 5: what was decided on a world that is not there any more is decided again, by a person."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome

MOST_NAMED = 5


def check(case: Case) -> Iterator[Finding]:
    """Escalates what is proposed again because something that it rests on reads differently now."""
    moved = [one for one in case.proposal.moved or [] if one.get("what") == "read"]
    if moved:
        said = " ".join(str(one.get("message", "")) for one in moved[:MOST_NAMED])
        yield Finding(
            check="stale_world",
            outcome=Outcome.ESCALATE,
            control=5,
            message=f"What this was decided on has changed since. {said} Nothing was done; a person decides again.",
        )
