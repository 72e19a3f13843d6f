"""Confidence, stage, edits, kill switches and hard gates, each at its edges."""

from typing import Any, get_args
from uuid import UUID

import pytest

from api.gate.case import Case
from api.gate.checks import confidence
from api.gate.models import HARD_GATES, Effect, Outcome
from tests.unit.gate.world import (
    AGENT,
    NOW,
    TOOL,
    WORKFLOW,
    WRITE,
    contract,
    decided,
    facts,
    of,
    outcome_of,
    proposal,
    spec,
)


@pytest.mark.parametrize(
    ("claimed", "workflow", "tool", "outcome", "setting"),
    [
        (0.8, 0.8, None, Outcome.ALLOW, "confidence_min"),
        (0.7999999999999999, 0.8, None, Outcome.ESCALATE, "confidence_min"),
        (None, 0.8, None, Outcome.ESCALATE, "confidence_min"),
        (None, 0, None, Outcome.ESCALATE, "confidence_min"),
        (0, 0, None, Outcome.ALLOW, "confidence_min"),
        (-0.0, 0, None, Outcome.ALLOW, "confidence_min"),
        (1, 1, None, Outcome.ALLOW, "confidence_min"),
        (0.9, 0.8, 0.95, Outcome.ESCALATE, f"tools.{TOOL}.confidence_min"),
        (0.9, 0.95, 0.8, Outcome.ALLOW, f"tools.{TOOL}.confidence_min"),
        (0.5, 0.8, 0, Outcome.ALLOW, f"tools.{TOOL}.confidence_min"),
    ],
)
def test_confidence(claimed: Any, workflow: float, tool: float | None, outcome: Outcome, setting: str) -> None:
    grant = {} if tool is None else {"confidence_min": tool}
    [found] = of(decided(facts(spec(grant, confidence_min=workflow)), proposal(confidence=claimed)), "confidence")
    assert (found.outcome, found.setting, found.control) == (outcome, setting, 5)


def test_a_confidence_just_below_is_not_shown_as_enough() -> None:
    [found] = of(decided(proposed=proposal(confidence=0.7999999)), "confidence")
    assert found.message == "The agent's confidence of 0.7999999 is low; 0.8 is asked for."


def test_a_confidence_that_is_no_number_does_not_reach_any_threshold() -> None:
    """The model refuses it; should one come by another way, the check does not rely on that."""
    nan = proposal().model_copy(update={"confidence": float("nan")})
    [found] = list(confidence.check(Case(nan, facts(), NOW)))
    assert found.outcome is Outcome.ESCALATE


@pytest.mark.parametrize(
    ("stage", "outcome"),
    [("shadow", Outcome.DENY), ("supervised", Outcome.ESCALATE), ("autonomous", Outcome.ALLOW)],
)
def test_stage(stage: str, outcome: Outcome) -> None:
    decision = decided(facts(spec(stage=stage)))
    assert outcome_of(decision, "stage") is outcome
    assert decision.outcome is outcome


def test_an_edited_payload_waits_for_somebody_else() -> None:
    decision = decided(proposed=proposal(edited_by=UUID(int=8)))
    assert outcome_of(decision, "edit") is Outcome.ESCALATE
    assert decision.required_approvals.count == 1
    assert not of(decided(), "edit")


@pytest.mark.parametrize(
    ("scope", "target", "stopped"),
    [
        ("tenant", str(UUID(int=9)), True),
        ("tenant", "anything", True),
        ("workflow", str(WORKFLOW), True),
        ("workflow", str(UUID(int=99)), False),
        ("connection", str(WRITE), True),
        ("connection", str(UUID(int=99)), False),
        ("connection", "None", False),
        ("connection", "", False),
        ("tool", TOOL, True),
        ("tool", "acme.payments", False),
        ("tool", "*", False),
        ("service_account", str(AGENT), True),
        ("service_account", str(UUID(int=99)), False),
        ("service_account", "", False),
    ],
)
def test_kill_switch(scope: str, target: str, stopped: bool) -> None:
    switch = {"id": UUID(int=77), "scope": scope, "target": target, "reason": "It misbehaves."}
    decision = decided(facts(kill_switches=[switch]))
    assert outcome_of(decision, "kill_switch") is (Outcome.DENY if stopped else Outcome.ALLOW)
    assert (decision.outcome is Outcome.DENY) is stopped
    if stopped:
        [found] = of(decision, "kill_switch")
        assert found.setting == f"kill_switches/{UUID(int=77)}"
        assert found.message.endswith("It misbehaves.")


@pytest.mark.parametrize(
    ("stage", "outcome"),
    [("engaged", Outcome.DENY), ("drafts", Outcome.ESCALATE), ("one_at_a_time", Outcome.ALLOW)],
)
def test_a_switch_that_is_being_released_asks_for_people_first(stage: str, outcome: Outcome) -> None:
    switch = {"id": UUID(int=77), "scope": "tool", "target": TOOL, "reason": "It misbehaves.", "stage": stage}
    decision = decided(facts(kill_switches=[switch]))
    [found] = of(decision, "kill_switch")
    assert (found.outcome, found.setting) == (outcome, f"kill_switches/{UUID(int=77)}")
    assert found.message.endswith("It misbehaves.")
    if outcome is Outcome.ESCALATE:
        assert decision.required_approvals.count >= 1
    # The strictest of several counts.
    several = decided(facts(kill_switches=[switch, switch | {"stage": "engaged"}]))
    assert several.outcome is Outcome.DENY


def test_every_switch_that_covers_it_is_named() -> None:
    switches = [
        {"id": UUID(int=n), "scope": scope, "target": target, "reason": scope}
        for n, (scope, target) in enumerate([("tenant", "x"), ("tool", TOOL), ("tool", "another.tool")])
    ]
    assert [f.message for f in of(decided(facts(kill_switches=switches)), "kill_switch")] == [
        "Stopped by the kill switch on this tenant: tenant",
        "Stopped by the kill switch on this tool: tool",
    ]


def test_a_switch_on_a_service_account_does_not_stop_a_person_of_the_same_id() -> None:
    switch = {"id": UUID(int=77), "scope": "service_account", "target": str(AGENT), "reason": "r"}
    person = proposal(principal={"kind": "user", "id": AGENT})
    assert outcome_of(decided(facts(kill_switches=[switch]), person), "kill_switch") is Outcome.ALLOW


@pytest.mark.parametrize("effect", [e for e in get_args(Effect) if e != "read"])
def test_hard_gate(effect: str) -> None:
    decision = decided(facts(tool=contract(effect=effect)))
    hard = effect in HARD_GATES
    assert outcome_of(decision, "hard_gate") is (Outcome.ESCALATE if hard else Outcome.ALLOW)
    # A message to somebody outside waits for another reason: nobody has read it.
    waits = hard or effect == "outbound_message"
    assert decision.outcome is (Outcome.ESCALATE if waits else Outcome.ALLOW)
    to_somebody_new = effect in ("money_movement", "permission_change", "credential_change")
    assert decision.required_approvals.count == int(waits) + int(to_somebody_new)
    assert decision.required_approvals.aal == ("aal2" if effect == "money_movement" else "aal1")


def test_an_unknown_effect_counts_as_a_hard_gate() -> None:
    assert outcome_of(decided(proposed=proposal(tool="no.such.tool")), "hard_gate") is Outcome.ESCALATE


@pytest.mark.parametrize(("by_contract", "by_catalogue"), [("write", "money_movement"), ("money_movement", "write")])
def test_whichever_source_says_that_it_is_a_hard_gate_is_believed(by_contract: str, by_catalogue: str) -> None:
    catalogue = {TOOL: {"version": 4, "effect": by_catalogue}}
    decision = decided(facts(tool=contract(effect=by_contract), known_tools=catalogue))
    [found] = of(decision, "hard_gate")
    assert (found.outcome, decision.required_approvals.aal) == (Outcome.ESCALATE, "aal2")
    assert found.message == "This is money movement: a person approves it, every time."
