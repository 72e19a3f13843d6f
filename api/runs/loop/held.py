"""A run under the lease of this instance: what was done in it, and what it has to go by."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from api.auth import Principal
from api.gate.loop_spec import LoopSpec
from api.runs.reasoners.reasoner import Seen

#: Items that one `for_each` reads for; of a longer list, the first ones.
MAX_ITEMS = 50
Outcome = Literal["done", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it is written down. detail: what a reader of the trace is told, in words and numbers."""

    name: str
    outcome: Outcome
    started_at: datetime
    detail: dict[str, Any] = field(default_factory=dict)
    sealed: str | None = None
    digest: str | None = None
    observation_id: str | None = None
    action_id: str | None = None


class PutOffError(Exception):
    """The run goes on later, by itself: in so many seconds. step: what was tried and failed, if anything was."""

    def __init__(self, seconds: float, step: Step | None = None) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.step = step


class FailedError(Exception):
    """The run cannot go on; the message says why, and what a person does about it."""

    def __init__(self, message: str, step: Step | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.step = step


@dataclass(slots=True)
class Held:
    """The answer of claim_run_v1, and what was added to it since. `seen`: what was read, by the loop's name of it."""

    principal: Principal
    fence: str
    claim: dict[str, Any]
    loop: LoopSpec
    steps: list[dict[str, Any]]
    claimed_at: float = field(default_factory=time.monotonic)
    seen: dict[str, Seen] = field(default_factory=dict)

    @property
    def run_id(self) -> UUID:
        return UUID(self.claim["run_id"])

    @property
    def workflow(self) -> str:
        return str(self.claim["workflow"])

    @property
    def began(self) -> datetime:
        """When the run's first step was taken: what `now` and `today` mean in all of it."""
        return datetime.fromisoformat(self.claim["deadline_at"]) - timedelta(minutes=self.loop.deadline_minutes)

    @property
    def now(self) -> datetime:
        """By the database's clock."""
        return datetime.fromisoformat(self.claim["now"]) + timedelta(seconds=time.monotonic() - self.claimed_at)

    @property
    def overdue(self) -> bool:
        return self.now >= datetime.fromisoformat(self.claim["deadline_at"])

    def ended(self, name: str) -> dict[str, Any] | None:
        """How the step of this name ended for good, if it did."""
        return next((step for step in self.steps if step["name"] == name and step["outcome"] != "failed"), None)

    def tries(self, name: str) -> int:
        """How often the step was tried in vain."""
        return sum(step["name"] == name and step["outcome"] == "failed" for step in self.steps)
