"""Control 1: a workflow does what its access spec lists, on the records and fields it lists, and nothing else."""

from collections.abc import Iterator

from api.gate.models import Facts, Finding, Outcome, Proposal
from api.gate.pointer import covers, leaves, resolve


def _deny(message: str, setting: str, pointer: str | None = None) -> Finding:
    return Finding(check="scope", outcome=Outcome.DENY, control=1, message=message, setting=setting, pointer=pointer)


def check(proposal: Proposal, facts: Facts) -> Iterator[Finding]:
    """Denies a tool, an argument, a record or a connection outside of the access spec."""
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
    if grant.arguments is not None:
        for pointer, _ in leaves(proposal.args):
            if not any(covers(allowed, pointer) for allowed in grant.arguments):
                yield _deny("The workflow may not set this argument.", f"{setting}.arguments", f"/args{pointer}")
    for pattern, allowed_values in grant.records.items():
        for pointer, value in resolve(proposal.args, pattern):
            if value not in allowed_values:
                yield _deny("The workflow may not act on this record.", f"{setting}.records", f"/args{pointer}")
    connection_id = facts.connection_of(contract)
    connection = facts.connections.get(connection_id) if connection_id else None
    if connection is None:
        yield _deny(f"The workflow has no {contract.access} connection to {contract.provider}.", "connections")
    elif connection.environment != workflow.environment or connection.access != contract.access:
        yield _deny("The connection is of another environment or access.", "connections")
    elif connection.status != "active":
        yield _deny(f"The connection is {connection.status}.", "connections")
