"""Control 8: what is stopped stays stopped."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome

#: What a switch says at each stage of its release.
STAGES = {
    "engaged": (Outcome.DENY, "Stopped by the kill switch on this {scope}: {reason}"),
    "drafts": (
        Outcome.ESCALATE,
        "The kill switch on this {scope} is being released: a person looks first, and nothing executes yet: {reason}",
    ),
    "one_at_a_time": (
        Outcome.ALLOW,
        "The kill switch on this {scope} is being released: one action after the other: {reason}",
    ),
}


def check(case: Case) -> Iterator[Finding]:
    """Denies while a kill switch covers the tenant, workflow, connection, tool or service account.

    One that is being released asks for people first (`drafts`), and then for nothing but patience (`one_at_a_time`).
    """
    proposal, facts = case.proposal, case.facts
    contract = facts.contracts.get(proposal.tool)
    targets = {
        "tenant": None,
        "workflow": str(facts.workflow.id),
        "connection": str(facts.connection_of(contract)) if contract else "",
        "tool": proposal.tool,
        "service_account": str(proposal.principal.id) if proposal.principal.kind == "service" else "",
    }
    covering = [k for k in facts.kill_switches if targets[k.scope] in (None, k.target)]
    for switch in covering:
        outcome, said = STAGES[switch.stage]
        yield Finding(
            check="kill_switch",
            outcome=outcome,
            control=8,
            setting=f"kill_switches/{switch.id}",
            message=said.format(scope=switch.scope.replace("_", " "), reason=switch.reason),
        )
    if not covering:
        yield Finding(check="kill_switch", outcome=Outcome.ALLOW, control=8, message="No kill switch covers this.")
