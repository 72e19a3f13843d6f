"""Control 5: ceilings on what many actions come to together."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.decisions import LimitClaim
from api.gate.limits import MAX_CLAIMS
from api.gate.models import Finding, Outcome
from api.gate.money import format_amount


def check(case: Case) -> Iterator[Finding]:
    """Escalates what does not fit into a limit of the workflow, or denies it where the limit says so.

    A limit whose state is not known here is compared when the decision is recorded, which fails if it does not fit;
    then the gate decides again with the state. Denies what more counterparties are counted for than can be.
    """
    if len(case.limits) > MAX_CLAIMS:
        message = f"The limits would count this more than {MAX_CLAIMS} times; propose it in parts."
        yield Finding(check="limits", outcome=Outcome.DENY, control=5, setting="limits", message=message)
        return
    exceeded = {limit.name: limit.exceeded for limit in case.spec.limits}
    for claim in case.limits:
        outcome = Outcome.ALLOW
        if claim.over:
            outcome = Outcome.DENY if exceeded[claim.name] == "deny" else Outcome.ESCALATE
        yield Finding(
            check="limits", outcome=outcome, control=5, setting=f"limits.{claim.name}", message=_message(claim)
        )
    if not case.limits:
        yield Finding(check="limits", outcome=Outcome.ALLOW, control=5, message="No limit counts this.")


def _message(claim: LimitClaim) -> str:
    hours = claim.window_seconds // 3600
    ceilings = []
    if claim.max_amount is not None and claim.currency is not None:
        ceilings.append(format_amount(claim.max_amount, claim.currency))
    if claim.max_count is not None:
        ceilings.append(f"{claim.max_count} actions")
    window = f"{' and '.join(ceilings)} within {hours} hours"
    if claim.seen is None:
        return f"Within the limit {claim.name} of {window}."
    counted = f"{claim.seen['count']} actions"
    if claim.currency is not None:
        counted = f"{format_amount(claim.seen['amount'], claim.currency)} in {counted}"
    if claim.over:
        return f"More than the limit {claim.name} of {window}: {counted} are counted already."
    return f"Within the limit {claim.name} of {window}; {counted} are counted already."
