"""Trying rules on what was decided, and deciding it again: over HTTP and by the command."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from sandbox.organisation import Organisation, ok, once
from sandbox.state import CHECKOUT
from tests.http.integrator import NOTE, PAY, Agent, at_work, decide, issue_key, join, note, payment
from tests.http.problems import problem, unchanged
from tests.http.sealed import spoil
from tests.http.world import World

BACKTEST = "/v1/constitution/backtest"
LIFT = {
    "id": "note-when-unsure", "title": "Notes", "principle": "A note may be wrong.", "applies_to": [NOTE],
    "when": "action.confidence >= 0.3", "effect": "allow", "lifts": ["confidence"],
}  # fmt: skip
REFUSE = LIFT | {"id": "no-notes", "effect": "deny", "when": "true", "lifts": []}


@pytest.fixture
def history(fresh: Organisation) -> dict[str, Any]:
    """Five proposals: notes of which one was approved, one rejected and one allowed; a payment; one that was denied."""
    with at_work(fresh) as agent:
        decided = {
            "approved": agent.propose(NOTE, note("Called back"), confidence=0.5),
            "rejected": agent.propose(NOTE, note("Called twice"), confidence=0.6),
            "allowed": agent.propose(NOTE, note("Called again")),
            "payment": agent.propose(PAY, payment(1250)),
            "denied": agent.propose(PAY, payment(1250), evidence=[]),
        }
    assert [decided[name]["status"] for name in ("approved", "allowed", "denied")] == [
        "awaiting_approval", "authorized", "denied",
    ]  # fmt: skip
    ok(decide(fresh.approver, decided["approved"]))
    ok(decide(fresh.approver, decided["rejected"], "reject"))
    return decided


def tried(organisation: Organisation, **body: Any) -> dict[str, Any]:
    report: dict[str, Any] = ok(organisation.owner.api.post(BACKTEST, json=body))
    return report


def in_force(organisation: Organisation) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = ok(organisation.owner.api.get("/v1/constitution"))["rules"]
    return rules


def flips(report: dict[str, Any], name: str = "flips") -> dict[str, tuple[str, str, str | None]]:
    return {flip["action_id"]: (flip["before"], flip["after"], flip["human"]) for flip in report[name]}


def test_the_rules_in_force_decide_as_they_did(fresh: Organisation, history: dict[str, Any], world: World) -> None:
    with unchanged(world):
        report = tried(fresh)
    assert (report["examined"], report["complete"], report["not_replayable"]) == (5, True, [])
    assert (report["flips"], report["differences"], report["contradictions"]) == ([], [], [])
    assert report["outcomes"]["recorded"] == {"allow": 1, "escalate": 3, "deny": 1}
    assert len({json.dumps(totals) for totals in report["outcomes"].values()}) == 1
    assert (report["candidate"], report["in_force_version"]) == ("the rules in force", 1)


def test_a_rule_that_allows_says_what_it_would_let_through(fresh: Organisation, history: dict[str, Any]) -> None:
    report = tried(fresh, rules=[*in_force(fresh), LIFT])
    approved, rejected = history["approved"]["id"], history["rejected"]["id"]
    assert flips(report) == {
        approved: ("escalate", "allow", "approved"),
        rejected: ("escalate", "allow", "rejected"),
    }
    assert set(flips(report, "contradictions")) == {rejected}
    assert report["flips_to"] == {"allow": 2, "escalate": 0, "deny": 0}
    assert all(flip["rules"] == ["note-when-unsure"] for flip in report["flips"])
    assert report["outcomes"]["candidate"] == {"allow": 3, "escalate": 1, "deny": 1}


def test_a_rule_that_denies_contradicts_who_approved(fresh: Organisation, history: dict[str, Any]) -> None:
    report = tried(fresh, rules=[*in_force(fresh), REFUSE])
    assert report["flips_to"] == {"allow": 0, "escalate": 0, "deny": 3}
    assert flips(report)[history["allowed"]["id"]] == ("allow", "deny", None)
    assert set(flips(report, "contradictions")) == {history["approved"]["id"]}


def test_without_rules_a_hard_gate_still_waits(fresh: Organisation, history: dict[str, Any]) -> None:
    """The starter rules refuse a payment that nothing was observed for; without them it waits for a person."""
    report = tried(fresh, rules=[])
    assert flips(report) == {history["denied"]["id"]: ("deny", "escalate", None)}


def test_page_by_page_it_comes_to_the_same(fresh: Organisation, history: dict[str, Any]) -> None:
    rules = [*in_force(fresh), LIFT]
    seen: dict[str, Any] = {}
    cursor, pages = None, 0
    while True:
        report = tried(fresh, rules=rules, limit=2, cursor=cursor)
        pages, seen = pages + 1, seen | flips(report)
        assert report["examined"] <= 2
        assert report["complete"] == (report["next_cursor"] is None)
        cursor = report["next_cursor"]
        if cursor is None:
            break
    assert (pages, seen) == (3, flips(tried(fresh, rules=rules)))


def test_drafts_and_versions_are_tried(fresh: Organisation, history: dict[str, Any]) -> None:
    body = {"rules": [*in_force(fresh), LIFT], "reason": "learnt", "base_version": 1}
    draft = ok(fresh.owner.api.post("/v1/constitution/drafts", json=body, headers=once()))
    report = tried(fresh, draft_id=draft["id"])
    assert report["candidate"] == f"the draft {draft['id']}"
    assert report["flips_to"]["allow"] == 2
    assert tried(fresh, version=1)["flips"] == []


def test_what_cannot_be_made_again_is_counted(fresh: Organisation, history: dict[str, Any], world: World) -> None:
    """A decision from before its basis was kept, and one whose observations are erased by now."""
    paid = history["payment"]["id"]
    noted = history["allowed"]["id"]
    _behind_our_back(world, "app.decisions", f"update app.decisions set basis = null where action_id = '{noted}'")
    erased = f"set erased_at = now(), result = null where run_id = (select run_id from app.actions where id = '{paid}')"
    _behind_our_back(world, "app.observations", f"update app.observations {erased}")
    report = tried(fresh)
    left = {one["why"]: one["count"] for one in report["not_replayable"]}
    assert left["no_basis"] == 1
    assert left["observations_erased"] >= 1
    assert report["examined"] == 5
    assert sum(report["outcomes"]["replayed"].values()) == 5 - sum(left.values())


def _behind_our_back(world: World, table: str, statement: str) -> None:
    """Changes rows past every trigger, which only the cluster's superuser can."""
    guards = [name for (name,) in world.rows(
        "select tgname from pg_trigger where tgrelid = %s::regclass and not tgisinternal", table)]  # fmt: skip
    with world.database.connect("superuser") as connection:
        for guard in guards:
            connection.execute(f"alter table {table} disable trigger {guard}".encode())
        connection.execute(statement.encode())
        for guard in guards:
            connection.execute(f"alter table {table} enable always trigger {guard}".encode())


def test_what_cannot_be_tried_is_refused(fresh: Organisation, agent: Agent) -> None:
    api = fresh.owner.api
    problem(api.post(BACKTEST, json={"rules": [], "version": 1}), 422, "invalid_request")
    problem(api.post(BACKTEST, json={"rules": [LIFT | {"when": "nobody.knows"}]}), 422)
    problem(api.post(BACKTEST, json={"limit": 2001}), 422)
    problem(api.post(BACKTEST, json={"cursor": "no"}), 400, "invalid_cursor")
    problem(api.post(BACKTEST, json={"version": 99}), 404, "not_found")
    problem(api.post(BACKTEST, json={"draft_id": "0197b0a0-0000-7000-8000-000000000000"}), 404, "not_found")


def test_nobody_sees_what_others_decided(fresh: Organisation, history: dict[str, Any], shared: Organisation) -> None:
    seen = {flip["action_id"] for flip in tried(shared, rules=[], limit=2000)["flips"]}
    assert not seen & {action["id"] for action in history.values()}
    elsewhere = issue_key(fresh, "production")["secret"]
    with fresh.agent() as api:
        api.headers["Authorization"] = f"Bearer {elsewhere}"
        assert ok(api.post(BACKTEST, json={}))["examined"] == 0
    auditor = join(fresh, "auditor")
    assert ok(auditor.api.post(BACKTEST, json={}))["examined"] == 5


def test_the_command_makes_every_decision_again(fresh: Organisation, history: dict[str, Any], world: World) -> None:
    code, said = _replay(world, fresh.tenant_id)
    assert code == 0, said
    assert said.splitlines()[0] == "5 decisions, 5 made again, 0 differ, 0 in their outcome"

    # As if another version had recorded it: the note was allowed, and today it is escalated.
    other = "jsonb_set(document, '{outcome}', '\"allow\"')"
    where = f"action_id = '{history['approved']['id']}'"
    _behind_our_back(world, "app.decisions", f"update app.decisions set document = {other} where {where}")
    code, said = _replay(world, fresh.tenant_id, "--limit", "10")
    assert code == 1
    assert f"{NOTE} {history['approved']['id']}: allow -> escalate" in said
    assert "allow -> escalate: 1" in said


def _replay(world: World, tenant: str, *more: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.replay", "--tenant", tenant, *more],
        cwd=CHECKOUT,
        env=os.environ | world.stack.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_what_does_not_open_is_said_and_ends_no_backtest(
    fresh: Organisation, history: dict[str, Any], world: World
) -> None:
    spoil(world, ok(fresh.owner.api.get(f"/v1/actions/{history['payment']['id']}"))["run_id"])
    report = tried(fresh)
    assert (report["examined"], report["not_replayable"]) == (5, [{"why": "unreadable", "count": 2}])
