"""What a decision would change, as it is at the provider, as the API shows it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel


class TargetRead(BaseModel):
    """One way to look at what an action would change or rests on, and what was seen the last time.

    serves: `state` is what the action changes, `premise` what its decision rests on. read_at, observation_id, source,
    result and labels: of the newest read with these arguments that the gateway made in the run, for whomever; of what a
    client says that it read only where there is none. Null where nobody read, and result also where it is erased or too
    large. labels: how far each part is trusted. looked: whether it was read
    while this waited. error: why the last try failed, if it did.
    """

    tool: str
    args: dict[str, Any]
    serves: list[Literal["state", "premise"]]
    observation_id: UUID | None
    source: Literal["gateway", "client_asserted"] | None
    read_at: datetime | None
    looked: bool
    result: Any
    labels: dict[str, Any] | None
    error: str | None
    failed_at: datetime | None


class Change(BaseModel):
    """What the action would change: the parts of the state that count, as they are now and as they would become."""

    now: dict[str, Any]
    then: dict[str, Any]


class MovedPart(BaseModel):
    """Something that the decision rests on, and that reads differently since. was: as the decision had it.

    trust: how far the contract of the read trusts what stands there.
    """

    tool: str
    pointer: str
    was: Any
    now: Any
    message: str
    trust: Literal["trusted", "untrusted"]


class Target(BaseModel):
    """What waits for a person, beside what is there now.

    readable: whether the contract of its tool says how to look at it. change: null where nothing is there before it, or
    was read. compared: whether the gateway has read again since what the decision rests on; moved says what has moved.
    """

    exception_id: UUID
    action_id: UUID
    readable: bool
    reads: list[TargetRead]
    change: Change | None
    compared: bool
    moved: list[MovedPart]
