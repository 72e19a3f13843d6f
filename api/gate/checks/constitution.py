"""Control 5: the tenant's own rules, in CEL."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from api.gate import limits
from api.gate.arguments import MAX_SIZE, size
from api.gate.bounds import within
from api.gate.case import Case
from api.gate.cel import ExpressionError, mentions
from api.gate.compiled import Answer, answers, one_by_one
from api.gate.compiled import applicable as applying
from api.gate.models import Facts, Finding, Outcome, Proposal, Rule

#: Characters of rules times characters that they are evaluated on, in one decision: about a second.
MAX_WORK = 1_000_000_000
#: Rules that one decision is made under; no constitution that was published has more.
MAX_RULES = 200

_OUTCOMES = {"deny": Outcome.DENY, "require_approval": Outcome.ESCALATE, "allow": Outcome.ALLOW}


def applicable(proposal: Proposal, facts: Facts, now: datetime) -> list[Rule]:
    """The rules in force at `now` that apply to the tool."""
    return applying(facts.constitution.rules, proposal.tool, now)


def values(proposal: Proposal, facts: Facts, now: datetime) -> dict[str, Any]:
    """What an expression may name, but for the limits."""
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
    """One finding for each rule that matched or failed; a rule that fails denies or escalates, never allows.

    A rule whose bounds the action lies out of is evaluated, and neither matches nor fails. A rule fails, too, when the
    values are larger than rules are evaluated on, or the rules before it are too many, or have used up what one
    decision may cost.
    """
    rules = applicable(case.proposal, case.facts, case.now)
    for rule, answer in zip(rules, _answers(case, rules), strict=True):
        try:
            if answer is False or not within(rule, case):
                continue
        except Exception as error:
            answer = ExpressionError(f"its bounds could not be compared ({type(error).__name__}).")
        yield rule, _failed(rule, answer) if isinstance(answer, ExpressionError) else _matched(rule)


def _answers(case: Case, rules: list[Rule]) -> list[Answer]:
    """What each rule answers: all of them at once, as long as one decision can afford it."""
    proposal = case.proposal
    characters = size([proposal.tool, proposal.args, proposal.subject, proposal.citations])
    if characters > MAX_SIZE:
        return [ExpressionError(f"the proposal is larger than {MAX_SIZE:,} characters.") for _ in rules]
    context = values(proposal, case.facts, case.now)
    if any("limits" in rule.when and mentions(rule.when, "limits") for rule in rules):
        context["limits"] = limits.states(case)
    affordable, work = [], 0
    for rule in rules[:MAX_RULES]:
        work += len(rule.when) * characters
        if work > MAX_WORK:
            break
        affordable.append(rule.when)
    if len(affordable) == len(rules):
        return answers(affordable, context)
    left = len(rules) - len(affordable)
    too_many = ExpressionError("the rules are too many, or too many for a proposal of this size.")
    return [*one_by_one(affordable, context), *[too_many] * left]


def _matched(rule: Rule) -> Finding:
    return Finding(
        check="constitution",
        outcome=_OUTCOMES[rule.effect],
        control=5,
        rule_id=rule.id,
        message=f"{rule.title}: {rule.principle}",
    )


def _failed(rule: Rule, error: ExpressionError) -> Finding:
    return Finding(
        check="constitution",
        outcome=Outcome.DENY if rule.effect == "deny" else Outcome.ESCALATE,
        control=5,
        rule_id=rule.id,
        message=f"The rule could not be evaluated, so a person looks: {str(error)[:300]}",
    )
