"""What holds for every proposal in every world."""

import json
from typing import Any
from uuid import UUID

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from api.gate.decide import decide
from api.gate.models import HARD_GATES, Facts, Outcome, Proposal, RunFacts
from tests.unit.gate.strategies import BLIND, OTHER, proposals, rules, worlds
from tests.unit.gate.world import AGENT, NOW, TOOL, WORKFLOW, WRITE, decided, facts, proposal, rule, spec

thorough = settings(max_examples=100, deadline=None)


def _severity(held: Facts, proposed: Proposal) -> int:
    return decide(proposed, held, NOW).outcome.severity


def _with_rules(held: Facts, more: list[dict[str, Any]]) -> Facts:
    rules = [*held.constitution.rules, *(rule(**r) for r in more)]
    return held.model_copy(update={"constitution": held.constitution.model_copy(update={"rules": rules})})


def _asked_for(held: Facts, amount: int, currency: str) -> Facts:
    """The facts of a run whose instruction asks for just this amount to be paid."""
    said = f"Pay DE1 {amount // 100}.{amount % 100:02d} {currency} and send word."
    return held.model_copy(update={"run": RunFacts(id=UUID(int=5), instruction=said)})


def _with_spec(held: Facts, **changes: Any) -> Facts:
    document = held.workflow.spec.model_dump() | changes
    workflow = held.workflow.model_copy(update={"spec": type(held.workflow.spec).model_validate(document)})
    return held.model_copy(update={"workflow": workflow})


@thorough
@given(worlds(), proposals())
def test_it_always_decides(held: Facts, proposed: Proposal) -> None:
    decision = decide(proposed, held, NOW)
    checks = {finding.check for finding in decision.findings}
    assert {"kill_switch", "contract", "scope", "hard_gate", "confidence", "value", "stage"} <= checks
    assert decision.outcome.severity == max(finding.outcome.severity for finding in decision.findings)
    waits = decision.outcome is Outcome.ESCALATE
    assert (decision.required_approvals.count > 0) is waits
    assert decision.required_approvals.roles
    assert not any(f.message == "" or f.check == "" for f in decision.findings)
    assert "The check failed" not in "".join(f.message for f in decision.findings if f.check != "contract")


@thorough
@given(worlds(), proposals())
def test_it_decides_the_same_bytes_again(held: Facts, proposed: Proposal) -> None:
    first = decide(proposed, held, NOW).model_dump_json()
    stored = proposed.model_dump(mode="json") | {"args": json.loads(rfc8785.dumps(proposed.args))}
    shuffled = proposed.model_copy(update={"args": dict(reversed(proposed.args.items()))})
    again = Proposal.model_validate(shuffled.model_dump())
    assert decide(proposed, held, NOW).model_dump_json() == first
    assert decide(again, held, NOW).model_dump_json() == first
    restored = Proposal.model_validate_json(json.dumps(stored)), Facts.model_validate_json(held.model_dump_json())
    assert decide(*restored, NOW).model_dump_json() == first


@thorough
@given(worlds(effects=sorted(HARD_GATES)), proposals(), st.lists(rules(), max_size=3))
def test_a_hard_gate_is_never_allowed(held: Facts, proposed: Proposal, more: list[dict[str, Any]]) -> None:
    assert _severity(_with_rules(held, more), proposed) >= Outcome.ESCALATE.severity


@thorough
@given(st.sampled_from(sorted(HARD_GATES)), st.data())
def test_nothing_that_can_be_set_lifts_a_hard_gate(effect: str, data: st.DataObject) -> None:
    """The friendliest world there is: everything fits, thresholds are at their floors, a rule allows all it can."""
    held = data.draw(worlds(effects=[effect]))
    friendly = _with_spec(
        held,
        stage="autonomous",
        confidence_min=0,
        value_max={"EUR": 2**53},
        tools={TOOL: {"access": "write"}},
        connections={"acme": {"write": WRITE}},
    )
    active = facts().connections
    friendly = friendly.model_copy(update={"kill_switches": [], "connections": active})
    friendly = _with_rules(friendly, [{"effect": "allow", "lifts": ["confidence", "value"]}])
    decision = decide(proposal({"to": "x"}, confidence=1.0), friendly, NOW)
    assert decision.outcome is not Outcome.ALLOW
    assert {f.outcome for f in decision.findings if f.check == "hard_gate"} == {Outcome.ESCALATE}


@thorough
@given(worlds(), proposals())
def test_only_a_known_granted_tool_is_ever_allowed(held: Facts, proposed: Proposal) -> None:
    if decide(proposed, held, NOW).outcome is Outcome.ALLOW:
        assert proposed.tool == TOOL
        assert held.contracts[TOOL].effect not in HARD_GATES
        assert held.workflow.spec.stage == "autonomous"
        assert proposed.edited_by is None


@thorough
@given(worlds(), proposals(), st.lists(rules().map(lambda r: r | {"effect": "allow"}), min_size=1, max_size=3))
def test_allow_rules_lift_only_what_they_name(held: Facts, proposed: Proposal, allowing: list[dict[str, Any]]) -> None:
    before = [f for f in decide(proposed, held, NOW).findings if f.check != "constitution"]
    after = [f for f in decide(proposed, _with_rules(held, allowing), NOW).findings if f.check != "constitution"]
    named = {check for r in allowing for check in r.get("lifts", [])}
    named |= {check for r in held.constitution.rules for check in r.lifts}
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if old.outcome is not new.outcome:
            assert (old.outcome, new.outcome) == (Outcome.ESCALATE, Outcome.ALLOW)
            assert old.check in {"confidence", "value", "risk", "counterparty"} & named


@thorough
@given(worlds(), proposals(), rules().filter(lambda r: r["effect"] != "allow"))
def test_a_rule_that_objects_never_makes_it_milder(held: Facts, proposed: Proposal, more: dict[str, Any]) -> None:
    assert _severity(_with_rules(held, [more]), proposed) >= _severity(held, proposed)


@thorough
@given(
    worlds(),
    proposals(),
    st.sampled_from([("tenant", ""), ("workflow", str(WORKFLOW)), ("connection", str(WRITE)), ("tool", TOOL)])
    | st.just(("service_account", str(AGENT))),
)
def test_a_kill_switch_never_makes_it_milder(held: Facts, proposed: Proposal, where: tuple[str, str]) -> None:
    switch = {"id": UUID(int=71), "scope": where[0], "target": where[1], "reason": "r"}
    engaged = facts(kill_switches=[switch]).kill_switches
    stopped = held.model_copy(update={"kill_switches": [*held.kill_switches, *engaged]})
    assert _severity(stopped, proposed) >= _severity(held, proposed)
    if where[0] == "tenant":
        assert _severity(stopped, proposed) == Outcome.DENY.severity


@thorough
@given(worlds(expressions=BLIND), proposals(), st.none() | st.floats(0, 1))
def test_less_confidence_never_makes_it_milder(held: Facts, proposed: Proposal, less: float | None) -> None:
    claimed = proposed.confidence
    lower = None if less is None or claimed is None else min(less, claimed)
    doubtful = proposed.model_copy(update={"confidence": lower})
    assert _severity(held, doubtful) >= _severity(held, proposed)


@thorough
@given(worlds(expressions=BLIND), st.integers(0, 20_000), st.integers(0, 2**53 - 1), st.sampled_from(["EUR", "USD"]))
def test_more_money_never_makes_it_milder(held: Facts, amount: int, more: int, currency: str) -> None:
    larger = min(amount + more, 2**53 - 1)
    some, most = ({"to": "DE1", "amount": a, "currency": currency} for a in (amount, larger))
    asked = [_asked_for(held, amount, currency), _asked_for(held, larger, currency)]
    assert _severity(asked[1], proposal(most)) >= _severity(asked[0], proposal(some))


@thorough
@given(worlds(), proposals())
def test_a_removed_grant_denies(held: Facts, proposed: Proposal) -> None:
    without = _with_spec(held, tools={"acme.something.else": {"access": "write"}})
    assert _severity(without, proposed) == Outcome.DENY.severity


@thorough
@given(worlds(), proposals())
def test_a_removed_connection_or_contract_denies(held: Facts, proposed: Proposal) -> None:
    assert _severity(held.model_copy(update={"connections": {}}), proposed) == Outcome.DENY.severity
    assert _severity(held.model_copy(update={"contracts": {}}), proposed) == Outcome.DENY.severity


@thorough
@given(worlds(expressions=[e for e in BLIND if "stage" not in e]), proposals())
def test_less_autonomy_never_makes_it_milder(held: Facts, proposed: Proposal) -> None:
    stages = ("autonomous", "supervised", "shadow")
    severities = [_severity(_with_spec(held, stage=stage), proposed) for stage in stages]
    assert severities == sorted(severities)


@thorough
@given(worlds(), proposals())
def test_an_edit_never_makes_it_milder(held: Facts, proposed: Proposal) -> None:
    plain = proposed.model_copy(update={"edited_by": None})
    edited = proposed.model_copy(update={"edited_by": UUID(int=8)})
    assert _severity(held, edited) >= max(_severity(held, plain), Outcome.ESCALATE.severity)


@thorough
@given(worlds(), proposals(), st.sets(st.sampled_from(["/to", "/amount", "/items"]), max_size=2))
def test_a_narrower_grant_never_makes_it_milder(held: Facts, proposed: Proposal, kept: set[str]) -> None:
    tools = held.workflow.spec.model_dump()["tools"]
    wide = _with_spec(held, tools=tools | {TOOL: tools[TOOL] | {"arguments": None, "records": {}}})
    narrow = _with_spec(
        held, tools=tools | {TOOL: tools[TOOL] | {"arguments": sorted(kept), "records": {"/to": ["DE1"]}}}
    )
    assert _severity(narrow, proposed) >= _severity(wide, proposed)


@thorough
@given(worlds(expressions=BLIND), proposals())
def test_stricter_thresholds_never_make_it_milder(held: Facts, proposed: Proposal) -> None:
    tools = held.workflow.spec.model_dump()["tools"]
    tools = {name: grant | {"confidence_min": None, "value_max": {}} for name, grant in tools.items()}
    loose = _with_spec(held, tools=tools)
    strict = _with_spec(held, tools=tools, confidence_min=1, value_max={})
    assert _severity(strict, proposed) >= _severity(loose, proposed)


def test_the_worlds_hold_every_verdict() -> None:
    """The properties above would be empty if generated worlds only ever denied."""
    seen: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(worlds(), proposals())
    def collect(held: Facts, proposed: Proposal) -> None:
        seen[decide(proposed, held, NOW).outcome] += 1

    collect()
    assert all(count >= 5 for count in seen.values()), seen
    assert decided(facts(spec())).outcome is Outcome.ALLOW
    assert OTHER != TOOL
