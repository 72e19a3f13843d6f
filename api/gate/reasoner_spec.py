"""How a workflow declares what thinks in its runs: rules that people wrote, or a model of a provider of the tenant."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.gate.vocabulary import PROSE, Confidence, Currency, Pointer, Slug, Strict, ToolName

#: The loop's name of an observation, as expressions and placeholders write it.
ObservationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Items(Strict):
    """The list whose items a rule goes through: of an observation, by JSON pointer into its result."""

    observation: ObservationName
    pointer: Pointer = ""


class SubjectTemplate(Strict):
    """The record that an action is about; the texts take placeholders."""

    type: str = Field(min_length=1, max_length=100)
    id: str = Field(min_length=1, max_length=200)
    tier: str | None = Field(default=None, max_length=100)


class Proposed(Strict):
    """The action that a rule proposes.

    Texts in args, rationale and subject take placeholders: `{item/amount}`, `{observations/account/iban}`,
    `{subject/id}`, `{today}`, `{now}`. A text that is one placeholder and nothing else becomes the value itself, of its
    own JSON type; within a longer text only texts and whole numbers are filled in. `{{` and `}}` are braces.
    citations: ids of the constitution's rules. evidence: names of observations.
    """

    tool: ToolName
    args: dict[str, Any] = {}
    confidence: Confidence
    rationale: Annotated[str, StringConstraints(min_length=1, max_length=2000), PROSE]
    citations: list[Slug] = Field(min_length=1, max_length=20)
    evidence: list[ObservationName] = Field(default=[], max_length=20)
    subject: SubjectTemplate | None = None


class Suggesting(Strict):
    """One rule: what holds, for which items, and what is proposed then.

    when: a CEL expression over `item`, `observations` (results by name), `subject`, `now` and `today` ("2026-11-28").
    once_per: a pointer into the item; of items with the same value there, only the first is proposed.
    """

    when: str = Field(min_length=1, max_length=2000)
    for_each: Items | None = None
    once_per: Pointer | None = None
    propose: Proposed


class RulesReasoner(Strict):
    """No model: conditions and templates over what was observed. The same ask gives the same thought, byte for byte."""

    kind: Literal["rules"]
    rules: list[Suggesting] = Field(min_length=1, max_length=50)


class Budget(Strict):
    """What the calls of a model may take: tokens (in and out together), and millionths of a unit of the currency.

    The database reserves the most that a call can take before it is made, and settles it afterwards.
    """

    tokens_per_run: int = Field(ge=1, le=100_000_000)
    tokens_per_day: int = Field(ge=1, le=10_000_000_000)
    cost_per_run: int = Field(ge=0, le=10**12)
    cost_per_day: int = Field(ge=0, le=10**13)
    currency: Currency


class ModelReasoner(Strict):
    """A model of a provider that the tenant has registered, in the words of its interface.

    provider: the name of a model provider of the workflow's environment. max_tokens: of one answer. max_tries: how
    often a model is asked before what it answers is given up. timeout_seconds: for one call.
    """

    kind: Literal["anthropic", "openai"]
    provider: Slug
    model: str = Field(min_length=1, max_length=100)
    budget: Budget
    max_tokens: int = Field(default=4096, ge=1, le=64_000)
    max_tries: int = Field(default=3, ge=1, le=5)
    timeout_seconds: float = Field(default=60, gt=0, le=240)


ReasonerSpec = Annotated[RulesReasoner | ModelReasoner, Field(discriminator="kind")]
