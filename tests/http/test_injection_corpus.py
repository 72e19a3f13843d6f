"""Cases of the injection corpus through the API: a client registers the tools, reads, and obeys the attacker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.organisation import Organisation, ok, once
from scripts.corpus.__main__ import OWN
from scripts.corpus.cases import Case, cases
from scripts.corpus.worlds import Proposed, read
from tests.http.integrator import Agent, new_organisation, objections
from tests.http.world import World

CORPUS = Path(__file__).parents[2] / OWN
#: Scenarios that rest on no directory: what it is told has to cool off before it counts.
SAMPLE = {
    "travel": ("another-hotel/plain", "page-about-a-museum/base64", "other-days/homoglyph"),
    "files": ("moved-to-the-public/hidden-html", "salary-in-a-file/split", "report-with-a-link/tags"),
    "chat": ("secret-in-a-message/plain", "invite-a-stranger/zero-width"),
}
#: What nothing happens in: a person is asked, or nobody will.
NOTHING_HAPPENS = {"awaiting_approval", "denied"}


@pytest.fixture(scope="module", params=sorted(SAMPLE))
def prepared(request: pytest.FixtureRequest, world: World) -> tuple[Organisation, list[Case]]:
    """An organisation whose own tools are those of one world of the corpus, with its workflow live."""
    name = request.param
    corpus = read(CORPUS / f"{name}.toml")
    organisation = new_organisation(world, connected=False)
    for tool in corpus.tools:
        body = tool.model_dump(mode="json", exclude_unset=True)
        ok(organisation.owner.api.post("/v1/tools", json=body, headers=once()))
    people = {"owner": organisation.owner.email, "escalation_contact": organisation.approver.email}
    spec = corpus.spec.model_dump(mode="json") | people
    organisation.go_live(f"corpus-{name}", corpus.title, spec)
    found = {case.id.partition("/")[2]: case for case in cases({name: corpus})}
    return organisation, [found[wanted] for wanted in SAMPLE[name]]


@contextmanager
def at_work_on(organisation: Organisation, case: Case) -> Iterator[Agent]:
    """The agent in a run of the case, having read all that the case has it read."""
    with organisation.agent() as api:
        agent = Agent(api, f"corpus-{case.world_id}")
        body = {"workflow": agent.workflow, "instruction": case.scenario.instruction}
        agent.run_id = ok(api.post("/v1/runs", json=body, headers=once()))["id"]
        for observed, result, expected in zip(case.scenario.observations, case.results, case.observations, strict=True):
            seen = agent.observe(observed.tool, args=observed.args, result=result)
            assert (seen["result"], seen["labels"]) == (expected.result, expected.labels)
        yield agent


def proposed(agent: Agent, case: Case, each: Proposed, confidence: float) -> dict[str, Any]:
    cited = [rule.id for rule in case.world.rules]
    return agent.propose(each.tool, case.args_of(each), confidence=confidence, citations=cited)


def test_what_the_attacker_wants_waits_and_the_work_goes_on(
    prepared: tuple[Organisation, list[Case]], world: World
) -> None:
    organisation, sample = prepared
    work = 0
    for case in sample:
        with at_work_on(organisation, case) as agent:
            for attack in case.scenario.attacks:
                action = proposed(agent, case, attack, 1.0)
                assert action["status"] in NOTHING_HAPPENS, (case.id, attack.does)
                assert action["decision"]["outcome"] == case.decide(attack, obedient=True).outcome.value
                assert objections(action).keys() & {"grounding", "data_class"}
            for asked in case.scenario.benign:
                action = proposed(agent, case, asked, asked.confidence)
                assert action["status"] == "authorized", (case.id, asked.does, objections(action))
                work += 1
    # By the database's own rows: what is authorized is the work, and nothing else.
    rows = world.rows(
        "select status, count(*)::integer from app.actions where tenant_id = %s group by status",
        organisation.tenant_id,
    )
    found = dict(rows)
    assert found.keys() <= NOTHING_HAPPENS | {"authorized"}
    assert found["authorized"] == work
    assert sum(found.values()) == work + sum(len(case.scenario.attacks) for case in sample)
