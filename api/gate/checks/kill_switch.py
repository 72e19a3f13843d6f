"""Control 8: what is stopped stays stopped."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome


def check(case: Case) -> Iterator[Finding]:
    """Denies while a kill switch covers the tenant, workflow, connection, tool or service account."""
    proposal, facts = case.proposal, case.facts
    contract = facts.contracts.get(proposal.tool)
    targets = {
        "tenant": None,
        "workflow": str(facts.workflow.id),
        "connection": str(facts.connection_of(contract)) if contract else "",
        "tool": proposal.tool,
        "service_account": str(proposal.principal.id) if proposal.principal.kind == "service" else "",
    }
    engaged = [k for k in facts.kill_switches if targets[k.scope] in (None, k.target)]
    for switch in engaged:
        yield Finding(
            check="kill_switch",
            outcome=Outcome.DENY,
            control=8,
            setting=f"kill_switches/{switch.id}",
            message=f"Stopped by the kill switch on this {switch.scope.replace('_', ' ')}: {switch.reason}",
        )
    if not engaged:
        yield Finding(check="kill_switch", outcome=Outcome.ALLOW, control=8, message="No kill switch covers this.")
