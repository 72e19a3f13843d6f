"""The gate: one pure function from a proposal, the facts and the time to a decision."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from api.gate.case import Case
from api.gate.checks import (
    confidence,
    connection,
    constitution,
    contract,
    counterparty,
    data_class,
    edit,
    grounding,
    hard_gate,
    injection,
    kill_switch,
    limits,
    outbound,
    risk,
    scope,
    stage,
    stale_world,
    value,
)
from api.gate.models import Approvals, Decision, Facts, Finding, Outcome, Proposal, RequiredApprovals, Risk, Rule

_Told = TypeVar("_Told")

#: Every check runs on every proposal, so that a reviewer sees all reasons at once.
CHECKS = (
    kill_switch,
    contract,
    scope,
    connection,
    hard_gate,
    outbound,
    data_class,
    grounding,
    injection,
    counterparty,
    confidence,
    value,
    limits,
    risk,
    stage,
    edit,
    stale_world,
)


def decide(proposal: Proposal, facts: Facts, now: datetime) -> Decision:
    """The decision on a proposal.

    Pure, deterministic and total: the same proposal, facts and `now` give the same decision, byte for byte; it
    never raises on a well-formed proposal and never leaves a check out. Fails closed: a check that errs denies.
    A rule's `allow` lifts what the soft checks that it names (rules.Liftable) have escalated, and nothing else; what
    contradicts what is known of a counterparty it does not lift.
    """
    case = Case(proposal, facts, now)
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings.extend(check.check(case))
        except Exception as error:
            findings.append(_failed(check.__name__.rsplit(".", 1)[-1], error))
    evaluated: list[Rule] = []
    matched: list[tuple[Rule, Finding]] = []
    try:
        evaluated = constitution.applicable(proposal, facts, now)
        matched = list(constitution.check(case))
    except Exception as error:
        findings.append(_failed("constitution", error))
    findings = _lift(findings, [rule for rule, finding in matched if finding.outcome is Outcome.ALLOW])
    findings.extend(finding for _, finding in matched)
    outcome = max((finding.outcome for finding in findings), key=lambda o: o.severity)
    contract_facts = facts.contracts.get(proposal.tool)
    return Decision(
        outcome=outcome,
        findings=findings,
        required_approvals=_approvals(proposal, facts, findings, [rule for rule, _ in matched], outcome),
        risk=_risk(case),
        grounds=_told(lambda: case.grounds),
        signals=_told(lambda: case.signals),
        limits=_told(lambda: case.limits),
        rules_evaluated=[rule.id for rule in evaluated],
        rules_matched=[rule.id for rule, _ in matched],
        constitution_version=facts.constitution.version,
        workflow_version=facts.workflow.version,
        contract_version=contract_facts.version if contract_facts else None,
        decided_at=now,
    )


def _told(worked_out: Callable[[], list[_Told]]) -> list[_Told]:
    """What a check has worked out; nothing where that fails, which the check's own finding says."""
    try:
        return worked_out()
    except Exception:
        return []


def _risk(case: Case) -> Risk | None:
    try:
        return case.risk
    except Exception:
        return None


def _failed(check: str, error: Exception) -> Finding:
    return Finding(
        check=check,
        outcome=Outcome.DENY,
        control=5,
        message=f"The check failed ({type(error).__name__}), so nothing happens.",
    )


def _lift(findings: list[Finding], rules: list[Rule]) -> list[Finding]:
    lifted = {check: rule.id for rule in rules for check in rule.lifts}
    return [
        finding.model_copy(
            update={
                "outcome": Outcome.ALLOW,
                "rule_id": lifted[finding.check],
                "message": f"{finding.message} Lifted by a rule.",
            }
        )
        if finding.check in lifted and finding.outcome is Outcome.ESCALATE and finding.liftable
        else finding
        for finding in findings
    ]


def _approvals(
    proposal: Proposal, facts: Facts, findings: list[Finding], rules: list[Rule], outcome: Outcome
) -> RequiredApprovals:
    """The strictest of what the workflow, the tool's grant and the matching rules ask for; none where nothing waits."""
    spec = facts.workflow.spec
    grant = spec.tools.get(proposal.tool)
    asked: list[Approvals] = [(grant.approvals if grant else None) or spec.approvals]
    asked += [rule.approvals for rule in rules if rule.effect == "require_approval" and rule.approvals]
    asked += [f.approvals for f in findings if f.approvals and f.outcome is Outcome.ESCALATE]
    moves_money = "money_movement" in facts.effects_of(proposal.tool)
    roles = [role for role in asked[0].roles if all(role in other.roles for other in asked)]
    return RequiredApprovals(
        count=max(a.count for a in asked) if outcome is Outcome.ESCALATE else 0,
        # Rules whose roles have none in common fall back to the owner, who answers for all.
        roles=roles or ["owner"],
        aal="aal2" if moves_money or any(a.aal == "aal2" for a in asked) else "aal1",
    )
