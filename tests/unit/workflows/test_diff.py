"""What a reviewer is told of a new version: nothing that widens access goes without being called so."""

from typing import Any

import pytest
from hypothesis import given, settings

from api.gate.models import AccessSpec
from api.gate.pointer import covers
from api.workflows.changes import Change
from api.workflows.diff import diff
from tests.unit.workflows.specs import BILLS, CONTRACTS, NOTE, PAY, TWO, a_spec, specs, with_tool


def kinds(changes: list[Change]) -> set[str]:
    return {change.kind for change in changes}


@given(specs())
def test_a_spec_does_not_differ_from_itself(spec: AccessSpec) -> None:
    assert diff(spec, spec) == []


@given(specs(), specs())
@settings(max_examples=300)
def test_what_one_way_narrows_widens_the_other_way(one: AccessSpec, other: AccessSpec) -> None:
    forth = sorted((c.pointer, str(c.before), str(c.after), c.kind) for c in diff(one, other))
    back: dict[tuple[str, str, str], set[str]] = {}
    for change in diff(other, one):
        back.setdefault((change.pointer, str(change.after), str(change.before)), set()).add(change.kind)
    for pointer, before, after, kind in forth:
        opposite = back[pointer, before, after]
        if kind == "widened":
            assert opposite & {"narrowed", "widened"}  # the latter where neither way is proven narrower
        else:
            assert {"narrowed": "widened", "changed": "changed"}[kind] in opposite


def permitted(spec: AccessSpec) -> dict[Any, Any]:
    """What a spec permits, told apart from how it is written: for every question a number, higher is more."""
    found: dict[Any, Any] = {
        "stage": ("shadow", "supervised", "autonomous").index(spec.stage),
        "hours": spec.approval_hours,
        "days": spec.retention_days,
    }
    for name, grant in spec.tools.items():
        found[name, "used"] = found[name, grant.access] = 1
        for at in ("/a/0/b", "/a/1/b", "/a/1", "/c/d", "/c/e"):
            found[name, "kept", at] = int(any(covers(field, at) for field in grant.read_fields))
            allowed = grant.arguments is None or any(covers(argument, at) for argument in grant.arguments)
            found[name, "given", at] = int(allowed)
        for argument in ("/x", "/y"):
            values = grant.records.get(argument)
            for value in (1, "1", "z", "other"):
                known = values is None or any(type(v) is type(value) and v == value for v in values)
                found[name, argument, type(value), value] = int(known)
        for currency in ("EUR", "JPY"):
            found[name, currency] = (spec.value_max | grant.value_max).get(currency, -1)
        confidence = spec.confidence_min if grant.confidence_min is None else grant.confidence_min
        found[name, "unsure"] = 1 - confidence
        approvals = grant.approvals or spec.approvals
        found[name, "few"] = -approvals.count
        found[name, "one factor"] = int(approvals.aal == "aal1")
        for role in ("owner", "approver"):
            found[name, role] = int(role in approvals.roles)
        for data_class in grant.data_classes:
            found[name, "sent", data_class] = 1
        found[name, "irreversible"] = int(grant.irreversible_alone)
        found[name, "believed"] = int(grant.asserted == "contract")
        if grant.outbound is not None:
            found[name, "sends"] = 1
            found[name, "any text"] = int(grant.outbound.any_text)
            for sent in (*grant.outbound.recipients, *grant.outbound.templates):
                found[name, "sends", sent] = 1
    for provider, binding in spec.connections.items():
        for access in ("read", "write"):
            if (used := getattr(binding, access)) is not None:
                found[provider, access, used] = 1
    for data_class in ("personal", "financial", "internal"):
        found["held", data_class] = int(data_class in spec.data_classes)
        found["days", data_class] = spec.retention.get(data_class, spec.retention_days)
    found["new payees"] = -spec.counterparty_approvals
    found["risk, waits"], found["risk, refused"] = spec.risk.escalate_at, spec.risk.deny_at
    for kind in ("iban", "email", "card"):
        found["bare", kind] = int(kind not in spec.hidden)
    for insider in spec.insiders:
        found["insider", insider] = 1
    return found | {key: value for name in ("one", "two") for key, value in let_through(spec, name).items()}


def let_through(spec: AccessSpec, name: str) -> dict[Any, int]:
    """What a limit over time lets through; without one, everything."""
    limit = next((limit for limit in spec.limits if limit.name == name), None)
    found: dict[Any, int] = {(name, "hours"): -limit.window_hours if limit else 1}
    found[name, "count"] = limit.max_count if limit and limit.max_count is not None else 10**6
    found[name, "beyond"] = int(limit is None or limit.exceeded == "escalate")
    for currency in ("EUR", "JPY"):
        bounded = limit is not None and limit.currency == currency
        found[name, currency] = limit.max_amount if bounded and limit and limit.max_amount is not None else 10**6
    for apart in ("agent", "tool"):
        found[name, "per", apart] = int(limit is None or apart in limit.per)
    for tool in ("a.b", "a.c"):
        found[name, "past", tool] = int(limit is not None and bool(limit.tools) and tool not in limit.tools) or int(
            limit is None
        )
    return found


@given(specs(), specs())
@settings(max_examples=500)
def test_nothing_is_permitted_anew_without_being_called_wider(before: AccessSpec, after: AccessSpec) -> None:
    was, now = permitted(before), permitted(after)
    if any(value > was.get(question, 0 if value == 0 else -10) for question, value in now.items()):
        assert "widened" in kinds(diff(before, after))


@given(specs(), specs())
def test_who_may_do_no_more_is_told_so(before: AccessSpec, after: AccessSpec) -> None:
    """The other direction: `widened` is not said of every difference, or nobody would read it any more."""
    changes = diff(before, after)
    assert all(change.text and change.pointer.startswith("/") for change in changes)
    if all(change.kind == "changed" for change in changes):
        assert permitted(before) == permitted(after)


A_LIMIT: dict[str, Any] = {
    "name": "daily", "window_hours": 24, "max_amount": 5000, "currency": "EUR", "max_count": 10,
}  # fmt: skip
WIDENED: dict[str, tuple[AccessSpec, AccessSpec]] = {
    "a tool": (AccessSpec.model_validate(a_spec().model_dump() | {"tools": {BILLS: {"access": "read"}}}), a_spec()),
    "a field": (a_spec(), with_tool(BILLS, read_fields=["/bills/*/id", "/bills/*/iban", "/bills/*/memo"])),
    "the parent of a field": (a_spec(), with_tool(BILLS, read_fields=["/bills/*"])),
    "a record": (a_spec(), with_tool(PAY, records={"/from_account": ["acc_operating", "acc_reserve"]})),
    "no records any more": (a_spec(), with_tool(PAY, records={})),
    "an argument": (with_tool(PAY, arguments=["/amount"]), with_tool(PAY, arguments=["/amount", "/to_iban"])),
    "all arguments": (with_tool(PAY, arguments=["/amount"]), a_spec()),
    "a ceiling": (a_spec(), a_spec(value_max={"EUR": 100_000, "USD": 1})),
    "a higher ceiling": (a_spec(), a_spec(value_max={"EUR": 100_001})),
    "a tool's ceiling above the workflow's": (a_spec(), with_tool(PAY, value_max={"EUR": 100_001})),
    "no strict ceiling of a tool any more": (with_tool(PAY, value_max={"EUR": 1}), a_spec()),
    "a lower threshold": (a_spec(), a_spec(confidence_min=0.7)),
    "no strict threshold of a tool any more": (with_tool(NOTE, confidence_min=0.99), a_spec()),
    "a data class": (a_spec(data_classes=["internal"]), a_spec(data_classes=["internal", "personal"])),
    "a class that is sent": (a_spec(), with_tool(NOTE, data_classes=["internal", "personal"])),
    "a longer retention": (a_spec(retention_days=10), a_spec(retention_days=11)),
    "no shorter retention any more": (a_spec(retention={"personal": 10}), a_spec()),
    "fewer approvals": (a_spec(approvals={"count": 2}), a_spec(approvals={"count": 1})),
    "a role that approves": (a_spec(approvals={"roles": ["owner"]}), a_spec()),
    "one factor": (a_spec(approvals={"aal": "aal2"}), a_spec()),
    "more time": (a_spec(approval_hours=1), a_spec(approval_hours=2)),
    "autonomy": (a_spec(stage="supervised"), a_spec()),
    "a connection": (a_spec(connections={}), a_spec()),
    "another account": (a_spec(), a_spec(connections={"sandbox_bank": {"read": TWO}})),
    "messages without a draft": (a_spec(), with_tool(NOTE, outbound={"recipients": ["@ours.example"]})),
    "another recipient": (
        with_tool(NOTE, outbound={"recipients": ["a@b.example"]}),
        with_tool(NOTE, outbound={"recipients": ["a@b.example", "@evil.example"]}),
    ),
    "another text": (with_tool(NOTE, outbound={}), with_tool(NOTE, outbound={"templates": ["Hello {name}"]})),
    "any text": (with_tool(NOTE, outbound={}), with_tool(NOTE, outbound={"any_text": True})),
    "a client's word": (a_spec(), with_tool(BILLS, asserted="contract")),
    "no limit any more": (a_spec(limits=[A_LIMIT]), a_spec()),
    "a higher amount in total": (a_spec(limits=[A_LIMIT]), a_spec(limits=[A_LIMIT | {"max_amount": 5001}])),
    "no amount in total any more": (
        a_spec(limits=[A_LIMIT]),
        a_spec(limits=[A_LIMIT | {"max_amount": None, "currency": None}]),
    ),
    "more actions in total": (a_spec(limits=[A_LIMIT]), a_spec(limits=[A_LIMIT | {"max_count": 11}])),
    "any number of actions": (a_spec(limits=[A_LIMIT]), a_spec(limits=[A_LIMIT | {"max_count": None}])),
    "a shorter window": (a_spec(limits=[A_LIMIT]), a_spec(limits=[A_LIMIT | {"window_hours": 23}])),
    "a total for each agent": (a_spec(limits=[A_LIMIT]), a_spec(limits=[A_LIMIT | {"per": ["agent"]}])),
    "a total of some tools": (a_spec(limits=[A_LIMIT]), a_spec(limits=[A_LIMIT | {"tools": [PAY]}])),
    "a total of fewer tools": (
        a_spec(limits=[A_LIMIT | {"tools": [PAY, NOTE]}]),
        a_spec(limits=[A_LIMIT | {"tools": [PAY]}]),
    ),
    "a person beyond the total": (a_spec(limits=[A_LIMIT | {"exceeded": "deny"}]), a_spec(limits=[A_LIMIT])),
    "a higher risk alone": (a_spec(), a_spec(risk={"escalate_at": 51})),
    "a higher risk at all": (a_spec(risk={"deny_at": 90}), a_spec()),
    "fewer people for a new payee": (a_spec(), a_spec(counterparty_approvals=1)),
    "an insider": (a_spec(), a_spec(insiders=["@ours.example"])),
    "values as they are": (a_spec(pseudonyms=True), a_spec()),
    "some values as they are": (a_spec(pseudonyms=["iban", "email"]), a_spec(pseudonyms=["email"])),
    "what cannot be undone": (with_tool(NOTE, irreversible_alone=False), a_spec()),
}


@pytest.mark.parametrize("what", WIDENED)
def test_it_is_wider_with(what: str) -> None:
    before, after = WIDENED[what]
    assert "widened" in kinds(diff(before, after))
    if what != "another account":
        assert "narrowed" in kinds(diff(after, before))
        assert "widened" not in kinds(diff(after, before))


def texts(before: AccessSpec | None, after: AccessSpec) -> list[str]:
    return [change.text for change in diff(before, after, CONTRACTS)]


def test_it_says_what_changed_in_plain_words() -> None:
    assert texts(with_tool(BILLS, read_fields=["/bills/*/id"]), a_spec()) == [
        "may now also read /bills/*/iban with sandbox_bank.bills.list"
    ]
    assert texts(a_spec(), a_spec(value_max={"EUR": 500_000})) == [
        "limit for EUR raised from 1,000.00 EUR to 5,000.00 EUR"
    ]
    assert texts(a_spec(stage="supervised"), a_spec()) == ["no longer waits for a person: sandbox_crm.notes.create"]
    limit = A_LIMIT | {"per": ["agent"], "tools": [PAY]}
    told = f"50.00 EUR and 10 actions in every 24 hours for each agent with {PAY}; a person decides on more"
    assert texts(a_spec(limits=[limit]), a_spec()) == [f"limit daily removed: {told}"]
    raised = texts(a_spec(limits=[limit]), a_spec(limits=[limit | {"max_amount": 500_000}]))
    assert raised == [f"limit daily is now: {told.replace('50.00', '5,000.00')}; it was: {told}"]
    assert texts(a_spec(), a_spec(owner="mo@example.com")) == ["The owner is now: mo@example.com"]


def test_a_first_version_is_new_in_everything_that_it_reaches() -> None:
    found = diff(None, a_spec())
    assert {change.kind for change in found} == {"widened"}
    assert {BILLS, PAY, NOTE} <= {change.pointer.removeprefix("/tools/") for change in found}


def test_limits_in_two_currencies_cannot_be_compared() -> None:
    euros, dollars = a_spec(limits=[A_LIMIT]), a_spec(limits=[A_LIMIT | {"currency": "USD", "max_amount": 1}])
    assert kinds(diff(euros, dollars)) == kinds(diff(dollars, euros)) == {"widened"}


def test_one_and_the_text_one_are_two_records() -> None:
    old, new = with_tool(PAY, records={"/n": [1]}), with_tool(PAY, records={"/n": ["1"]})
    assert sorted(change.kind for change in diff(old, new)) == ["narrowed", "widened"]


def test_naming_what_is_covered_already_is_no_wider() -> None:
    old, new = with_tool(BILLS, read_fields=["/bills"]), with_tool(BILLS, read_fields=["/bills", "/bills/*/iban"])
    assert [change.kind for change in diff(old, new)] == ["changed"]
