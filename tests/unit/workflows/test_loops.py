"""The loop of a version: what a reviewer is told of a change to it, and what keeps it from working."""

from typing import Any

import pytest
from pydantic import ValidationError

from api.gate.loop_spec import LoopSpec
from api.gate.models import AccessSpec
from api.runs.loop.drafting import described, mistakes
from api.workflows.diff import diff
from tests.unit.workflows.specs import BILLS, CONTRACTS, NOTE, a_spec

CALL, HOOK = {"kind": "call"}, {"kind": "webhook", "provider": "sandbox_crm", "events": ["message.received"]}
NIGHTLY = {"kind": "schedule", "cron": "0 2 * * *", "time_zone": "Europe/Amsterdam"}
RULES: dict[str, Any] = {
    "kind": "rules",
    "rules": [
        {
            "when": "size(observations.bills.bills) > 0",
            "propose": {
                "tool": NOTE, "args": {"contact_id": "con_ada", "body": "Called back"}, "confidence": 0.95,
                "rationale": "As told.", "citations": ["say-why"], "evidence": ["bills"],
            },
        }
    ],
}  # fmt: skip
MODEL: dict[str, Any] = {
    "kind": "anthropic", "provider": "models", "model": "one",
    "budget": {
        "tokens_per_run": 1000, "tokens_per_day": 1000, "cost_per_run": 1, "cost_per_day": 1, "currency": "EUR",
    },
}  # fmt: skip
LOOP: dict[str, Any] = {
    "triggers": [CALL, NIGHTLY], "instruction": "Call back.", "observe": [{"name": "bills", "tool": BILLS}],
    "reasoner": RULES, "max_actions": 5, "max_concurrent": 2, "deadline_minutes": 30,
}  # fmt: skip


def looped(**changes: Any) -> AccessSpec:
    return a_spec(loop=LOOP | changes)


def changed(before: AccessSpec, after: AccessSpec) -> list[tuple[str, str]]:
    return [(change.pointer, change.kind) for change in diff(before, after)]


def found(**changes: Any) -> dict[str, str]:
    return dict(mistakes(looped(**changes), CONTRACTS))


def test_to_be_driven_here_is_more_and_to_be_no_longer_is_less() -> None:
    assert changed(a_spec(), looped()) == [("/loop", "widened")]
    assert changed(looped(), a_spec()) == [("/loop", "narrowed")]
    assert changed(looped(), looped()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"instruction": "Call back, and pay."},
        {"observe": [{"name": "bills", "tool": BILLS, "optional": True}]},
        {"observe": []},
        {"reasoner": MODEL},
        {"reasoner": RULES | {"rules": RULES["rules"] * 2}},
    ],
)
def test_whatever_else_a_run_is_told_reads_or_thinks_is_wider_both_ways(changes: dict[str, Any]) -> None:
    """Nobody can tell which of two instructions, reads or ways of thinking is less."""
    pointer = f"/loop/{next(iter(changes))}"
    assert changed(looped(), looped(**changes)) == [(pointer, "widened")]
    assert changed(looped(**changes), looped()) == [(pointer, "widened")]


@pytest.mark.parametrize("name", ["max_actions", "max_concurrent", "deadline_minutes"])
def test_a_larger_number_is_wider_and_a_smaller_one_narrower(name: str) -> None:
    more = looped(**{name: LOOP[name] + 1})
    assert changed(looped(), more) == [(f"/loop/{name}", "widened")]
    assert changed(more, looped()) == [(f"/loop/{name}", "narrowed")]


def test_a_trigger_more_is_wider_and_another_is_one_more_and_one_less() -> None:
    assert changed(looped(), looped(triggers=[CALL, NIGHTLY, HOOK])) == [("/loop/triggers", "widened")]
    assert changed(looped(), looped(triggers=[CALL])) == [("/loop/triggers", "narrowed")]
    assert changed(looped(), looped(triggers=[NIGHTLY, CALL])) == []
    hourly = NIGHTLY | {"cron": "0 * * * *"}
    assert sorted(changed(looped(), looped(triggers=[CALL, hourly]))) == [
        ("/loop/triggers", "narrowed"), ("/loop/triggers", "widened"),
    ]  # fmt: skip
    wider = HOOK | {"events": ["*"]}
    assert ("/loop/triggers", "widened") in changed(looped(triggers=[HOOK]), looped(triggers=[wider]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"triggers": []}, "at least 1 item"),
        ({"triggers": [NIGHTLY | {"cron": "0 2 30 2 *"}]}, "never due"),
        ({"triggers": [NIGHTLY | {"time_zone": "Europe/Atlantis"}]}, "Europe/Atlantis"),
        ({"triggers": [HOOK | {"events": []}]}, "at least 1 item"),
        ({"triggers": [HOOK | {"events": ["two words"]}]}, "pattern"),
        ({"triggers": [HOOK | {"secret": "mine"}]}, "Extra inputs"),
        ({"instruction": ""}, "at least 1 character"),
        ({"observe": [{"name": "bills", "tool": BILLS}] * 2}, "the same name: bills"),
        (
            {"observe": [{"name": "a", "tool": BILLS, "for_each": {"observation": "b", "pointer": "/x"}}]},
            "not read before",
        ),
        ({"max_actions": 0}, "greater than or equal to 1"),
        ({"max_concurrent": 101}, "less than or equal to 100"),
        ({"deadline_minutes": 10_081}, "less than or equal to 10080"),
    ],
)  # fmt: skip
def test_what_is_no_loop_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LoopSpec.model_validate(LOOP | changes)


def test_a_loop_that_works_has_no_mistakes_and_is_told_to_its_reviewer() -> None:
    assert found() == {}
    assert found(triggers=[HOOK]) == {}
    told = " ".join(described(LoopSpec.model_validate(LOOP | {"triggers": [CALL, NIGHTLY, HOOK]})))
    for said in (
        "by a call",
        "0 2 * * * (Europe/Amsterdam)",
        "sandbox_crm sends (message.received)",
        "Call back.",
        BILLS,
    ):
        assert said in told


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"triggers": [HOOK | {"provider": "stripe"}]}, "/loop/triggers/0/provider", "no tool of this provider"),
        ({"observe": [{"name": "bills", "tool": "stripe.charges.list"}]}, "/loop/observe/0/tool", "granted no tool"),
        ({"observe": [{"name": "bills", "tool": NOTE}]}, "/loop/observe/0/tool", "writes"),
        (
            {"observe": [{"name": "bills", "tool": BILLS, "args": {"status": "{item/status}"}}]},
            "/loop/observe/0/args/status", "without for_each there is no item",
        ),
        (
            {"observe": [{"name": "bills", "tool": BILLS, "args": {"status": "{observations/mail/x}"}}]},
            "/loop/observe/0/args/status", "nothing named mail is read before",
        ),
        (
            {"observe": [{"name": "bills", "tool": BILLS, "args": {"status": "{whatever/x}"}}]},
            "/loop/observe/0/args/status", "",
        ),
        ({"observe": [{"name": "mail", "tool": BILLS}]}, "/loop/reasoner/rules/0/when", ""),
    ],
)  # fmt: skip
def test_what_keeps_a_loop_from_working_is_found_at_its_place(changes: dict[str, Any], pointer: str, said: str) -> None:
    assert said in found(**changes)[pointer]
