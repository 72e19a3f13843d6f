"""Control 1: a workflow does what its access spec lists, on the records and fields it lists, and nothing else."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from api.gate.case import Case
from api.gate.models import Facts, Finding, Outcome, Proposal, ToolGrant
from api.gate.pointer import covers, leaves, missing, resolve

_SHOWN = 20  # one mistake repeated in a thousand items is still one to correct


def _deny(message: str, setting: str, pointer: str | None = None) -> Finding:
    return Finding(check="scope", outcome=Outcome.DENY, control=1, message=message, setting=setting, pointer=pointer)


def check(case: Case) -> Iterator[Finding]:
    """Denies a tool, an argument, a record or a connection outside of the access spec."""
    proposal, facts = case.proposal, case.facts
    findings = list(_violations(proposal, facts))
    yield from findings
    if not findings:
        yield Finding(
            check="scope",
            outcome=Outcome.ALLOW,
            control=1,
            message="Tool, fields, records and connection are within the access spec.",
        )


def _violations(proposal: Proposal, facts: Facts) -> Iterator[Finding]:
    workflow = facts.workflow
    grant = workflow.spec.tools.get(proposal.tool)
    contract = facts.contracts.get(proposal.tool)
    if grant is None or contract is None:
        yield _deny(f"The workflow {workflow.slug} may not use this tool.", "tools")
        return
    setting = f"tools.{proposal.tool}"
    if grant.access != contract.access:
        yield _deny(f"The workflow has {grant.access} access to this tool only.", f"{setting}.access")
    yield from islice(outside_of_grant(proposal.args, grant, setting), _SHOWN)
    if contract.execution.mode == "external":
        return  # the client executes it itself: there is no connection
    connection_id = facts.connection_of(contract)
    connection = facts.connections.get(connection_id) if connection_id else None
    if connection is None:
        yield _deny(f"The workflow has no {contract.access} connection to {contract.provider}.", "connections")
    elif connection.provider != contract.provider:
        # The credential of one provider must never be sent to another.
        yield _deny(f"The connection is not one to {contract.provider}.", "connections")
    elif connection.environment != workflow.environment or connection.access != contract.access:
        yield _deny("The connection is of another environment or access.", "connections")


def outside_of_grant(args: dict[str, Any], grant: ToolGrant, setting: str) -> Iterator[Finding]:
    """One finding that denies for each argument and record that the grant does not list; reads answer to it too."""
    if grant.arguments is not None and args:
        for pointer, _ in leaves(args):
            if not any(covers(allowed, pointer) for allowed in grant.arguments):
                yield _deny("The workflow may not set this argument.", f"{setting}.arguments", f"/args{pointer}")
    for pattern, allowed_values in grant.records.items():
        # A provider may read a record that is not named as all of them.
        for pointer in missing(args, pattern):
            yield _deny("The workflow acts on listed records only; name one.", f"{setting}.records", f"/args{pointer}")
        for pointer, value in resolve(args, pattern):
            # True equals 1 in Python and is another record elsewhere.
            if not any(type(value) is type(allowed) and value == allowed for allowed in allowed_values):
                yield _deny("The workflow may not act on this record.", f"{setting}.records", f"/args{pointer}")
