"""Control 6: what was read and sounds like an instruction is shown to whoever looks. It decides nothing by itself."""

from collections import Counter
from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome


def check(case: Case) -> Iterator[Finding]:
    """Says how many passages sound like instructions, always an allow: they raise the risk score, and lower nothing."""
    kinds = Counter(signal.kind.replace("_", " ") for signal in case.signals)
    told = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
    yield Finding(
        check="injection",
        outcome=Outcome.ALLOW,
        control=6,
        message=f"What was read has passages that sound like instructions: {told}. They ground nothing."
        if kinds
        else "Nothing that was read sounds like an instruction.",
    )
