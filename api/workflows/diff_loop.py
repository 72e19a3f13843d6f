"""What one version's loop does beyond another's. Only a smaller number, or one trigger less, is provably less."""

from collections.abc import Iterator

from api.gate.models import AccessSpec
from api.workflows.changes import Change, by, number

_WORDS = {
    "instruction": "each run is told something else",
    "observe": "each run reads otherwise",
    "reasoner": "each run thinks otherwise",
}


def loop_changes(before: AccessSpec, after: AccessSpec) -> Iterator[Change]:
    """Every difference between two loops; what starts more runs, or has them do anything else, is wider."""
    old, new = before.loop, after.loop
    if old is None and new is not None:
        yield by(True, "/loop", None, new.model_dump(mode="json"), "its runs are now driven here, without a client")
    elif old is not None and new is None:
        yield by(False, "/loop", old.model_dump(mode="json"), None, "its runs are no longer driven here")
    if old is None or new is None:
        return
    for trigger in new.triggers:
        if trigger not in old.triggers:
            yield by(True, "/loop/triggers", None, trigger.model_dump(mode="json"), "something more starts runs")
    for trigger in old.triggers:
        if trigger not in new.triggers:
            yield by(False, "/loop/triggers", trigger.model_dump(mode="json"), None, "something starts runs no longer")
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    for name, text in _WORDS.items():
        if was[name] != now[name]:
            yield by(True, f"/loop/{name}", was[name], now[name], text)
    yield from number("/loop/max_actions", "a run may propose {} actions", old.max_actions, new.max_actions)
    yield from number(
        "/loop/max_concurrent", "{} runs may be under way at once", old.max_concurrent, new.max_concurrent
    )
    yield from number(
        "/loop/deadline_minutes", "a run may take {} minutes to propose", old.deadline_minutes, new.deadline_minutes
    )
