"""Control 6: what was read cannot choose what is done. A person looks at what no source grounds."""

from collections.abc import Iterator
from itertools import islice

from api.gate.case import Case
from api.gate.grounding.deed import unasked, unnamed
from api.gate.grounding.explain import Miss
from api.gate.grounding.match import NAMES
from api.gate.models import Finding, Outcome

_SHOWN = 20  # one mistake repeated in a thousand items is still one to correct


def check(case: Case) -> Iterator[Finding]:
    """Escalates each value that no source grounds, what the instruction did not ask for, and what it is not named for.

    The question is never whether a value occurs in untrusted text, which any encoding defeats, but whether it is found
    where it counts.
    """
    misses = [*unasked(case), *unnamed(case), *case.grounding.misses]
    for miss in islice(misses, _SHOWN):
        yield _escalate(miss)
    if len(misses) > _SHOWN:
        yield _escalate(Miss("/args", f"And {len(misses) - _SHOWN:,} more values are not grounded."))
    if not misses:
        used = {ground.source: None for ground in case.grounding.grounds}
        sources = [name for source, name in NAMES.items() if source in used]
        told = f"Every value is found in {', '.join(sources)}." if sources else "No value needs a source."
        yield Finding(
            check="grounding", outcome=Outcome.ALLOW, control=6, message=f"The instruction asks for it. {told}"
        )


def _escalate(miss: Miss) -> Finding:
    return Finding(check="grounding", outcome=Outcome.ESCALATE, control=6, message=miss.message, pointer=miss.pointer)
