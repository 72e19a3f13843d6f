"""The rules that every tenant starts with. A tenant publishes its own from here."""

from api.gate.models import Approvals, Rule

STARTER_RULES: tuple[Rule, ...] = (
    Rule(
        id="say-why",
        title="Say why",
        principle="An agent that acts gives a reason by citing the rule it follows; without one a person decides.",
        applies_to=["*"],
        when="size(action.citations) == 0",
        effect="require_approval",
    ),
    Rule(
        id="look-before-paying",
        title="Look before paying",
        principle="Money moves only for what was observed in the same run; a payment out of nowhere is refused.",
        applies_to=["*"],
        when='action.effect == "money_movement" && action.evidence == 0',
        effect="deny",
    ),
    Rule(
        id="two-for-large-payments",
        title="Two people for large payments",
        principle="A payment of 10,000.00 or more is approved by two people.",
        applies_to=["*"],
        when='action.effect == "money_movement" && "amount" in args && args.amount >= 1000000',
        effect="require_approval",
        approvals=Approvals(count=2, roles=["owner", "approver"], aal="aal2"),
    ),
)
