"""What an agent is shown of a run, and gives back, where its workflow shows tokens (api/gate/pseudonyms.py).

People and Countersign itself see values: only a client that acts with an API key is shown tokens.
"""

from typing import Any
from uuid import UUID

from api.auth import Principal
from api.errors import Problem
from api.gate.models import Facts
from api.gate.pseudonyms import Pseudonyms, UnknownTokenError
from api.runs.models import NewObservation
from api.workflows import facts as workflow_facts


async def with_values(principal: Principal, workflow: str, run_id: UUID, body: NewObservation) -> NewObservation:
    """A read with values for the tokens in its arguments. Raises Problem 422 `unknown_token`."""
    if "<" not in str(body.args):
        return body
    facts, _ = await workflow_facts.get(principal, workflow)
    if not facts.workflow.spec.hidden:
        return body

    def revealed(facts: Facts, _: Any) -> dict[str, Any]:
        try:
            args: dict[str, Any] = _tokens(facts).shown(body.args)
        except UnknownTokenError as error:
            place = [{"pointer": f"/args{error.pointer}", "message": str(error)}]
            raise Problem(422, "unknown_token", f"The read names a token that it cannot: {error}", place) from error
        return args

    asked = workflow_facts.Asked(run_id)
    _, _, args = await workflow_facts.judge(principal, workflow, revealed, asked)
    return body.model_copy(update={"args": args})


async def shown_to(principal: Principal, workflow: str, run_id: UUID, seen: dict[str, Any]) -> dict[str, Any]:
    """An observation as whoever asked for it may see it; for a person, as it is."""
    if principal.kind != "service" or seen.get("status") != "succeeded":
        return seen
    facts, _ = await workflow_facts.get(principal, workflow)
    if not facts.workflow.spec.hidden:
        return seen
    asked = workflow_facts.Asked(run_id)
    facts, _, found = await workflow_facts.judge(principal, workflow, lambda f, _: _has(f, seen["id"]), asked)
    if not found:  # read by another instance, or answered before
        facts, _ = await workflow_facts.load(principal, workflow, asked)
    return seen | {name: _tokens(facts).hide(seen[name]) for name in ("args", "result") if seen.get(name)}


def _has(facts: Facts, observation_id: Any) -> bool:
    return facts.run is not None and any(str(seen.id) == str(observation_id) for seen in facts.run.observations)


def _tokens(facts: Facts) -> Pseudonyms:
    return Pseudonyms.of(facts.run, facts.workflow.spec.hidden)
