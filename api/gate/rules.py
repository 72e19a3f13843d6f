"""Rules that people write, and what bounds them."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from api.gate.access_spec import Approvals
from api.gate.vocabulary import Currency, Slug, Strict, ToolPattern

#: The checks that a rule's `allow` can lift; nothing lifts any other.
Liftable = Literal["confidence", "value", "risk", "counterparty"]

#: In bounds, stands for no counterparty, or no tier, at all.
NONE = ""


class Bounds(Strict):
    """Where a rule ends, beside its expression. What is left out does not bound.

    counterparties: keys of the directory (`account:iban:...`, `email:...`, `domain:...`, `name:...`), of which one is
    that of a payee or recipient. amounts: minor units by currency, [least, most], of the action's whole worth; another
    currency is out of bounds. tiers: of the subject. workflows: slugs. An empty text among counterparties or tiers
    stands for an action that has none. An allow reaches only what is within as a whole; any other rule reaches what is
    within in part (api/gate/bounds.py).
    """

    counterparties: list[Annotated[str, StringConstraints(max_length=400)]] = Field(default=[], max_length=200)
    amounts: dict[Currency, tuple[int, int]] = {}
    tiers: list[Annotated[str, StringConstraints(max_length=100)]] = Field(default=[], max_length=50)
    workflows: list[Slug] = Field(default=[], max_length=50)


class Origin(Strict):
    """Where a rule comes from: written by hand, the library, or an amendment, whose id `ref` is."""

    kind: Literal["written", "library", "amendment"] = "written"
    ref: str = Field(default="", max_length=200)


class Rule(Strict):
    """One rule of a constitution.

    when: a CEL expression over action, args, subject, workflow, principal, limits and now; true is a match.
    allow: lifts the soft checks it names, within its bounds, and nothing else.
    """

    id: Slug
    title: str = Field(min_length=1, max_length=200)
    principle: str = Field(min_length=1, max_length=2000)
    applies_to: list[ToolPattern] = Field(default=["*"], min_length=1, max_length=50)
    when: str = Field(min_length=1, max_length=2000)
    effect: Literal["deny", "require_approval", "allow"]
    approvals: Approvals | None = None
    lifts: list[Liftable] = []
    bounds: Bounds = Bounds()
    expires_at: AwareDatetime | None = None
    origin: Origin = Origin()
