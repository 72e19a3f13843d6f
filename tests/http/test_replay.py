"""Every decision can be made again from what is stored, and comes out the same."""

from typing import Any

from api.gate.decide import decide
from api.gate.models import Decision, Facts, Outcome, Proposal
from api.privacy.sealing import opened_run
from tests.http.integrator import NOTE, PAY, Agent, note, payment
from tests.http.sealed import keys_of_application
from tests.http.world import World

_STORED = """
select to_jsonb(a), d.document, f.facts || jsonb_build_object(
    'run', private.run_facts(r, (d.basis ->> 'observed')::integer),
    'directory', d.basis -> 'directory', 'limits', d.basis -> 'limits')
from app.actions a
join app.runs r on r.tenant_id = a.tenant_id and r.id = a.run_id
join app.decisions d on d.tenant_id = a.tenant_id and d.action_id = a.id
join app.gate_facts f on f.tenant_id = d.tenant_id and f.workflow_id = d.workflow_id and f.epoch = d.epoch
where a.id = %s
"""


def _proposal(action: dict[str, Any]) -> Proposal:
    import json

    return Proposal.model_validate(
        action
        | {
            "args": json.loads(action["payload"])["args"],
            "principal": {"kind": action["proposed_by_kind"], "id": action["proposed_by"]},
        }
    )


def test_decisions_replay_to_the_same_bytes(world: World, agent: Agent) -> None:
    proposed = [
        agent.propose(PAY, payment(1250)),
        agent.propose(PAY, payment(2_000_000), confidence=0.1),
        agent.propose(PAY, payment(1250), evidence=[]),
        agent.propose(PAY, payment(1250, from_account="acc_reserve")),
        agent.propose(NOTE, note()),
        agent.propose(NOTE, note(), citations=[], confidence=None),
    ]
    for answer in proposed:
        [(action, document, facts)] = world.rows(_STORED, answer["id"])
        stored = Decision.model_validate(document)
        with keys_of_application(world):
            facts["run"] = opened_run(facts["run"])
        again = decide(_proposal(action), Facts.model_validate(facts), stored.decided_at)
        assert again.model_dump_json() == stored.model_dump_json()
    assert {a["decision"]["outcome"] for a in proposed} == {o.value for o in Outcome}
