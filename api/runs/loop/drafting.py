"""What keeps a declared loop from working, found when a workflow version is drafted."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.gate.access_spec import AccessSpec
from api.gate.loop_spec import LoopSpec, Observe, Trigger
from api.gate.models import Contract
from api.runs.loop.held import MAX_ITEMS
from api.runs.reasoners.drafting import problems
from api.runs.reasoners.filling import FillingError, Placeholder, parse, texts_of

#: What is wrong where: a JSON pointer into the spec, and a sentence.
Mistake = tuple[str, str]


def mistakes(spec: AccessSpec, contracts: Mapping[str, Contract]) -> Iterator[Mistake]:
    """Every mistake in the loop of a spec, by where it is; contracts: those of the tools that the spec names."""
    if spec.loop is None:
        return
    for number, trigger in enumerate(spec.loop.triggers):
        if trigger.kind == "webhook" and trigger.provider not in {name.partition(".")[0] for name in spec.tools}:
            yield f"/loop/triggers/{number}/provider", "The workflow is granted no tool of this provider to read with."
    known: set[str] = set()
    for number, observe in enumerate(spec.loop.observe):
        for at, message in _of_read(observe, spec, contracts, known):
            yield f"/loop/observe/{number}{at}", message
        known |= names_of(observe)
    granted = {name: contracts[name] for name in spec.tools if name in contracts}
    for at, message in problems(spec.loop.reasoner, granted, known):
        yield f"/loop/reasoner{at}", message


def names_of(observe: Observe) -> set[str]:
    """What the results of a read are called."""
    if observe.for_each is None:
        return {observe.name}
    return {f"{observe.name}_{number}" for number in range(MAX_ITEMS)}


def _of_read(
    observe: Observe, spec: AccessSpec, contracts: Mapping[str, Contract], known: set[str]
) -> Iterator[Mistake]:
    grant, contract = spec.tools.get(observe.tool), contracts.get(observe.tool)
    if grant is None:
        yield "/tool", f"The workflow is granted no tool named {observe.tool}."
    elif grant.access != "read":
        yield "/tool", "This tool writes; it can only be proposed."
    elif contract is not None and contract.execution.mode == "external":
        yield "/tool", "The client uses this tool itself, so that a run that is driven here cannot read with it."
    for at, text in texts_of(observe.args, "/args"):
        try:
            pieces = parse(text)
        except FillingError as error:
            yield at, str(error)
            continue
        for piece in pieces:
            if isinstance(piece, Placeholder) and (message := _of_placeholder(piece, observe, known)):
                yield at, message


def _of_placeholder(piece: Placeholder, observe: Observe, known: set[str]) -> str | None:
    if piece.root == "item" and observe.for_each is None:
        return f"{piece}: without for_each there is no item."
    if piece.root == "observations":
        name = piece.pointer.partition("/")[2].partition("/")[0]
        if name not in known:
            return f"{piece}: nothing named {name or 'nothing'} is read before {observe.name}."
    return None


def described(loop: LoopSpec) -> list[str]:
    """The loop as a reviewer reads it, a sentence each."""
    starts = {
        "call": "by a call",
        "schedule": "on the schedule {cron} ({time_zone})",
        "webhook": "by what {provider} sends ({events})",
    }
    started = [starts[trigger.kind].format_map(_told(trigger)) for trigger in loop.triggers]
    reads = [f"{each.tool}{' (may be missing)' if each.optional else ''}" for each in loop.observe]
    thinks = (
        f"{len(loop.reasoner.rules)} written rules"
        if loop.reasoner.kind == "rules"
        else f"the model {loop.reasoner.model} of {loop.reasoner.provider}"
    )
    return [
        f"Its runs are driven here, and started {'; '.join(started)}.",
        f"Each is told: {loop.instruction}",
        f"It reads {', '.join(reads) or 'nothing'}, and thinks by {thinks}.",
        f"It proposes {loop.max_actions} actions at most, within {loop.deadline_minutes} minutes.",
        f"Of its runs, {loop.max_concurrent} at most are under way at once.",
    ]


def _told(trigger: Trigger) -> dict[str, Any]:
    said = trigger.model_dump()
    return said | {"events": ", ".join(said["events"])} if trigger.kind == "webhook" else said
