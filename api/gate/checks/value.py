"""Control 5: ceilings on what one action may be worth."""

from collections.abc import Iterator

from api.gate.models import Facts, Finding, Outcome, Proposal
from api.gate.pointer import resolve


def check(proposal: Proposal, facts: Facts) -> Iterator[Finding]:
    """Escalates an amount (minor units) above the tool's ceiling, else the workflow's, in its currency.

    An amount in a currency without a ceiling, or whose currency is not named, escalates too.
    """
    spec = facts.workflow.spec
    contract = facts.contracts.get(proposal.tool)
    grant = spec.tools.get(proposal.tool)
    if contract is None or grant is None:
        yield Finding(check="value", outcome=Outcome.ESCALATE, control=5, message="What this is worth is not known.")
        return
    ceilings = spec.value_max | grant.value_max
    amounts = 0
    for pattern, argument in contract.arguments.items():
        if argument.role != "amount":
            continue
        currencies = [v for _, v in resolve(proposal.args, argument.currency)] if argument.currency else []
        currency = currencies[0] if len(currencies) == 1 else None
        for pointer, amount in resolve(proposal.args, pattern):
            amounts += 1
            yield _one(amount, currency, ceilings, f"/args{pointer}")
    if not amounts:
        yield Finding(check="value", outcome=Outcome.ALLOW, control=5, message="No amount is involved.")


def _one(amount: object, currency: object, ceilings: dict[str, int], pointer: str) -> Finding:
    ceiling = ceilings.get(currency) if isinstance(currency, str) else None
    if not isinstance(amount, int) or isinstance(amount, bool) or ceiling is None:
        return Finding(
            check="value",
            outcome=Outcome.ESCALATE,
            control=5,
            setting="value_max",
            pointer=pointer,
            message=f"There is no ceiling for amounts in {str(currency)[:10]}.",
        )
    if abs(amount) > ceiling:
        return Finding(
            check="value",
            outcome=Outcome.ESCALATE,
            control=5,
            setting="value_max",
            pointer=pointer,
            message=f"{amount / 100:,.2f} {currency} is above the ceiling of {ceiling / 100:,.2f}.",
        )
    return Finding(
        check="value",
        outcome=Outcome.ALLOW,
        control=5,
        setting="value_max",
        pointer=pointer,
        message=f"{amount / 100:,.2f} {currency} is within the ceiling of {ceiling / 100:,.2f}.",
    )
