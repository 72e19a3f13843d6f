"""Whether an action lies within a rule's bounds.

What a rule allows, it allows only where every part of the action is surely within: each payee, each amount. What it
refuses or asks about, it does where any part is, or could be: nobody slips out of it by adding a cent in another
currency, or a second payee.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from api.gate.lookups import keys_of_value
from api.gate.rules import NONE, Bounds, Rule
from api.gate.worth import amounts, totals

if TYPE_CHECKING:
    from api.gate.case import Case


def within(rule: Rule, case: Case) -> bool:
    """Whether a rule reaches this action at all, whatever its expression answers."""
    bounds, surely = rule.bounds, rule.effect == "allow"
    return (
        (not bounds.workflows or case.facts.workflow.slug in bounds.workflows)
        and (not bounds.tiers or _enough((tier in bounds.tiers for tier in _tiers(case)), surely))
        and (not bounds.counterparties or _enough(_payees(bounds, case), surely))
        and (not bounds.amounts or _enough(_amounts(bounds, case, surely), surely))
    )


def _enough(parts: Iterable[bool], surely: bool) -> bool:
    """All of the parts, of which there are some, or any of them."""
    known = list(parts)
    return bool(known) and (all(known) if surely else any(known))


def _tiers(case: Case) -> list[str]:
    """The subject's tier: what the run began with, and what the proposal says."""
    run = case.facts.run.subject if case.facts.run else None
    said = [(subject or {}).get("tier") for subject in (run, case.proposal.subject)]
    return [tier for tier in said if isinstance(tier, str)] or [NONE]


def _payees(bounds: Bounds, case: Case) -> list[bool]:
    named = set(bounds.counterparties)
    if not case.payees:
        return [NONE in named]
    return [bool(named & {*payee.keys, *keys_of_value(payee.value)}) for payee in case.payees]


def _amounts(bounds: Bounds, case: Case, surely: bool) -> list[bool]:
    """Of each currency whether its total is within; an amount that cannot be told is not surely, and could be."""
    if case.contract is None:
        return []
    args = case.proposal.args
    found = [
        currency in bounds.amounts and bounds.amounts[currency][0] <= total <= bounds.amounts[currency][1]
        for currency, total in totals(case.contract, args).items()
    ]
    unclear = any(amount.problem for amount in amounts(case.contract, args))
    return [*found, *([not surely] if unclear else [])]
