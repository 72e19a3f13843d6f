"""A tenant's own tools as the API takes and shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.gate.contracts import Argument, Trust
from api.gate.models import Access, Contract, DataClass, Effect, Pointer, Strict, Title, ToolName
from api.gate.vocabulary import LINE

#: Words by which an instruction asks for a tool.
Intent = Annotated[str, StringConstraints(min_length=2, max_length=60), LINE]


class NewArgument(Argument):
    """The role that an argument plays; as in a contract, but what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NewOutput(Strict):
    """By JSON pointer: which parts of an answer are trusted, and the data class of each."""

    trust: dict[Pointer, Trust] = Field(default={"": "untrusted"}, max_length=200)
    data_classes: dict[Pointer, DataClass] = Field(default={}, max_length=200)


class NewReadBack(Strict):
    """How the client learns whether a write happened; `found` is the whole answer unless told otherwise."""

    tool: ToolName
    args: dict[str, Any] = Field(default={}, max_length=50)
    found: Pointer = ""
    equals: str | None = Field(default=None, max_length=500)


class NewExecution(Strict):
    """`external`: the client executes the tool itself. `http` is refused, with the reason."""

    mode: Literal["external", "http"]


class NewTool(Strict):
    """A contract as a tenant registers it: what the tool is said to be decides what waits for a person.

    effect: the most severe thing that the tool can do. arguments: the role of every value that input_schema (JSON
    Schema 2020-12) has a place for. compensate: nothing can be given yet.
    """

    name: ToolName
    title: Title
    access: Access
    effect: Effect
    reversible: bool
    idempotency: Literal["key", "natural", "none"]
    idempotency_seconds: int | None = Field(default=None, ge=1, le=10**9)
    input_schema: dict[str, Any]
    arguments: dict[Pointer, NewArgument] = Field(default={}, max_length=200)
    output: NewOutput = NewOutput()
    execution: NewExecution
    read_back: NewReadBack | None = None
    compensate: None = None
    intents: list[Intent] = Field(default=[], max_length=20)


class Tool(Contract):
    """A contract in force. origin: whether the tool is a provider's, or one that the tenant's own people declared."""

    origin: Literal["provider", "tenant"]


class Warned(BaseModel):
    """Something that is allowed and that whoever registers should know."""

    pointer: str
    message: str


class Registered(Tool):
    """The version that is in force now. created: false when that version said the same already."""

    created: bool
    warnings: list[Warned]
