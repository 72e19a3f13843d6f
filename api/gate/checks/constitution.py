"""Control 5: the tenant's own rules, in CEL."""

from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from api.gate.arguments import MAX_SIZE, size
from api.gate.case import Case
from api.gate.cel import ExpressionError, evaluate
from api.gate.models import Facts, Finding, Outcome, Proposal, Rule

#: Characters of rules times characters that they are evaluated on, in one decision: about a second.
MAX_WORK = 1_000_000_000

_OUTCOMES = {"deny": Outcome.DENY, "require_approval": Outcome.ESCALATE, "allow": Outcome.ALLOW}


def applicable(proposal: Proposal, facts: Facts, now: datetime) -> list[Rule]:
    """The rules in force at `now` that apply to the tool."""
    return [
        rule
        for rule in facts.constitution.rules
        if (rule.expires_at is None or rule.expires_at > now)
        # No tool has a longer name; an agent may well send one, for every pattern to be tried on.
        and any(fnmatchcase(proposal.tool[:120], pattern) for pattern in rule.applies_to)
    ]


def values(proposal: Proposal, facts: Facts, now: datetime) -> dict[str, Any]:
    """What an expression may name."""
    known = facts.contracts.get(proposal.tool) or facts.known_tools.get(proposal.tool)
    return {
        "action": {
            "tool": proposal.tool,
            "effect": known.effect if known else "unknown",
            "confidence": proposal.confidence or 0.0,
            "citations": proposal.citations,
            "evidence": len(proposal.evidence),
        },
        "args": proposal.args,
        "subject": proposal.subject or {},
        "workflow": {
            "slug": facts.workflow.slug,
            "environment": facts.workflow.environment,
            "stage": facts.workflow.spec.stage,
        },
        "principal": {"kind": proposal.principal.kind, "id": str(proposal.principal.id)},
        "now": now,
    }


def check(case: Case) -> Iterator[tuple[Rule, Finding]]:
    """One finding for each rule that matched or failed; a rule that fails escalates, never allows.

    A rule fails, too, when the values are larger than rules are evaluated on, or the rules before it have used up
    what one decision may cost.
    """
    proposal, facts, now = case.proposal, case.facts, case.now
    context = values(proposal, facts, now)
    characters = size([proposal.tool, proposal.args, proposal.subject, proposal.citations])
    work = 0
    for rule in applicable(proposal, facts, now):
        work += len(rule.when) * characters
        try:
            if characters > MAX_SIZE:
                raise ExpressionError(f"the proposal is larger than {MAX_SIZE:,} characters.")
            if work > MAX_WORK:
                raise ExpressionError("the rules are too many for a proposal of this size.")
            if evaluate(rule.when, context):
                yield (
                    rule,
                    Finding(
                        check="constitution",
                        outcome=_OUTCOMES[rule.effect],
                        control=5,
                        rule_id=rule.id,
                        message=f"{rule.title}: {rule.principle}",
                    ),
                )
        except ExpressionError as error:
            yield (
                rule,
                Finding(
                    check="constitution",
                    outcome=Outcome.DENY if rule.effect == "deny" else Outcome.ESCALATE,
                    control=5,
                    rule_id=rule.id,
                    message=f"The rule could not be evaluated, so a person looks: {str(error)[:300]}",
                ),
            )
