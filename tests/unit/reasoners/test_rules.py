"""The reasoner without a model: the same ask, the same thought; nothing twice; and what stood in the way is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from api.gate.models import Contract, Rule
from api.gate.reasoner_spec import RulesReasoner
from api.runs.reasoners.drafting import problems
from api.runs.reasoners.filling import FillingError, fill, parse
from api.runs.reasoners.reasoner import Ask, Seen
from api.runs.reasoners.rules import MAX_ITEMS, think

PAY = "sandbox_bank.payments.create"
NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
CONTRACT = Contract.model_validate(
    {
        "name": PAY, "version": 1, "provider": "sandbox_bank", "title": "Pay", "access": "write",
        "effect": "money_movement", "reversible": False, "idempotency": "key", "execution": {},
        "input_schema": {
            "type": "object", "additionalProperties": False, "required": ["to_iban", "amount"],
            "properties": {
                "to_iban": {"type": "string"}, "amount": {"type": "integer", "minimum": 1},
                "reference": {"type": "string", "maxLength": 20}, "currency": {"enum": ["EUR", "USD"]},
            },
        },
    }
)  # fmt: skip
BILLS = [
    {"id": "b1", "iban": "DE1", "amount": 100, "due": "2026-11-20", "vendor": "N"},
    {"id": "b2", "iban": "DE2", "amount": 250, "due": "2026-12-24", "vendor": "N"},
    {"id": "b3", "iban": "DE3", "amount": 300, "due": "2026-11-28", "vendor": "M"},
]


def rule(when: str = "item.due <= today", **changes: Any) -> dict[str, Any]:
    args = {"to_iban": "{item/iban}", "amount": "{item/amount}", "reference": "Bill {item/id}"}
    propose = {
        "tool": PAY, "args": args, "confidence": 0.97, "rationale": "{item/id} was due on {item/due}.",
        "citations": ["pay-due"], "evidence": ["bills"], "subject": {"type": "bill", "id": "{item/id}"},
    }  # fmt: skip
    each = {"observation": "bills", "pointer": "/bills"}
    return {"when": when, "for_each": each, "propose": propose | changes.pop("propose", {})} | changes


def reasoner(*rules: dict[str, Any]) -> RulesReasoner:
    return RulesReasoner.model_validate({"kind": "rules", "rules": list(rules)})


def ask(bills: Any = None, **changes: Any) -> Ask:
    seen = Seen("bills", UUID(int=1), "sandbox_bank.bills.list", {"bills": BILLS if bills is None else bills}, {})
    known = Rule(id="pay-due", title="Pay", principle="Pay what is due.", when="true", effect="allow")
    asked: dict[str, Any] = {
        "run_id": UUID(int=2), "workflow": "pay", "instruction": "Pay.", "subject": {"type": "vendor", "id": "N"},
        "observations": [seen], "tools": {PAY: CONTRACT}, "rules": [known], "now": NOW,
    }  # fmt: skip
    return Ask(**asked | changes)


def test_it_proposes_for_each_item_that_fits_with_values_of_their_own_type() -> None:
    thought = think(reasoner(rule()), ask())
    assert [one.args for one in thought.suggestions] == [
        {"amount": 100, "reference": "Bill b1", "to_iban": "DE1"},
        {"amount": 300, "reference": "Bill b3", "to_iban": "DE3"},
    ]
    first = thought.suggestions[0]
    assert first.rationale == "b1 was due on 2026-11-20."
    assert first.subject is not None
    assert (first.subject.id, first.evidence, first.citations) == ("b1", ["bills"], ["pay-due"])
    assert (thought.notes, thought.calls) == ("", [])


def test_the_same_ask_gives_the_same_bytes() -> None:
    spec = reasoner(rule(), rule("item.amount > 200"))
    both = [think(spec, ask()) for _ in range(2)]
    assert [s.model_dump_json() for s in both[0].suggestions] == [s.model_dump_json() for s in both[1].suggestions]
    assert both[0].notes == both[1].notes


def test_nothing_is_suggested_twice() -> None:
    thought = think(reasoner(rule(), rule("true"), rule("item.amount == 100")), ask(bills=[*BILLS, BILLS[0]]))
    assert [one.args["to_iban"] for one in thought.suggestions] == ["DE1", "DE3", "DE2"]


def test_once_per_takes_the_first_of_each() -> None:
    thought = think(reasoner(rule("true", once_per="/vendor")), ask())
    assert [one.args["to_iban"] for one in thought.suggestions] == ["DE1", "DE3"]


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("item.vendor == subject.id && item.amount < 200", ["DE1"]),
        ("size(observations.bills.bills) == 3 && item.amount > 250", ["DE3"]),
        ("now < timestamp('2026-11-28T10:00:00Z') && item.id in ['b2']", ["DE2"]),
        ("false", []),
    ],
)
def test_conditions_see_the_item_the_observations_the_subject_and_the_time(when: str, holds: list[str]) -> None:
    assert [one.args["to_iban"] for one in think(reasoner(rule(when)), ask()).suggestions] == holds


def test_a_rule_without_items_is_tried_once() -> None:
    propose = {"args": {"to_iban": "DE9", "amount": "{observations/bills/bills/1/amount}"}, "rationale": "{today}"}
    plain = rule("subject.id == 'N'", for_each=None, propose=propose | {"subject": None})
    [one] = think(reasoner(plain), ask()).suggestions
    assert (one.args, one.rationale) == ({"amount": 250, "to_iban": "DE9"}, "2026-11-28")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"observations": []}, "bills was not observed"),
        ({"bills": {"no": "list"}}, "is no list"),
        ({"bills": [{"id": "b1"}]}, "due"),
        ({"bills": [{"due": "2026-01-01", "id": "b1", "amount": 1}]}, "{item/iban} finds nothing"),
        ({"bills": [{"due": "2026-01-01", "id": 1.5, "amount": 1, "iban": "x"}]}, "neither a text nor a whole number"),
        ({"bills": [{}] * (MAX_ITEMS + 1)}, "at most"),
        ({"tools": {}}, "not granted"),
        ({"rules": []}, "has none of the rules"),
        ({"bills": []}, "No rule's condition holds"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_said(asked: dict[str, Any], said: str) -> None:
    thought = think(reasoner(rule()), ask(**asked))
    assert thought.suggestions == []
    assert said in thought.notes


def test_what_is_filled_in_is_never_read_as_a_template() -> None:
    hostile = {"id": "{subject/id}", "iban": "{item/amount}", "amount": 5, "due": "2026-01-01"}
    [one] = think(reasoner(rule()), ask(bills=[hostile])).suggestions
    assert one.args == {"amount": 5, "reference": "Bill {subject/id}", "to_iban": "{item/amount}"}


def test_templates_have_braces_and_refuse_what_is_neither() -> None:
    assert fill("{{{today}}}", {"today": "x"}) == "{x}"
    assert fill(["{item/a~1b}"], {"item": {"a/b": [1]}}) == [[1]]
    for bad in ("{", "a } b", "{other}", "{item/*}", "{today/x}", "{}"):
        with pytest.raises(FillingError):
            parse(bad)


def test_a_sound_reasoner_has_no_problems() -> None:
    assert problems(reasoner(rule()), {PAY: CONTRACT}, {"bills"}) == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"when": "item.due <="}, "/rules/0/when"),
        ({"when": "nobody.due == 'x'"}, "/rules/0/when"),
        ({"when": "[1].all(x, x > 0)"}, "/rules/0/when"),
        ({"when": "observations.invoices.n == 1"}, "/rules/0/when"),
        ({"for_each": {"observation": "invoices"}}, "/rules/0/for_each/observation"),
        ({"for_each": None}, "/rules/0/when"),
        ({"for_each": None, "when": "true"}, "/rules/0/propose/args/to_iban"),
        ({"for_each": None, "once_per": "/x"}, "/rules/0/once_per"),
        ({"propose": {"tool": "sandbox_bank.refunds.create"}}, "/rules/0/propose/tool"),
        ({"propose": {"args": {"to_iban": "{item/iban}"}}}, "/rules/0/propose/args"),
        ({"propose": {"args": {"to_iban": "x", "amount": 1, "bic": "x"}}}, "/rules/0/propose/args/bic"),
        ({"propose": {"args": {"to_iban": "x", "amount": 0}}}, "/rules/0/propose/args/amount"),
        ({"propose": {"args": {"to_iban": "{item", "amount": 1}}}, "/rules/0/propose/args/to_iban"),
        ({"propose": {"args": {"to_iban": "{observations/x/y}", "amount": 1}}}, "/rules/0/propose/args/to_iban"),
        ({"propose": {"rationale": "{nothing}"}}, "/rules/0/propose/rationale"),
        ({"propose": {"evidence": ["invoices"]}}, "/rules/0/propose/evidence/0"),
        ({"propose": {"subject": {"type": "bill", "id": "}"}}}, "/rules/0/propose/subject/id"),
    ],
)  # fmt: skip
def test_mistakes_are_found_where_they_are(changes: dict[str, Any], pointer: str) -> None:
    assert pointer in [at for at, _ in problems(reasoner(rule(**changes)), {PAY: CONTRACT}, {"bills"})]
