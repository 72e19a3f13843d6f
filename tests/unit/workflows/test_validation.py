"""What keeps an access spec from holding together, and where."""

import pytest
from pydantic import ValidationError

from api.gate.models import AccessSpec
from api.workflows.data_classes import classes_of, trust_of
from api.workflows.validation import mistakes, warnings
from tests.unit.workflows.specs import BILLS, CONTRACTS, NOTE, PAY, a_spec, with_tool


def found(spec: AccessSpec) -> dict[str, str]:
    return {mistake["pointer"]: mistake["message"] for mistake in mistakes(spec, CONTRACTS)}


def test_a_spec_that_holds_together_has_no_mistakes() -> None:
    assert found(a_spec()) == {}


def test_a_read_around_a_write_that_is_not_granted_is_warned_of() -> None:
    """Once per tool that reads, and never as a mistake."""
    told = {w["message"].partition(":")[0]: w["pointer"] for w in warnings(a_spec(), CONTRACTS)}
    wanted = [(PAY, "payments.find"), (PAY, "accounts.balance"), (NOTE, "notes.find")]
    assert told == {
        f"{write} reads with {write.partition('.')[0]}.{read}, which is not granted": f"/spec/tools/{write}"
        for write, read in wanted
    }
    update, get = "sandbox_crm.contacts.update", "sandbox_crm.contacts.get"
    tools = a_spec().model_dump()["tools"] | {update: {"access": "write"}}
    (alone,) = [w for w in warnings(a_spec(tools=tools), CONTRACTS) if update in w["message"]]
    assert "goes unseen. What it changed is not kept" in alone["message"]
    tools |= {get: {"access": "read", "read_fields": ["/id"]}}
    assert not [w for w in warnings(a_spec(tools=tools), CONTRACTS) if update in w["message"]]


def test_a_field_that_no_answer_has_is_fine() -> None:
    assert found(with_tool(BILLS, read_fields=["/bills/*/never"])) == {}


@pytest.mark.parametrize("everything", ["", "/*", "/*/*"])
def test_keeping_everything_is_refused(everything: str) -> None:
    """`*` names nothing: every member of an answer is all of it."""
    named = found(with_tool(BILLS, read_fields=["/bills/*/id", everything]))
    pointer, message = next(iter(named.items()))
    assert pointer == f"/spec/tools/{BILLS}/read_fields/1"
    assert "name the fields" in message


@pytest.mark.parametrize(("field", "data_class"), [("/bills/*/iban", "financial"), ("/bills", "financial")])
def test_a_field_of_a_class_that_is_not_declared_is_refused(field: str, data_class: str) -> None:
    spec = AccessSpec.model_validate(
        with_tool(BILLS, read_fields=[field]).model_dump() | {"data_classes": ["internal"]}
    )
    messages = found(spec)
    assert f"{field} holds {data_class} data" in messages[f"/spec/tools/{BILLS}/read_fields/0"]


def test_what_may_be_sent_is_what_may_be_held() -> None:
    assert list(found(with_tool(NOTE, data_classes=["internal", "health"]))) == [f"/spec/tools/{NOTE}/data_classes/1"]
    assert list(found(with_tool(BILLS, data_classes=["internal"]))) == [f"/spec/tools/{BILLS}/data_classes/0"]


def test_a_class_that_is_none_is_refused_and_pii_is_what_contracts_call_personal() -> None:
    known = ["internal", "financial", "personal"]
    assert list(found(a_spec(data_classes=[*known, "finnancial"]))) == ["/spec/data_classes/3"]
    assert found(a_spec(data_classes=[*known, "regulated", "confidential", "public", "secret"])) == {}
    spec = a_spec(data_classes=["internal", "financial", "pii"], retention={"pii": 30})
    assert (spec.data_classes[2], spec.retention) == ("personal", {"personal": 30})
    assert found(spec) == {}


def test_unknown_tools_missing_connections_and_wrong_access_are_named() -> None:
    spec = a_spec().model_dump()
    spec["connections"].pop("sandbox_crm")
    spec["tools"] |= {"sandbox_bank.no.such": {"access": "read"}, PAY: {"access": "read"}}
    assert set(found(AccessSpec.model_validate(spec))) == {
        "/spec/tools/sandbox_bank.no.such", f"/spec/tools/{PAY}/access", "/spec/connections/sandbox_crm",
    }  # fmt: skip


def test_a_class_is_kept_as_long_as_the_rest_or_shorter() -> None:
    assert a_spec(retention_days=10, retention={"personal": 10}).retention == {"personal": 10}
    with pytest.raises(ValidationError, match="shorter"):
        a_spec(retention_days=10, retention={"personal": 11})
    assert list(found(a_spec(retention={"health": 1}))) == ["/spec/retention/health"]


def test_what_an_approver_goes_by_outlives_the_wait() -> None:
    """Hours against days: three days are as long as 72 hours, and not as 73."""
    assert found(a_spec(retention_days=3, approval_hours=72)) == {}
    late = found(a_spec(retention_days=3, retention={"personal": 1}, approval_hours=73))
    assert set(late) == {"/spec/retention_days", "/spec/retention/personal"}
    assert "after 24 hours, while an approval may take 73 hours" in late["/spec/retention/personal"]
    assert list(found(a_spec(retention={"personal": 2}, approval_hours=49))) == ["/spec/retention/personal"]


def test_a_spec_that_was_stored_before_there_were_classes_is_still_one() -> None:
    stored = a_spec().model_dump(mode="json", exclude={"data_classes", "retention"})
    for grant in stored["tools"].values():
        del grant["data_classes"], grant["irreversible_alone"]
    spec = AccessSpec.model_validate(stored)
    assert (spec.data_classes, spec.retention) == ([], {})
    assert not any(grant.irreversible_alone for grant in spec.tools.values())


def test_the_nearest_label_counts_and_so_do_those_below() -> None:
    contract = CONTRACTS[BILLS].model_copy(deep=True)
    labels = {"/a": "personal", "/a/*/b": "financial", "/a/*/b/c": "health"}
    contract = contract.model_copy(update={"output": contract.output.model_copy(update={"data_classes": labels})})
    assert classes_of(contract, "/x") == {"internal"}
    assert classes_of(contract, "/a/*/z") == {"personal"}
    assert classes_of(contract, "/a/0/b/d") == {"financial"}
    assert classes_of(contract, "/a") == {"personal", "financial", "health"}
    assert classes_of(contract, "/a/*") == {"personal", "financial", "health"}


def test_what_is_partly_trusted_is_not_called_trusted() -> None:
    bookings = CONTRACTS["sandbox_bank.transactions.list"]
    assert trust_of(bookings, "/transactions/*/amount") == "trusted"
    assert trust_of(bookings, "/transactions/*/reference") == "untrusted"
    assert trust_of(bookings, "/transactions") == "partly trusted"
