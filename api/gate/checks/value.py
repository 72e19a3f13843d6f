"""Control 5: ceilings on what one action may be worth."""

from collections.abc import Iterator
from itertools import islice

from api.gate.case import Case
from api.gate.models import Contract, Finding, Outcome, Proposal
from api.gate.money import format_amount
from api.gate.worth import amounts

_SHOWN = 20  # one mistake repeated in a thousand items is still one to correct


def check(case: Case) -> Iterator[Finding]:
    """Escalates what is worth more (in minor units) than the tool's ceiling, else the workflow's, in its currency.

    What an action is worth is the sum of its amounts, so that many small ones count as what they are. An amount that
    is left out, is not a whole number, or whose currency has no ceiling or is not named, escalates too.
    """
    proposal, facts = case.proposal, case.facts
    spec = facts.workflow.spec
    contract = facts.contracts.get(proposal.tool)
    grant = spec.tools.get(proposal.tool)
    if contract is None or grant is None:
        yield Finding(check="value", outcome=Outcome.ESCALATE, control=5, message="What this is worth is not known.")
        return
    ceilings = spec.value_max | grant.value_max
    totals: dict[str, list[tuple[str, int]]] = {}
    unknown = list(islice(_unknown(proposal, contract, ceilings, totals), _SHOWN))
    yield from unknown
    for currency, parts in totals.items():
        yield _total(parts, currency, ceilings[currency])
    if not unknown and not totals:
        yield Finding(check="value", outcome=Outcome.ALLOW, control=5, message="No amount is involved.")


def _unknown(
    proposal: Proposal, contract: Contract, ceilings: dict[str, int], totals: dict[str, list[tuple[str, int]]]
) -> Iterator[Finding]:
    """Findings on what cannot be compared with a ceiling; collects what can be in `totals`."""
    for amount in amounts(contract, proposal.args):
        pointer = f"/args{amount.pointer}"
        if amount.minor is None or amount.currency is None:
            yield _escalate(amount.problem or "The amount is not known.", pointer)
        elif amount.currency not in ceilings:
            yield _escalate(f"There is no ceiling for amounts in {amount.currency[:10]}.", pointer)
        else:
            totals.setdefault(amount.currency, []).append((pointer, amount.minor))


def _escalate(message: str, pointer: str | None) -> Finding:
    return _finding(Outcome.ESCALATE, message, pointer)


def _finding(outcome: Outcome, message: str, pointer: str | None) -> Finding:
    return Finding(check="value", outcome=outcome, control=5, setting="value_max", message=message, pointer=pointer)


def _total(amounts: list[tuple[str, int]], currency: str, ceiling: int) -> Finding:
    total = sum(amount for _, amount in amounts)
    alone = len(amounts) == 1
    worth = format_amount(total, currency) + ("" if alone else f", the sum of {len(amounts)} amounts,")
    place = "above" if total > ceiling else "within"
    return _finding(
        Outcome.ESCALATE if total > ceiling else Outcome.ALLOW,
        f"{worth} is {place} the ceiling of {format_amount(ceiling, currency)}.",
        amounts[0][0] if alone else None,
    )
