"""Access tokens that end early: nobody notices, and the provider sees each refresh token once."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.organisation import ok
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.integrator import PAY, Agent, access_spec, at_work, decide, new_organisation, payment
from tests.http.sealed import tokens_of
from tests.http.world import World, running

#: Seconds that access tokens live here: less than 30, so that each use comes with a refresh, and enough for it.
LIFE = 20
#: So short that whoever has waited for somebody else's refresh finds its token ending, too.
BRIEF = 1


@pytest.fixture(scope="module")
def brief(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack whose providers' access tokens live for less than half a minute."""
    state = tmp_path_factory.mktemp("state")
    with cloned(cluster) as database, running(state, database, access_seconds=LIFE) as world:
        yield world


def live_briefly(world: World) -> None:
    """From now on the bank's access tokens live for a second."""
    world.stack.access_seconds = BRIEF
    world.stack.kill("bank")
    world.stack.restart("bank")


def refused(world: World) -> list[str]:
    """What the bank's token endpoint refused: a refresh token used twice would be here, and end the consent."""
    return [entry["outcome"] for entry in world.deliveries("bank", "oauth.token") if entry["outcome"] != "done"]


def end_access(world: World) -> None:
    """Ends every access token at the bank, which refuses it from now on."""
    with sqlite3.connect(world.stack.state / "sandbox_bank.sqlite3", timeout=30) as bank:
        bank.execute("update oauth_tokens set expires_at = 0 where kind = 'access'")
    bank.close()


def settled(world: World, agent: Agent, action_id: str) -> str:
    """As the schedule would: a call that came in the way of another's refresh is made again."""
    for _ in range(120):
        status = str(agent.action(action_id)["status"])
        if status not in ("authorized", "executing"):
            return status
        world.stack.tick()
        time.sleep(0.5)
    return status


def test_reading_and_paying_outlive_the_access_token(brief: World) -> None:
    organisation = new_organisation(brief)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation))
    with at_work(organisation) as agent:
        first = tokens_of(brief, organisation.connections["sandbox_bank/write"])
        end_access(brief)
        assert agent.observe()["status"] == "succeeded"
        end_access(brief)
        action = agent.propose(PAY, payment(77))
        end_access(brief)
        ok(decide(organisation.approver, action))
        assert settled(brief, agent, action["id"]) == "succeeded"
        assert [t["amount"] for t in brief.transfers(action["id"])] == [77]
        second = tokens_of(brief, organisation.connections["sandbox_bank/write"])
        assert first["refresh_token"] != second["refresh_token"]
        assert first["access_token"] != second["access_token"]
    assert refused(brief) == []


def test_payments_at_once_do_not_use_a_refresh_token_twice(brief: World) -> None:
    organisation = new_organisation(brief)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation))
    with at_work(organisation) as agent:
        actions = [agent.propose(PAY, payment(100 + n)) for n in range(4)]
        live_briefly(brief)
        end_access(brief)
        with ThreadPoolExecutor(4) as pool:
            for answer in pool.map(lambda action: decide(organisation.approver, action), actions):
                ok(answer)
        assert {settled(brief, agent, action["id"]) for action in actions} == {"succeeded"}
        paid = [[t["amount"] for t in brief.transfers(action["id"])] for action in actions]
        assert paid == [[100], [101], [102], [103]]
    assert refused(brief) == []
    shown = ok(organisation.owner.api.get(f"/v1/connections/{organisation.connections['sandbox_bank/write']}"))
    assert shown["status"] == "active"
