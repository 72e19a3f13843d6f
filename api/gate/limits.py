"""Limits: what an action takes of each, and what they have counted before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.gate.access_spec import Limit
from api.gate.decisions import LimitClaim
from api.gate.facts import LimitState
from api.gate.worth import totals

if TYPE_CHECKING:
    from api.gate.case import Case

#: Claims of one action, each of which is locked and counted when it is recorded; what has more is denied.
MAX_CLAIMS = 500
#: The most that one action takes of a limit; no limit is as large.
_MOST = 2**63 - 1


def claims(case: Case) -> list[LimitClaim]:
    """What the action takes of every limit of its workflow that counts it, by key.

    A limit of an amount counts actions in its own currency only; in another, the ceiling on values is what asks.
    One claim beyond MAX_CLAIMS says that there are too many.
    """
    found: dict[str, LimitClaim] = {}
    for limit in case.spec.limits:
        amount = _amount(case, limit)
        if amount is not None:
            for key in _keys(case, limit)[: MAX_CLAIMS + 1 - len(found)]:
                found[key] = _claim(case, limit, key, min(amount, _MOST))
        if len(found) > MAX_CLAIMS:
            break
    return [found[key] for key in sorted(found)]


def states(case: Case) -> dict[str, dict[str, int]]:
    """What rules may read of the limits, by name: amount, count, max_amount, max_count, remaining (of the amount).

    Without a state that was read for this decision a limit has only its ceilings, so that a rule which asks for more
    errs. Where several counterparties are counted apart, it is the fullest that is read.
    """
    found: dict[str, dict[str, int]] = {}
    for claim in sorted(case.limits, key=_fullness):
        known = {"max_amount": claim.max_amount, "max_count": claim.max_count}
        if claim.seen is not None:
            known |= claim.seen
            if claim.max_amount is not None:
                known["remaining"] = max(claim.max_amount - claim.seen["amount"], 0)
        found[claim.name] = {name: value for name, value in known.items() if value is not None}
    return found


def _fullness(claim: LimitClaim) -> tuple[int, int]:
    return (claim.seen["amount"], claim.seen["count"]) if claim.seen else (0, 0)


def read_by_rules(case: Case) -> bool:
    """Whether a rule names the limits; then their states must be those of the very moment of recording."""
    return any("limits" in rule.when for rule in case.facts.constitution.rules)


def _amount(case: Case, limit: Limit) -> int | None:
    """Minor units that count towards the limit; None when the action does not count at all."""
    if case.contract is None or (limit.tools and case.proposal.tool not in limit.tools):
        return None
    if limit.currency is None:
        return 0
    return totals(case.contract, case.proposal.args).get(limit.currency)


def _claim(case: Case, limit: Limit, key: str, amount: int) -> LimitClaim:
    state = case.facts.limits.get(key)
    return LimitClaim(
        key=key,
        name=limit.name,
        window_seconds=limit.window_hours * 3600,
        currency=limit.currency,
        amount=amount,
        count=1,
        max_amount=limit.max_amount,
        max_count=limit.max_count,
        over=not _fits(limit, state or LimitState(), amount),
        exact=read_by_rules(case),
        seen=state.model_dump() if state else None,
    )


def _fits(limit: Limit, state: LimitState, amount: int) -> bool:
    within = limit.max_amount is None or state.amount + amount <= limit.max_amount
    return within and (limit.max_count is None or state.count < limit.max_count)


def _keys(case: Case, limit: Limit) -> list[str]:
    """What is counted together: one key, or one for each counterparty, so that a second payee buys no room."""
    parts = [str(case.facts.workflow.id), limit.name, limit.currency or "-"]
    if "agent" in limit.per:
        parts.append(f"{case.proposal.principal.kind}:{case.proposal.principal.id}")
    if "tool" in limit.per:
        parts.append(case.proposal.tool)
    if "counterparty" not in limit.per:
        return ["/".join(parts)[:500]]
    return ["/".join([*parts, party])[:500] for party in case.counterparties or ["unknown"]]
