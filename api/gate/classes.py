"""The class of an exception: what it has in common with the next one of its kind."""

import json
from hashlib import sha256

from api.gate.case import Case
from api.gate.decisions import Decision
from api.gate.lookups import keys_of_value
from api.gate.vocabulary import Effect, Lenient, Outcome
from api.gate.worth import totals


class Attributes(Lenient):
    """What sets a class apart beside its tool, workflow and findings.

    currency: of its amounts; several are joined by a comma. tier: the subject's. counterparty: the directory's key of
    the payee or recipient, where there is exactly one; `several` where there are more.
    """

    currency: str | None = None
    tier: str | None = None
    counterparty: str | None = None
    effect: Effect | None = None


class ExceptionClass(Lenient):
    """Exceptions with the same key are of one class: they wait for the same reasons, in the same tool and workflow.

    findings: what escalated, sorted: a check, or `check:rule` where a rule did. worth: minor units by currency, of this
    one exception; how much it is worth does not set a class apart.
    """

    key: str
    tool: str
    workflow: str
    findings: list[str]
    attributes: Attributes
    worth: dict[str, int] = {}


#: In place of a counterparty where there is more than one.
SEVERAL = "several"


def class_of(case: Case, decision: Decision) -> ExceptionClass:
    """The class of the exception that a decision opens. Its key is SHA-256 over canonical JSON, in hexadecimal."""
    proposal, facts = case.proposal, case.facts
    worth = totals(case.contract, proposal.args) if case.contract else {}
    known = case.contract or facts.known_tools.get(proposal.tool)
    tier = (proposal.subject or {}).get("tier")
    attributes = Attributes(
        currency=",".join(sorted(worth)) or None,
        tier=tier if isinstance(tier, str) else None,
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
    return ExceptionClass.model_validate(said | {"key": sha256(canonical.encode()).hexdigest(), "worth": worth})


def findings_of(decision: Decision) -> list[str]:
    """What of a decision escalated: checks, and rules by their check."""
    return sorted(
        {
            f"{finding.check}:{finding.rule_id}" if finding.rule_id else finding.check
            for finding in decision.findings
            if finding.outcome is Outcome.ESCALATE
        }
    )


def counterparty_of(case: Case) -> str | None:
    """By which key the directory would know whom the action goes to; `several` when it goes to more than one.

    A value that no key can be made of is one of its own kind: with it there is no telling, so it counts as several.
    """
    named = [one.value for one in case.roled if one.argument.role in ("account", "recipient")]
    keys = {next(iter(keys_of_value(value)), SEVERAL) for value in named}
    if not keys:
        return None
    return keys.pop() if len(keys) == 1 else SEVERAL
