"""Constitutions as the API shows them."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field, field_validator

from api.gate.cel import ExpressionError, compile_expression
from api.gate.models import Reason, Rule, Strict, unseen


class NewConstitution(Strict):
    """The whole next version. `expected_version` is the one it was written against."""

    rules: list[Rule] = Field(max_length=200)
    reason: Reason
    expected_version: int = Field(ge=1)

    @field_validator("rules")
    @classmethod
    def _valid(cls, rules: list[Rule]) -> list[Rule]:
        ids = [rule.id for rule in rules]
        if len(set(ids)) != len(ids):
            raise ValueError("two rules have the same id")
        for rule in rules:
            for name, lines in (("title", False), ("principle", True)):
                if why := unseen(getattr(rule, name), lines=lines):
                    raise ValueError(f"rule {rule.id}, {name}: {why}")
            try:
                compile_expression(rule.when)
            except ExpressionError as error:
                raise ValueError(f"rule {rule.id}: {error}") from None
        return rules


class Constitution(BaseModel):
    version: int
    rules: list[Rule]
    reason: str
    published_by: UUID | None = None
    published_at: datetime | None = None
