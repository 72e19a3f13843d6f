"""The few lines that an exception begins with."""

from typing import Any

import pytest

from api.dashboard.exception_brief import brief, place
from tests.unit.dashboard.payments import ARGS, CONTRACT

ASKED = {"count": 1, "roles": ["owner"], "aal": "aal1"}
SEEN = "01a222c8-9fda-73a7-86bc-7f0142555f6c"


def shown(**changes: Any) -> dict[str, Any]:
    decision = {"grounds": [], "signals": [], "required_approvals": ASKED}
    told: dict[str, Any] = {
        "kind": "approval", "args": {}, "approvals": [], "stopped_by": ["risk"], "decision": decision,
    }  # fmt: skip
    return told | changes


def after(given: int = 0, count: int = 1, moved: bool = False, **changes: Any) -> str:
    asked = {"grounds": [], "signals": [], "required_approvals": ASKED | {"count": count}}
    one = shown(decision=asked, approvals=[{"verdict": "approve"}] * given, **changes)
    return " ".join(brief(one, None, {"moved": ["/balance"] if moved else []}).after)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (after(), "Exactly this is done, at once."),
        (after(count=2), "Nothing yet: it needs 1 more approval after yours. Then exactly this is done, at once."),
        (after(count=3), "Nothing yet: it needs 2 more approvals after yours. Then exactly this is done, at once."),
        (after(given=1, count=2), "Exactly this is done, at once."),
        (after(moved=True), "Nothing is sent: something has moved, so it is proposed again and waits once more."),
        (after(kind="manual"), "A kill switch stopped it: nothing is executed from here."),
    ],
)
def test_what_a_yes_does_is_said(told: str, says: str) -> None:
    assert told == says


def test_whom_and_how_much_are_told_and_what_people_pinned_is_not() -> None:
    def ground(pointer: str, source: str, where: str = "") -> dict[str, Any]:
        return {"pointer": pointer, "source": source, "where": where}

    decision = {"signals": [{}, {}], "required_approvals": ASKED, "grounds": [ground("/args/amount", "none")]}
    told = brief(shown(args=ARGS, decision=decision), CONTRACT, None)
    assert (told.amounts, told.parties) == (["1,299.00 EUR"], [("To IBAN", ARGS["to_iban"])])
    assert (told.unproven, told.proven, told.passages, told.left) == (["Amount"], True, 2, 0)
    assert told.after[-1] == "It cannot be undone."
    decision["grounds"] = [ground("/to_iban", "trusted_record", "listed in the workflow, tools.bank.pay.records")]
    told = brief(shown(args=ARGS, decision=decision), CONTRACT, None)
    assert (told.parties, told.unproven) == ([], [])
    many = {"/tags": {"role": "recipient"}, "/extra": {"role": "free_text"}}
    several = CONTRACT.model_copy(update={"arguments": type(CONTRACT).model_validate(
        CONTRACT.model_dump() | {"arguments": many}).arguments})  # fmt: skip
    told = brief(shown(args={"tags": [*"abcdef"], "extra": {"deep": 1}}, decision=decision), several, None)
    assert ([part.value for part in told.parties], told.texts, told.left) == ([*"abcd"], [], 2)


def test_no_amount_hides_behind_others_and_none_loses_its_sign() -> None:
    lines = {"/lines/*/n": {"role": "amount", "unit": "minor", "currency": "/currency"}, "/tags": {"role": "recipient"}}
    several = CONTRACT.model_copy(update={"arguments": type(CONTRACT).model_validate(
        CONTRACT.model_dump() | {"arguments": lines}).arguments})  # fmt: skip

    def told(*amounts: Any, **args: Any) -> list[str]:
        args = {"currency": "JPY", "lines": [{"n": each} for each in amounts]} | args
        return brief(shown(args=args), several, None).amounts

    assert told(1, 2, 3, 4) == ["1 JPY", "2 JPY", "3 JPY", "4 JPY"]
    assert told(1, 1, 1, 1, 9_000_000) == ["5 amounts, together 9,000,004 JPY"]
    assert told(-1500, currency="KWD") == ["-1.500 KWD"]
    assert told(5, "all") == ["5 JPY", "1 amount that cannot be read as one"]
    assert told(5, currency=None) == ["1 amount that cannot be read as one"]
    assert told() == []


def test_who_of_the_listed_recipients_gets_it_is_told() -> None:
    arguments = {"/tags": {"role": "recipient"}}
    one = CONTRACT.model_copy(update={"arguments": type(CONTRACT).model_validate(
        CONTRACT.model_dump() | {"arguments": arguments}).arguments})  # fmt: skip
    where = "listed in the workflow, tools.bank.pay.outbound.recipients"
    grounds = [{"pointer": "/args/tags/0", "source": "trusted_record", "where": where}]
    decision = {"signals": [], "required_approvals": ASKED, "grounds": grounds}
    told = brief(shown(args={"tags": ["a@example.com"]}, decision=decision), one, None)
    assert [part.value for part in told.parties] == ["a@example.com"]


def test_where_a_value_comes_from_names_what_was_read() -> None:
    assert place(f"bank.list, observation {SEEN}, /bills/0") == [("bank.list, ", SEEN), (", /bills/0", "")]
    assert place("named there") == [("named there", "")]
    assert place("observation of /../x") == [("observation of /../x", "")]
    assert place("") == [("", "")]
