"""How often the application asks the database: counted on the wire between them, so the clock plays no part."""

import time
from collections.abc import Iterator

import pytest

from sandbox.organisation import Organisation, ok, once
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.integrator import (
    NOTE,
    PAY,
    Agent,
    access_spec,
    at_work,
    decide,
    issue_key,
    new_organisation,
    note,
    payment,
)
from tests.http.wire import Wire, tapped
from tests.http.world import World, running

CALL = "select app.call_v1($1, $2, $3, $4, $5) as answer"
#: A look for the answer that a repeated request had: a transaction of reads.
STORED = ["BEGIN", "select app.begin_v1($1, $2)", "select private.find_answer($1, $2) as answer", "COMMIT"]


@pytest.fixture(scope="module")
def wired(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Wire]]:
    """A stack whose application reaches its database through a wire that counts."""
    with (
        cloned(cluster) as database,
        tapped(database.url("countersign_api")) as wire,
        running(tmp_path_factory.mktemp("state"), database, api=wire.url) as world,
    ):
        yield world, wire


@pytest.fixture(scope="module")
def organisation(wired: tuple[World, Wire]) -> Organisation:
    made = new_organisation(wired[0])
    made.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(made))
    return made


@pytest.fixture
def wire(wired: tuple[World, Wire]) -> Wire:
    return wired[1]


@pytest.fixture
def warm(organisation: Organisation) -> Iterator[Agent]:
    """An agent whose workflow's facts the application holds in memory."""
    with at_work(organisation) as agent:
        waiting(agent)
        yield agent


def waiting(agent: Agent) -> dict[str, object]:
    """A proposal that waits for a person, so that nothing happens after its answer."""
    action: dict[str, object] = ok(
        agent.api.post("/v1/actions", json=agent.proposal(NOTE, note(), confidence=0.1), headers=once())
    )
    return action


def test_a_warm_proposal_is_one_statement(warm: Agent, wire: Wire) -> None:
    for _ in range(3):
        with wire.listening() as seen:
            waiting(warm)
        assert seen == [CALL]


def test_a_warm_proposal_that_is_denied_is_one_statement_too(warm: Agent, wire: Wire) -> None:
    warm.propose("sandbox_crm.contacts.delete", {"contact_id": "con_ruth"})  # the directory has been asked since
    with wire.listening() as seen:
        assert warm.propose("sandbox_crm.contacts.delete", {"contact_id": "con_ruth"})["status"] == "denied"
    assert seen == [CALL]


def test_a_repeated_proposal_is_one_statement(warm: Agent, wire: Wire) -> None:
    body, headers = warm.proposal(NOTE, note(), confidence=0.1), once()
    ok(warm.api.post("/v1/actions", json=body, headers=headers))
    with wire.listening() as seen:
        ok(warm.api.post("/v1/actions", json=body, headers=headers))
    assert seen == [CALL]


def test_when_the_epoch_moved_it_is_two(warm: Agent, wire: Wire, organisation: Organisation) -> None:
    issue_key(organisation)
    with wire.listening() as seen:
        action = waiting(warm)
    assert seen == [CALL, CALL]
    assert action["status"] == "awaiting_approval"
    with wire.listening() as seen:
        waiting(warm)
    assert seen == [CALL]


def test_cold_it_is_two(warm: Agent, wire: Wire, organisation: Organisation, wired: tuple[World, Wire]) -> None:
    with wired[0].client(issue_key(organisation)["secret"]) as client:
        first = Agent(client, warm.workflow, warm.run_id)
        with wire.listening() as seen:
            waiting(first)
        assert seen == [CALL, CALL]
        with wire.listening() as seen:
            waiting(first)
        assert seen == [CALL]


def test_a_counterparty_that_is_new_to_the_instance_takes_one_more(warm: Agent, wire: Wire) -> None:
    evidence = [{"observation_id": warm.observe()["id"]}]
    with wire.listening() as first:
        warm.propose(PAY, payment(to_name="Somebody Else"), evidence=evidence)
    with wire.listening() as second:
        warm.propose(PAY, payment(to_name="Somebody Else", amount=77), evidence=evidence)
    assert (first, second) == ([CALL, CALL], [CALL])


def test_what_was_read_elsewhere_in_the_run_takes_one_more(
    warm: Agent, wire: Wire, organisation: Organisation, wired: tuple[World, Wire]
) -> None:
    """For another key, as in another instance: the database refuses what was decided without what was read."""
    with wired[0].client(issue_key(organisation)["secret"]) as elsewhere:
        waiting(warm)
        Agent(elsewhere, warm.workflow, warm.run_id).observe()
        with wire.listening() as seen:
            action = waiting(warm)
    assert seen == [CALL, CALL]
    basis = "select (basis ->> 'observed')::integer from app.decisions where action_id = %s"
    assert wired[0].rows(basis, action["id"]) == [(1,)]
    with wire.listening() as seen:
        waiting(warm)
    assert seen == [CALL]


def test_a_refusal_of_arguments_looks_once_at_the_current_contract_and_for_a_stored_answer(
    warm: Agent, wire: Wire
) -> None:
    with wire.listening() as seen:
        answer = warm.api.post("/v1/actions", json=warm.proposal(PAY, {}), headers=once())
    assert answer.status_code == 422
    assert seen == [CALL, *STORED]


def test_who_may_not_come_in_costs_nothing(warm: Agent, wire: Wire, wired: tuple[World, Wire]) -> None:
    with wired[0].client("cs_sandbox_nonsense") as stranger, wire.listening() as seen:
        assert stranger.post("/v1/actions", json={}, headers=once()).status_code == 401
        assert stranger.get("/v1/health").status_code == 200
    assert seen == []


def test_an_approved_payment_takes_four_and_a_look_at_what_it_rests_on_after_the_click(
    warm: Agent, wire: Wire, organisation: Organisation, wired: tuple[World, Wire]
) -> None:
    """The verdict, the claim, what was read when it was decided, the leave to send it, and the finish."""
    evidence = [{"observation_id": warm.observe()["id"]}]
    warm.propose(PAY, payment(), evidence=evidence)  # the directory has been asked about its payee since
    with wire.listening() as proposing:
        action = warm.propose(PAY, payment(), evidence=evidence)
    with wire.listening() as deciding:
        ok(decide(organisation.approver, action))
        settle(wired[0], action["id"])
    assert proposing == [CALL]
    assert [deciding[:4], deciding[5:]] == [[CALL, CALL, *STORED[:2]], ["COMMIT", CALL, CALL]]
    assert len(wired[0].transfers(action["id"])) == 1


def test_an_autonomous_action_takes_three_from_proposal_to_end(
    warm: Agent, wire: Wire, wired: tuple[World, Wire]
) -> None:
    with wire.listening() as seen:
        action = warm.propose(NOTE, note())
        settle(wired[0], action["id"])
    assert seen == [CALL] * 3


def test_a_read_through_the_gateway_takes_three(warm: Agent, wire: Wire) -> None:
    """A look at the run (one short transaction), the claim, and what was read."""
    warm.observe()
    with wire.listening() as seen:
        warm.observe()
    assert [statement for statement in seen if statement == CALL] == [CALL] * 2
    assert seen[0].lower().startswith("begin")
    assert "app.begin_v1" in seen[1]
    assert seen[3].lower().startswith("commit")
    assert len(seen) == 6


def settle(world: World, action_id: str) -> None:
    """Waits for the action's end behind the application's back, whose questions would be counted."""
    deadline = time.monotonic() + 60
    while world.rows("select status from app.actions where id = %s", action_id) != [("succeeded",)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
