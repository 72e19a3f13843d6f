"""Asks the reasoner that a workflow declares."""

from api.auth import Principal
from api.gate.reasoner_spec import ReasonerSpec, RulesReasoner
from api.runs.reasoners import rules
from api.runs.reasoners.reasoner import Ask, ReasonerError, Seal, Thought


async def think(principal: Principal, spec: ReasonerSpec, ask: Ask, seal: Seal | None = None) -> Thought:
    """What the workflow's reasoner suggests; nothing of it is trusted, and the gate decides it like any proposal.

    principal: the system, inside the run's tenant. seal: seals what a model was told and answered, to be kept.
    Raises ReasonerError.
    """
    if isinstance(spec, RulesReasoner):
        return rules.think(spec, ask)
    raise ReasonerError("not_configured", f"No model provider {spec.provider} can be used here.")
