"""Who is paid: known as a whole, or looked at by as many people as the spec asks for."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.directory.matching import account_key
from api.gate.case import Case
from api.gate.checks.counterparty import check
from api.gate.lookups import keys_of
from api.gate.models import Decision, Finding, Outcome
from tests.unit.gate.world import NOW, TOOL, contract, decided, facts, of, outcome_of, proposal, spec

IBAN, OTHER_IBAN, THIRD_IBAN = "DE89370400440532013000", "NL91ABNA0417164300", "GB29NWBK60161331926819"
SCHEMA: dict[str, Any] = {"type": "object"}
LONG_AGO = NOW - timedelta(days=90)


def entry(number: int, name: str, trusted_from: datetime = LONG_AGO) -> dict[str, Any]:
    return {"id": UUID(int=100 + number), "name": name, "kind": "vendor", "trusted_from": trusted_from}


NORTHWIND, HARBOUR = entry(1, "Northwind Paper GmbH"), entry(2, "Harbour Logistics")
DIRECTORY: dict[str, Any] = {
    f"account:iban:{IBAN}": {"entries": [NORTHWIND]},
    "name:northwind paper gmbh": {"entries": [NORTHWIND]},
    f"account:iban:{OTHER_IBAN}": {"entries": [HARBOUR]},
    "name:harbour logistics": {"entries": [HARBOUR]},
    "email:ada@northwind.example": {"entries": [NORTHWIND]},
    "name:northwlnd paper gmbh": {"alike": ["northwind paper gmbh (Northwind Paper GmbH)"]},
}
PAYS: dict[str, Any] = {
    "/from": {"role": "account"}, "/to": {"role": "recipient"}, "/name": {"role": "recipient"},
    "/amount": {"role": "amount", "currency": "/currency"},
    "/parts/*/to": {"role": "recipient"}, "/parts/*/name": {"role": "recipient"},
    "/bank": {"role": "recipient"}, "/bank/routing_number": {"role": "recipient"},
}  # fmt: skip


def looked(
    args: dict[str, Any],
    directory: dict[str, Any] | None = None,
    effect: str = "money_movement",
    grant: dict[str, Any] | None = None,
    **access: Any,
) -> Decision:
    """The decision on an action of these arguments; `from` is our own account."""
    pinned = {"records": {"/from": ["acc_ours"]}} | (grant or {})
    tool = contract(effect=effect, arguments=PAYS, input_schema=SCHEMA)
    held = facts(spec(pinned, **access), tool, directory=DIRECTORY if directory is None else directory)
    return decided(held, proposal({"from": "acc_ours"} | args))


def said(args: dict[str, Any], directory: dict[str, Any] | None = None, **more: Any) -> list[tuple[str, str]]:
    """Outcome and message of every finding."""
    return [(f.outcome.value, f.message) for f in of(looked(args, directory, **more), "counterparty")]


def test_a_known_payee_is_allowed_and_named() -> None:
    [(outcome, message)] = said({"to": IBAN, "name": "Northwind  PAPER GmbH"})
    assert (outcome, "Northwind Paper GmbH" in message) == ("allow", True)


@pytest.mark.parametrize("written", ["de89 3704 0044 0532 0130 00", IBAN.lower(), f" {IBAN} "])
def test_an_account_is_the_same_however_it_is_written(written: str) -> None:
    assert said({"to": written})[0][0] == "allow"


@pytest.mark.parametrize("name", ["Northwind Paper Gmbh.", "Northwind-Paper GmbH", "Northwind Papr GmbH"])
def test_the_owner_of_a_known_account_may_be_written_differently(name: str) -> None:
    assert [outcome for outcome, _ in said({"to": IBAN, "name": name})] == ["allow"]


def test_a_new_payee_takes_as_many_people_as_the_spec_says() -> None:
    decision = looked({"to": THIRD_IBAN, "name": "Nobody Ltd"})
    assert {f.outcome for f in of(decision, "counterparty")} == {Outcome.ESCALATE}
    assert all("new payee" in f.message.lower() for f in of(decision, "counterparty"))
    assert decision.required_approvals.count == 2
    assert looked({"to": THIRD_IBAN}, counterparty_approvals=3).required_approvals.count == 3
    assert looked({"to": THIRD_IBAN}, counterparty_approvals=1).required_approvals.count == 1
    assert looked({"to": IBAN}).required_approvals.count == 1


def test_the_approvals_are_of_the_workflows_roles_and_never_fewer_than_usual() -> None:
    usual = {"count": 4, "roles": ["admin"], "aal": "aal2"}
    [found] = of(looked({"to": THIRD_IBAN}, approvals=usual), "counterparty")
    assert found.approvals is not None
    assert found.approvals.model_dump() == usual
    [found] = of(looked({"to": THIRD_IBAN}, grant={"approvals": usual | {"count": 1}}), "counterparty")
    assert found.approvals is not None
    assert (found.approvals.count, found.approvals.roles) == (2, ["admin"])


@pytest.mark.parametrize(
    ("since", "outcome"),
    [
        (NOW, "allow"),
        (NOW - timedelta(microseconds=1), "allow"),
        (NOW + timedelta(microseconds=1), "escalate"),
        (NOW + timedelta(days=3), "escalate"),
    ],
)
def test_new_details_cool_off(since: datetime, outcome: str) -> None:
    directory = {f"account:iban:{IBAN}": {"entries": [entry(1, "Northwind Paper GmbH", since)]}}
    [(found, message)] = said({"to": IBAN}, directory)
    assert found == outcome
    assert ("cooling off until 2026-11-2" in message) is (outcome == "escalate")


def test_changed_bank_details_are_said_loudly() -> None:
    [(outcome, message)] = said({"to": THIRD_IBAN, "name": "Northwind Paper GmbH"})
    assert outcome == "escalate"
    assert message.startswith("CHANGED BANK DETAILS: Northwind Paper GmbH is known, but not with the account")


def test_an_account_of_somebody_else_is_said_loudly() -> None:
    [(outcome, message)] = said({"to": OTHER_IBAN, "name": "Northwind Paper GmbH"})
    assert outcome == "escalate"
    assert message.startswith("THE ACCOUNT IS ANOTHER'S")
    assert "Harbour Logistics" in message


def test_a_known_account_with_a_name_that_nobody_has_is_looked_at() -> None:
    found = said({"to": IBAN, "name": "Quite Another Ltd"})
    assert [outcome for outcome, _ in found] == ["escalate"]
    assert "nobody in the directory is called 'Quite Another Ltd'" in found[0][1]


def test_who_looks_like_somebody_known_is_not() -> None:
    [_, (outcome, message)] = said({"to": THIRD_IBAN, "name": "Northwlnd Paper GmbH"})
    assert (outcome, "looks like northwind paper gmbh" in message) == ("escalate", True)
    [(outcome, message)] = said({"to": "Northwlnd Paper GmbH"})
    assert (outcome, "looks like" in message) == ("escalate", True)


def test_without_an_account_a_name_or_address_is_what_is_known() -> None:
    assert said({"to": "ada@NORTHWIND.example"})[0][0] == "allow"
    assert said({"to": "Harbour Logistics"})[0][0] == "allow"
    assert said({"to": "ada@harbour.example"})[0][0] == "escalate"


def test_our_own_account_is_what_the_grant_pins() -> None:
    assert [outcome for outcome, _ in said({"to": IBAN})] == ["allow"]
    found = said({"to": IBAN}, grant={"records": {}})
    assert [outcome for outcome, _ in found] == ["escalate"]
    assert "'acc_ours'" in found[0][1]
    assert f"tools.{TOOL}.records" in found[0][1]


def test_pinning_an_object_does_not_pin_its_parts() -> None:
    found = said({"bank": {"routing_number": "021000021"}}, grant={"records": {"/from": ["acc_ours"], "/bank": ["x"]}})
    assert found[0][0] == "escalate"


def test_each_part_of_a_collection_is_a_payment_of_its_own() -> None:
    parts = [{"to": IBAN, "name": "Northwind Paper GmbH"}, {"to": OTHER_IBAN, "name": "Harbour Logistics"}]
    assert [outcome for outcome, _ in said({"parts": parts})] == ["allow", "allow"]
    crossed = [{"to": OTHER_IBAN, "name": "Northwind Paper GmbH"}, {"to": IBAN, "name": "Harbour Logistics"}]
    decision = looked({"parts": crossed})
    found = of(decision, "counterparty")
    assert [f.outcome for f in found] == [Outcome.ESCALATE] * 2
    assert [f.pointer for f in found] == ["/args/parts/0/to", "/args/parts/1/to"]
    # Who is named for all of them has to be the owner of each.
    [other] = said({"name": "Northwind Paper GmbH", "parts": [{"to": IBAN}, {"to": OTHER_IBAN}]})
    assert other[1].startswith("THE ACCOUNT IS ANOTHER'S")


def test_ten_thousand_payees_are_told_in_a_few_findings() -> None:
    decision = looked({"parts": [{"to": f"stranger {n}"} for n in range(10_000)]})
    assert 1 <= len(of(decision, "counterparty")) <= 20
    assert outcome_of(decision, "counterparty") is Outcome.ESCALATE


US: dict[str, Any] = {"routing_number": "021000021", "account_number": "000123456789"}
UK: dict[str, Any] = {"sort_code": "60-16-13", "account_number": "3192 6819"}


@pytest.mark.parametrize(
    ("bank", "key"), [(US, "us:021000021/000123456789"), (UK, "other:601613/31926819")], ids=["us", "other"]
)
def test_an_account_in_two_arguments_is_one(bank: dict[str, Any], key: str) -> None:
    assert account_key(key) == key
    assert f"account:{key}" in keys_of({"bank": bank})
    roles = {f"/bank/{name}": {"role": "recipient"} for name in bank} | {"/name": {"role": "recipient"}}
    tool = contract(effect="money_movement", arguments=roles, input_schema=SCHEMA)

    def found(args: dict[str, Any], directory: dict[str, Any]) -> list[Finding]:
        return list(check(Case(proposal(args), facts(tool=tool, directory=directory), NOW)))

    known = {f"account:{key}": {"entries": [NORTHWIND]}, "name:northwind paper gmbh": {"entries": [NORTHWIND]}}
    [allowed] = found({"bank": bank, "name": "Northwind Paper GmbH"}, known)
    assert (allowed.outcome, allowed.pointer) == (Outcome.ALLOW, "/args/bank/account_number")
    [changed] = found({"bank": bank | {"account_number": "31926818"}, "name": "Northwind Paper GmbH"}, known)
    assert changed.outcome is Outcome.ESCALATE
    # Another bank's account of the same number is another account.
    other = {"routing_number": "026009593"} if "routing_number" in bank else {"sort_code": "60-16-14"}
    assert found({"bank": bank | other}, known)[0].outcome is Outcome.ESCALATE


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("021000021/000123456789", "us:021000021/000123456789"),
        ("us:021000021/000-1", "us:021000021/000-1"),
        ("other:601613/31926819", "other:601613/31926819"),
        ("021000022/1", None),  # its check digit is wrong
        ("other:60 1613/3", None),
    ],
)
def test_an_account_in_one_text(text: str, key: str | None) -> None:
    found = [k for k in keys_of({"to": text}) if k.startswith("account:")]
    assert found == ([] if key is None else [f"account:{key}"])


def test_without_a_payee_it_says_what_that_means() -> None:
    tool = contract(effect="money_movement", arguments={"/invoice": {"role": "object_id"}}, input_schema=SCHEMA)
    [found] = of(decided(facts(tool=tool), proposal({"invoice": "i-1"})), "counterparty")
    assert (found.outcome, "names no payee" in found.message) == (Outcome.ALLOW, True)
    nobodies: list[dict[str, Any]] = [{}, {"to": ""}, {"to": None}, {"to": []}]
    for nobody in nobodies:
        found = of(looked(nobody), "counterparty")[0]
        assert (found.outcome, "does not name who" in found.message) == (Outcome.ESCALATE, True)


@pytest.mark.parametrize("effect", ["money_movement", "permission_change", "credential_change"])
def test_which_effects_go_to_a_payee(effect: str) -> None:
    assert outcome_of(looked({"to": THIRD_IBAN}, effect=effect), "counterparty") is Outcome.ESCALATE
    assert outcome_of(looked({"to": IBAN}, effect=effect), "counterparty") is Outcome.ALLOW


@pytest.mark.parametrize("effect", ["write", "outbound_message", "destructive", "pricing"])
def test_which_effects_do_not(effect: str) -> None:
    [found] = of(looked({"to": THIRD_IBAN}, effect=effect), "counterparty")
    assert (found.outcome, "none that goes to a payee" in found.message) == (Outcome.ALLOW, True)


@pytest.mark.parametrize(
    ("effect", "outcome"),
    [("permission_change", Outcome.ALLOW), ("credential_change", Outcome.ALLOW), ("money_movement", Outcome.ESCALATE)],
)
def test_an_insider_is_one_of_our_own_unless_money_goes_to_them(effect: str, outcome: Outcome) -> None:
    for insiders in (["Ada@Example.com"], ["@example.com"]):
        assert (
            outcome_of(looked({"to": "ada@example.com"}, effect=effect, insiders=insiders), "counterparty") is outcome
        )
    outside = looked({"to": "ada@sub.example.com"}, effect=effect, insiders=["@example.com"])
    assert outcome_of(outside, "counterparty") is Outcome.ESCALATE


def test_a_directory_that_was_not_asked_knows_nobody() -> None:
    assert {outcome for outcome, _ in said({"to": IBAN, "name": "Northwind Paper GmbH"}, {})} == {"escalate"}


def test_whom_it_goes_to_as_keys() -> None:
    tool = contract(effect="money_movement", arguments=PAYS, input_schema=SCHEMA)
    held = facts(spec({"records": {"/from": ["acc_ours"]}}), tool)
    case = Case(proposal({"from": "acc_ours", "to": IBAN, "name": "Harbour Logistics"}), held, NOW)
    assert case.counterparties == [f"account:iban:{IBAN}", f"name:{IBAN.lower()}", "name:harbour logistics"]


@pytest.mark.parametrize(
    ("args", "lifted"),
    [
        ({"to": THIRD_IBAN, "name": "Nobody Ltd"}, True),
        ({"to": THIRD_IBAN, "name": "Northwind Paper GmbH"}, False),
        ({"to": OTHER_IBAN, "name": "Northwind Paper GmbH"}, False),
        ({"to": "Northwlnd Paper GmbH"}, False),
    ],
)
def test_a_rule_lifts_that_somebody_is_new_and_no_contradiction(args: dict[str, Any], lifted: bool) -> None:
    tool = contract(effect="money_movement", arguments=PAYS, input_schema=SCHEMA)
    lifting = [{"id": "lift", "effect": "allow", "lifts": ["counterparty"]}]
    held = facts(spec({"records": {"/from": ["acc_ours"]}}), tool, lifting, directory=DIRECTORY)
    decision = decided(held, proposal({"from": "acc_ours"} | args))
    assert (outcome_of(decision, "counterparty") is Outcome.ALLOW) is lifted
    assert decision.required_approvals.count == (1 if lifted else 2)
    assert decision.outcome is Outcome.ESCALATE  # money waits for a person in any case
