"""The class of an exception: what it has in common with the next one of its kind."""

import json
from hashlib import sha256

from api.gate.case import Case
from api.gate.decisions import Decision, Finding
from api.gate.lookups import keys_of_value
from api.gate.payees import Payee
from api.gate.vocabulary import Effect, Lenient, Outcome
from api.gate.worth import amounts, totals


class Attributes(Lenient):
    """What sets a class apart beside its tool, workflow and findings.

    currency: of its amounts; tier: the subject's, of the run or as proposed. Several are joined by a comma.
    counterparty: the directory's key of the payee or recipient, where there is exactly one, else `several`.
    """

    currency: str | None = None
    tier: str | None = None
    counterparty: str | None = None
    effect: Effect | None = None


class ExceptionClass(Lenient):
    """Exceptions with the same key are of one class: they wait for the same reasons, in the same tool and workflow.

    findings: what escalated, sorted: a check, `check:rule` where a rule did, `check:unliftable` where no rule lifts it.
    worth: minor units by currency, of this one exception; how much it is worth does not set a class apart.
    unknown_worth: some of its amounts are not known. counterparties: the most telling key of everything that says whom
    it goes to.
    """

    key: str
    tool: str
    workflow: str
    findings: list[str]
    attributes: Attributes
    worth: dict[str, int] = {}
    unknown_worth: bool = False
    counterparties: list[str] = []
    tiers: list[str] = []


#: In place of a counterparty where there is more than one.
SEVERAL = "several"


def class_of(case: Case, decision: Decision) -> ExceptionClass:
    """The class of the exception that a decision opens. Its key is SHA-256 over canonical JSON, in hexadecimal."""
    proposal, facts = case.proposal, case.facts
    worth = totals(case.contract, proposal.args) if case.contract else {}
    unknown = case.contract is None or any(one.problem for one in amounts(case.contract, proposal.args))
    known = case.contract or facts.known_tools.get(proposal.tool)
    tiers = sorted(_tiers(case))
    attributes = Attributes(
        currency=",".join(sorted(worth)) or None,
        # A comma within a tier is not one between two.
        tier=",".join(tier.replace("\\", "\\\\").replace(",", "\\,") for tier in tiers) or None,
        counterparty=counterparty_of(case),
        effect=known.effect if known else None,
    )
    said = {
        "tool": proposal.tool,
        "workflow": facts.workflow.slug,
        "findings": findings_of(decision),
        "attributes": attributes.model_dump(),
    }
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"))
    key = sha256(canonical.encode()).hexdigest()
    telling = {_telling(payee) for payee in case.payees} - {None}
    measures = {"worth": worth, "unknown_worth": unknown, "counterparties": sorted(map(str, telling)), "tiers": tiers}
    return ExceptionClass.model_validate(said | {"key": key} | measures)


def findings_of(decision: Decision) -> list[str]:
    """What of a decision escalated: checks, and rules by their check."""
    return sorted({_reason(finding) for finding in decision.findings if finding.outcome is Outcome.ESCALATE})


def _reason(finding: Finding) -> str:
    about = finding.rule_id or (None if finding.liftable else "unliftable")
    return f"{finding.check}:{about}" if about else finding.check


def counterparty_of(case: Case) -> str | None:
    """By which key the directory would know whom the action goes to; `several` when it goes to more than one.

    An account and the name of its owner beside it are one. What no key can be made of is one of its own kind: with it
    there is no telling, so it counts as several.
    """
    payees = case.payees
    if not payees:
        return None
    telling = {_telling(payee) for payee in payees}
    accounts = {_telling(payee) for payee in payees if payee.account}
    if None in telling or len({payee.near for payee in payees}) > 1 or len(accounts or telling) > 1:
        return SEVERAL
    return (accounts or telling).pop()


def _telling(payee: Payee) -> str | None:
    return next(iter([*payee.keys, *keys_of_value(payee.value)]), None)


def _tiers(case: Case) -> set[str]:
    run = case.facts.run.subject if case.facts.run else None
    said = [(subject or {}).get("tier") for subject in (run, case.proposal.subject)]
    return {tier for tier in said if isinstance(tier, str)}
