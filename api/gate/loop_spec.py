"""How a workflow declares that its runs are driven here: what starts one, what is read, and what thinks."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from api.gate.cron import parse
from api.gate.reasoner_spec import Items, ObservationName, ReasonerSpec
from api.gate.vocabulary import PROSE, Strict, ToolName

#: Whether a schedule is ever due does not depend on when one asks.
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class CallTrigger(Strict):
    """Whoever may start runs starts one, over the API."""

    kind: Literal["call"]


class ScheduleTrigger(Strict):
    """A run at each time that a cron expression of five fields names, by the wall clock of a time zone."""

    kind: Literal["schedule"]
    cron: str = Field(min_length=9, max_length=200)
    time_zone: str = Field(default="UTC", min_length=1, max_length=60)

    @model_validator(mode="after")
    def _is_one(self) -> "ScheduleTrigger":
        if parse(self.cron, self.time_zone).next(_ANY_TIME) is None:
            raise ValueError("this schedule is never due")
        return self


_Event = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_.:-]{1,100}|\*)$")]


class WebhookTrigger(Strict):
    """A run for each event that a provider sends and signs. events: types as the provider names them; `*` is all."""

    kind: Literal["webhook"]
    provider: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
    events: list[_Event] = Field(min_length=1, max_length=50)


Trigger = Annotated[CallTrigger | ScheduleTrigger | WebhookTrigger, Field(discriminator="kind")]


class Observe(Strict):
    """One read of a run.

    args take placeholders: `{subject/id}`, `{today}`, `{now}`, `{observations/<name>/...}` of what was read before, and
    `{item/...}` with for_each, which reads once for each item, as `<name>_0`, `<name>_1` and so on.
    optional: the run goes on without it when it fails; what thinks is told that it is missing.
    """

    name: Annotated[ObservationName, StringConstraints(max_length=36)]
    tool: ToolName
    args: dict[str, Any] = {}
    for_each: Items | None = None
    optional: bool = False


class LoopSpec(Strict):
    """The loop of a workflow: trigger, observe, reason, propose, settle.

    instruction: the workflow's own words to each run, and trusted; a caller's words come after them.
    max_actions: proposals of one run. max_concurrent: runs under way at once, those included that wait for a person.
    deadline_minutes: how long a run may take from its first step to its last proposal.
    """

    triggers: list[Trigger] = Field(min_length=1, max_length=10)
    instruction: Annotated[str, StringConstraints(min_length=1, max_length=10_000), PROSE]
    observe: list[Observe] = Field(default=[], max_length=30)
    reasoner: ReasonerSpec
    max_actions: int = Field(default=20, ge=1, le=200)
    max_concurrent: int = Field(default=1, ge=1, le=100)
    deadline_minutes: int = Field(default=60, ge=1, le=10_080)

    @field_validator("observe")
    @classmethod
    def _each_once(cls, observe: list[Observe]) -> list[Observe]:
        twice = sorted(name for name, n in Counter(each.name for each in observe).items() if n > 1)
        if twice:
            raise ValueError(f"two observations have the same name: {', '.join(twice)}")
        known: set[str] = set()
        for each in observe:
            if each.for_each is not None and each.for_each.observation not in known:
                raise ValueError(f"{each.name} goes through {each.for_each.observation}, which is not read before it")
            known.add(each.name)
        return observe
