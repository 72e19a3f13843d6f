"""What a tool is, takes, answers and does."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from api.gate.vocabulary import Access, Currency, Effect, Lenient, Pointer, ToolName

ArgumentRole = Literal["recipient", "account", "amount", "url", "object_id", "free_text", "quantity", "setting"]
#: `trusted`: the provider vouches for it. `metadata`: the provider vouches that this is what its sender gave as a whole
#: (a sender's address, a channel's name), and for nothing in it. `untrusted`: anybody may have written it.
Trust = Literal["trusted", "metadata", "untrusted"]


def _told(value: Any) -> Any:
    if type(value) not in (str, bool, int):
        raise ValueError("it is a text with placeholders, a whole number or a truth value")
    return value


class Argument(Lenient):
    """The role that an argument plays.

    currency: points to the argument that names an amount's currency; fixed_currency: where it is always the same.
    unit: an amount counts `minor` units (cents), or `major` ones, as a number with decimals.
    """

    role: ArgumentRole
    currency: Pointer | None = None
    fixed_currency: Currency | None = Field(default=None, exclude_if=lambda value: value is None)
    unit: Literal["minor", "major"] = Field(default="minor", exclude_if=lambda value: value == "minor")


class Output(Lenient):
    """By JSON pointer: which parts of an answer are trusted, and the data class of each."""

    trust: dict[Pointer, Trust] = {"": "untrusted"}
    data_classes: dict[Pointer, str] = {}


class ReadBack(Lenient):
    """How to learn from the provider whether a write happened: it did when `found` exists in the answer.

    equals: where the answer may be about others too, what one of the values at `found` has to be: a text
    with placeholders, a whole number or a truth value. before_write: it is asked before the write as well, and what is
    found there is not done again.
    """

    tool: ToolName
    args: dict[str, Any] = {}
    found: Pointer
    equals: Annotated[str | bool | int, BeforeValidator(_told)] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )
    before_write: bool = Field(default=False, exclude_if=lambda value: not value)
    #: So many seconds after it was sent, what the provider does not show has not happened and will not; None is never.
    conclusive_after: int | None = Field(default=None, ge=60, exclude_if=lambda value: value is None)


class Premise(Lenient):
    """Something that a write rests on. Where its run has read it, it is read again right before the write.

    args: templates of the write's arguments, by which the read is known. same: pointers into the answer at which
    nothing may have changed. enough: pointers to whole numbers that may not be below the argument at the other pointer;
    or, with `/amount|major`, to numbers with decimals that may not be below that amount in major units of its currency.
    """

    tool: ToolName
    args: dict[str, Any] = {}
    same: list[Pointer] = []
    enough: dict[Pointer, Pointer] = {}


class State(Lenient):
    """What a write changes: read before it and after it, so that what it did is known, and can be undone.

    fields: pointers into the answer of `tool` that count. args: templates of the write's arguments; with
    `{result/...}` (the write's own answer) there is nothing before it.
    """

    tool: ToolName
    args: dict[str, Any] = {}
    fields: list[Pointer] = []


class Compensation(Lenient):
    """The write that undoes a write.

    args: templates over its arguments (`{argument}`), its answer (`{result/...}`), the state before it (`{before/...}`)
    and the state as it is when it is undone (`{now/...}`).
    """

    tool: ToolName
    args: dict[str, Any] = {}


class Execution(Lenient):
    """How a tool is called: an HTTP request through a connection, or by the client itself, `external`.

    origin: which of the provider's addresses. path, query, headers and template take `{argument}` placeholders, and
    those of ids that are kept with the connection; template is the body, as JSON. must_equal: what an argument has to
    be for this connection, a template of its ids. What came later is left out of the stored form where it says
    nothing, so that contracts that do not use it stay what they were.
    """

    mode: Literal["http", "external"] = "http"
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(default="POST")
    path: str = ""
    body: Literal["json", "form", "rfc822", "none"] = "none"
    idempotency_header: str | None = None
    origin: str = Field(default="api", exclude_if=lambda value: value == "api")
    query: dict[str, str] = Field(default={}, exclude_if=lambda value: value == {})
    headers: dict[str, str] = Field(default={}, exclude_if=lambda value: value == {})
    template: dict[str, Any] | list[Any] | None = Field(default=None, exclude_if=lambda value: value is None)
    must_equal: dict[str, str] = Field(default={}, exclude_if=lambda value: value == {})


class Contract(Lenient):
    """What a tool is, takes, answers and does; a change is a new version.

    idempotency_seconds: how long the provider remembers an idempotency key; None is for ever.
    intents: words by which an instruction asks for this tool, beside those that are known for its effect.
    """

    name: ToolName
    version: int = Field(ge=1)
    provider: str
    title: str
    access: Access
    effect: Effect
    reversible: bool
    idempotency: Literal["key", "natural", "none"]
    idempotency_seconds: int | None = Field(default=None, exclude_if=lambda value: value is None)
    input_schema: dict[str, Any]
    arguments: dict[Pointer, Argument] = {}
    output: Output = Output()
    execution: Execution
    read_back: ReadBack | None = None
    state: State | None = Field(default=None, exclude_if=lambda value: value is None)
    compensate: Compensation | None = Field(default=None, exclude_if=lambda value: value is None)
    rests_on: list[Premise] = Field(default=[], exclude_if=lambda value: value == [])
    intents: list[str] = Field(default=[], exclude_if=lambda value: value == [])
