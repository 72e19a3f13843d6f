"""The decision as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import rfc8785

from api.gate import decide as gate
from api.gate.checks import constitution
from api.gate.models import Decision, Facts, Outcome, Proposal
from tests.unit.gate.world import ARGS, NOW, TOOL, contract, decided, facts, objections, of, proposal, spec

ROOT = Path(__file__).parents[3]
LIFTING = {"effect": "allow", "lifts": ["confidence", "value", "risk"]}
DOUBTFUL: dict[str, Any] = {"args": ARGS | {"amount": 10_001}, "confidence": 0.1}


def test_every_check_has_its_say_even_when_the_first_denies() -> None:
    switch = {"id": UUID(int=1), "scope": "tenant", "target": "x", "reason": "Stop."}
    held = facts(
        spec({"arguments": []}, stage="supervised"),
        contract(effect="money_movement"),
        [{"effect": "deny"}],
        kill_switches=[switch],
    )
    args = {"to": 5, "amount": 10_001, "currency": "EUR"}
    decision = decided(held, proposal(args, confidence=0.1, edited_by=UUID(int=8)))
    assert decision.outcome is Outcome.DENY
    everything = {
        "kill_switch",
        "contract",
        "scope",
        "hard_gate",
        "grounding",
        "counterparty",
        "confidence",
        "value",
        "risk",
        "stage",
        "edit",
        "constitution",
    }
    assert objections(decision) == everything


def test_every_check_runs_on_every_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for module in (*gate.CHECKS, constitution):
        original = module.check

        def counted(*args: Any, original: Any = original, name: str = module.__name__) -> Any:
            ran.append(name)
            return original(*args)

        monkeypatch.setattr(module, "check", counted)
    decided(proposed=proposal(tool="no.such.tool", args={}, confidence=None))
    assert sorted(ran) == sorted(module.__name__ for module in (*gate.CHECKS, constitution))


def test_every_file_of_checks_is_used() -> None:
    files = {path.stem for path in (ROOT / "api/gate/checks").glob("*.py")} - {"__init__"}
    assert files == {module.__name__.rsplit(".", 1)[-1] for module in (*gate.CHECKS, constitution)}


@pytest.mark.parametrize("module", [*gate.CHECKS, constitution], ids=lambda m: m.__name__.rsplit(".", 1)[-1])
@pytest.mark.parametrize("error", [RuntimeError("x"), RecursionError(), MemoryError(), KeyError("secret value")])
def test_a_check_that_errs_denies(module: Any, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise error
        yield

    monkeypatch.setattr(module, "check", broken)
    decision = decided(facts(rules=[LIFTING]))
    name = module.__name__.rsplit(".", 1)[-1]
    assert decision.outcome is Outcome.DENY
    assert [f.outcome for f in of(decision, name)] == [Outcome.DENY]
    assert "secret value" not in decision.model_dump_json()


def test_a_check_that_errs_halfway_still_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    original = gate.CHECKS[0].check

    def halfway(*args: Any) -> Any:
        yield from original(*args)
        raise RuntimeError

    monkeypatch.setattr(gate.CHECKS[0], "check", halfway)
    assert [f.outcome for f in of(decided(), "kill_switch")] == [Outcome.ALLOW, Outcome.DENY]


def test_a_now_without_a_time_zone_denies_instead_of_guessing() -> None:
    held = facts(rules=[{"effect": "deny", "expires_at": NOW}])
    assert gate.decide(proposal(), held, NOW.replace(tzinfo=None)).outcome is Outcome.DENY


@pytest.mark.parametrize(
    ("lifts", "left"),
    [
        ([], {"confidence", "value"}),
        (["confidence"], {"value"}),
        (["value"], {"confidence"}),
        (["confidence", "value"], set()),
    ],
)
def test_an_allow_lifts_what_it_names(lifts: list[str], left: set[str]) -> None:
    decision = decided(facts(rules=[LIFTING | {"lifts": lifts}]), proposal(**DOUBTFUL))
    assert objections(decision) == left
    for check in lifts:
        assert [(f.rule_id, f.message.endswith("Lifted by a rule.")) for f in of(decision, check)] == [("a-rule", True)]


@pytest.mark.parametrize(
    "lift", ["hard_gate", "scope", "contract", "kill_switch", "stage", "edit", "constitution", "*", ""]
)
def test_no_rule_can_name_another_check(lift: str) -> None:
    with pytest.raises(ValueError, match="lifts"):
        facts(rules=[LIFTING | {"lifts": [lift]}])


@pytest.mark.parametrize("effect", ["deny", "require_approval"])
def test_only_an_allow_lifts(effect: str) -> None:
    decision = decided(facts(rules=[LIFTING | {"effect": effect}]), proposal(**DOUBTFUL))
    assert {"confidence", "value"} <= objections(decision)


@pytest.mark.parametrize("when", ["false", "args.missing", "args.missing == 1", "args.amount"])
def test_an_allow_that_does_not_hold_lifts_nothing(when: str) -> None:
    decision = decided(facts(rules=[LIFTING | {"when": when}]), proposal(**DOUBTFUL))
    assert {"confidence", "value"} <= objections(decision)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"access": spec(stage="supervised")}, "stage"),
        ({"access": spec(stage="shadow")}, "stage"),
        ({"access": spec({"arguments": []})}, "scope"),
        ({"tool": contract(effect="legal", intents=["pay"])}, "hard_gate"),
        ({"tool": contract(input_schema={"type": "object", "maxProperties": 0})}, "contract"),
        ({"connection": {"status": "revoked"}}, "connection"),
        ({"connection": {"provider": "other"}}, "scope"),
    ],
)
def test_an_allow_lifts_nothing_else(changes: dict[str, Any], check: str) -> None:
    assert objections(decided(facts(rules=[LIFTING], **changes), proposal(**DOUBTFUL))) == {check}


def test_what_is_cited() -> None:
    rules: list[dict[str, Any]] = [
        {"id": "matches"},
        {"id": "does-not", "when": "false"},
        {"id": "fails", "when": "args.missing"},
        {"id": "expired", "expires_at": NOW},
        {"id": "elsewhere", "applies_to": ["other.*"]},
    ]
    decision = decided(facts(rules=rules))
    assert decision.rules_evaluated == ["matches", "does-not", "fails"]
    assert decision.rules_matched == ["matches", "fails"]
    assert (decision.constitution_version, decision.workflow_version, decision.contract_version) == (3, 2, 4)
    assert decision.decided_at == NOW


@pytest.mark.parametrize(
    ("grant", "rules", "expected"),
    [
        ({}, [], (1, ["owner", "approver"], "aal1")),
        ({"approvals": {"count": 3, "roles": ["admin"], "aal": "aal2"}}, [], (3, ["admin"], "aal2")),
        ({}, [{"approvals": {"count": 2, "roles": ["approver", "admin"]}}], (2, ["approver"], "aal1")),
        ({}, [{"approvals": {"count": 1, "roles": ["approver"], "aal": "aal2"}}], (1, ["approver"], "aal2")),
        ({}, [{"approvals": {"count": 2, "roles": ["admin"]}}], (2, ["owner"], "aal1")),
        ({}, [{"when": "args.missing", "approvals": {"count": 2}}], (2, ["owner", "approver"], "aal1")),
        ({}, [{"when": "false", "approvals": {"count": 2}}, {}], (1, ["owner", "approver"], "aal1")),
        ({}, [{"effect": "allow", "approvals": {"count": 5}}, {}], (1, ["owner", "approver"], "aal1")),
        (
            {"approvals": {"count": 2, "roles": ["owner", "approver", "admin"]}},
            [{"approvals": {"count": 1, "roles": ["admin", "approver"]}}, {"approvals": {"count": 4}}],
            (4, ["approver"], "aal1"),
        ),
    ],
)
def test_the_strictest_approvals_are_asked_for(
    grant: dict[str, Any], rules: list[dict[str, Any]], expected: tuple[int, list[str], str]
) -> None:
    rules = [{"id": f"r-{n}"} | r for n, r in enumerate(rules)]
    asked = decided(facts(spec(grant, stage="supervised"), rules=rules)).required_approvals
    assert (asked.count, asked.roles, asked.aal) == expected


@pytest.mark.parametrize("outcome", ["allow", "deny"])
def test_nobody_is_asked_where_nothing_waits(outcome: str) -> None:
    decision = decided(facts(rules=[{"effect": outcome}]))
    assert decision.outcome.value == outcome
    assert decision.required_approvals.count == 0


def test_a_known_tool_that_moves_money_asks_for_a_second_factor() -> None:
    held = facts(known_tools={"acme.wire": {"version": 1, "effect": "money_movement"}})
    assert decided(held, proposal(tool="acme.wire")).required_approvals.aal == "aal2"


BUSY: list[dict[str, Any]] = [
    {"id": "one", "when": "args.missing", "effect": "allow"},
    {"id": "two", "when": "args.to in subject", "effect": "allow"},
    {"id": "three", "when": "args.meta == {'z': 1, 'a': 2}", "approvals": {"count": 2}},
]
BUSY_ARGS: dict[str, Any] = {
    "zeta": 1,
    "amount": 1e20,
    "to": 5.0,
    "alpha": {"y": 2, "b": 1.5},
    "items": [{"q": 1, "a": 2}],
}
WRITE_OUT = """
import sys
from api.gate.decide import decide
from api.gate.models import Facts, Proposal
from datetime import datetime
facts, proposal, now = sys.stdin.read().split("\\n")
decision = decide(Proposal.model_validate_json(proposal), Facts.model_validate_json(facts), datetime.fromisoformat(now))
print(decision.model_dump_json())
"""


def test_another_process_decides_the_same_bytes() -> None:
    """Anyone may replay a stored decision, so neither hash seeds nor the order of members may show in it."""
    held = facts(spec({"arguments": ["/to"], "records": {"/to": [1], "/x": ["y"]}}), rules=BUSY)
    proposed = proposal(BUSY_ARGS, subject={"b": 1, "a": 2})
    expected = decided(held, proposed).model_dump_json()
    question = f"{held.model_dump_json()}\n{proposed.model_dump_json()}\n{NOW.isoformat()}"
    for seed in ("0", "1", "4242"):
        ran = subprocess.run(
            [sys.executable, "-c", WRITE_OUT],
            input=question,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
        )
        assert ran.stdout.strip() == expected


def test_what_was_stored_is_decided_the_same() -> None:
    held = facts(spec({"arguments": ["/to"]}), rules=BUSY)
    proposed = proposal(BUSY_ARGS)
    stored = {"args": json.loads(rfc8785.dumps({"tool": TOOL, "args": proposed.args}))["args"]}
    again = Proposal.model_validate_json(json.dumps(proposed.model_dump(mode="json") | stored))
    facts_again = Facts.model_validate_json(json.dumps(held.model_dump(mode="json"), sort_keys=True))
    assert decided(facts_again, again).model_dump_json() == decided(held, proposed).model_dump_json()


def test_a_decision_survives_storage() -> None:
    decision = decided(facts(rules=BUSY))
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def test_deciding_changes_nothing() -> None:
    held, proposed = facts(rules=[LIFTING]), proposal(**DOUBTFUL)
    before = held.model_dump_json(), proposed.model_dump_json()
    decided(held, proposed)
    assert (held.model_dump_json(), proposed.model_dump_json()) == before
