"""Every role at its edges: what grounds a value of it, and what only seems to."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from api.gate.grounding.match import ALLOWED
from tests.unit.gate.grounding.setting import (
    IBAN,
    NOW,
    OTHER_IBAN,
    TOOL,
    granted,
    objections,
    observation,
    source,
    world,
)

#: (argument, value, instruction that grounds it)
NAMED: list[tuple[str, Any, str]] = [
    ("to", "bob@acme.example", "Update it for bob@acme.example"),
    ("to", "Bob@ACME.example", "Update it for <bob@acme.example>."),
    ("to", "Bob <bob@acme.example>", "Update it for bob@acme.example"),
    ("to", "Acme Ltd", "Update ACME  Ltd. please"),
    ("to", "\uff21cme", "Update Acme"),
    ("to", "#general", "Update the channel general"),
    ("to", "general", "Update #general"),
    ("to", "O'Brien", "Update O\u2019Brien's record"),
    ("to", "+49 30 901820", "Update +4930901820"),
    ("to", "+49 30 901820", "Update 0049 30 901820"),
    ("to", "030 901820", "Update 030-901820"),
    ("to", IBAN, "Update DE89 3704 0044 0532 0130 00"),
    ("account", IBAN, "Update de89370400440532013000"),
    ("account", "DE89 3704 0044 0532 0130 00", f"Update {IBAN}, please"),
    ("account", "12345678", "Update account 12 34 56 78"),
    ("account", "021000021/12345678", "Update 021000021/12345678"),
    ("account", "acc_9", "Update acc_9."),
    ("account", "operating", "Update the operating account"),
    ("amount", 129_900, "Update it to EUR 1,299.00"),
    ("amount", 129_900, "Update it to 1.299,00 \u20ac"),
    ("amount", 129_900, "Update it to \u20ac1299"),
    ("amount", 129_900, "Update it to 1 299,00 EUR"),
    ("amount", 1_250_000, "Update it to 12.5k"),
    ("amount", -5_000, "Update it to 50"),
    ("amount", 50, "Update it to 50 cents"),
    ("price", 12.5, "Update it to 12.50 EUR"),
    ("price", 1299, "Update it to EUR 1,299"),
    ("fee", 500, "Update it to 500 yen"),
    ("count", 3, "Update three of them"),
    ("count", 12, "Update 12 items"),
    ("count", 2.5, "Update it to 2.5 hours"),
    ("count", 15, "Update it to 15%"),
    ("count", -5, "Update it to -5 degrees"),
    ("count", "4", "Update it to 4"),
    ("usual", 2, "Update it"),
    ("link", "https://acme.example/a?b=1", "Update https://acme.example/a?b=1."),
    ("link", "HTTPS://ACME.example:443/a/", "Update https://acme.example/a"),
    ("link", "https://acme.example", "Update acme.example"),
    ("ticket_id", "T-17", "Update T-17, please"),
    ("ticket_id", "4711", "Update ticket #4711."),
    ("ticket_id", 4711, "Update ticket 4711"),
    ("ticket_id", "4711", "Update https://acme.example/tickets/4711"),
    ("ticket_id", "Annual report.docx", "Update annual report.docx"),
    ("stage", "in progress", "Update it: it is in progress"),
    ("stage", "closedwon", "Update it to closed won"),
    ("stage", 7, "Update it to 7"),
    ("mode", "fast_lane", "Update it in the fast lane"),
    ("notify", True, "Update it and notify them"),
    ("urgent", False, "Update it, it is not urgent"),
    ("day", "2026-12-24", "Update it to 24 December 2026"),
    ("day", "2026-12-24", "Update it to December 24th"),
    ("day", "2026-12-24T14:30:00Z", "Update it to 24.12.2026, 2:30 pm"),
    ("day", "2026-11-21", "Update it to tomorrow"),
    ("currency", "EUR", "Update it to 5 \u20ac"),
]

#: (argument, value, instruction that does not ground it)
NOT_NAMED: list[tuple[str, Any, str]] = [
    ("to", "bob@acme.example", "Update it for Bob"),
    ("to", "bob@acme.example", "Update it for xbob@acme.example"),
    ("to", "bob@acme.example", "Update it for bob@acme.example.evil.example"),
    ("to", "b\u043eb@acme.example", "Update it for bob@acme.example"),
    ("to", "bob@acm\u0435.example", "Update it for bob@acme.example"),
    ("to", "a", "Update a record"),
    ("to", "the", "Update the record"),
    ("to", "to the", "Update it to the letter"),
    ("to", "", "Update"),
    ("to", "Ann", "Update Annabel"),
    ("to", "Acme", "Update Acmecorp"),
    ("to", "\u0410cme", "Update Acme"),
    ("account", IBAN, f"Update {OTHER_IBAN}"),
    ("account", "DE89370400440532013001", f"Update {IBAN}"),
    ("account", "1234567", "Update account 12345678"),
    ("account", "345678", "Update account 12345678"),
    ("account", "operating", "Update it"),
    ("amount", 129_900, "Update it to EUR 12.99"),
    ("amount", 129_900, "Update it to USD 1,299.00"),
    ("amount", 129_900, "Update it to 129900"),
    ("amount", 471_100, "Update invoice 4711"),
    ("amount", 202_600, "Update it by 24 December 2026"),
    ("amount", 1_100, "Update it on 2026-11-28"),
    ("amount", 5_000, "Update 50 of them at EUR 20"),
    ("amount", 500, "Update it by 5%"),
    ("amount", 100, "Update v1.2.3"),
    ("amount", "lots", "Update lots"),
    ("amount", 0, "Update it"),
    ("price", 12.505, "Update it to 12.50 EUR"),
    ("count", 13, "Update 12 items"),
    ("usual", 4, "Update it"),
    ("usual", -4, "Update it"),
    ("link", "https://acme.example/b", "Update https://acme.example/a"),
    ("link", "https://acme.example/a", "Update acme.example"),
    ("link", "https://evil.example", "Update acme.example"),
    ("link", "http://acme.example@evil.example/", "Update http://acme.example"),
    ("link", "https://evil.example\\@acme.example", "Update https://acme.example"),
    ("link", "https://acme.example:8443", "Update https://acme.example"),
    ("link", "https://acme.example.evil.example", "Update https://acme.example"),
    ("link", "https://\u0430cme.example", "Update https://acme.example"),
    ("link", "javascript:alert(1)", "Update it"),
    ("ticket_id", "17", "Update T-17"),
    ("ticket_id", "T-1", "Update T-17"),
    ("ticket_id", "t-17", "Update T-17"),
    ("ticket_id", "T-17 ", "Update T-18"),
    ("ticket_id", "11", "Update it on 2026-11-28"),
    ("ticket_id", "\u0422-17", "Update T-17"),
    ("stage", "won", "Update it"),
    ("stage", "won", "Update the wonder"),
    ("stage", "closedwon", "Update it: enclosed wonder"),
    ("to", "030 901821", "Update 030-901820"),
    ("to", "901820", "Update 030-901820"),
    ("amount", 1_500, "Update it to 15 %"),
    ("mode", "fast_lane", "Update it in the lane"),
    ("notify", True, "Update it"),
    ("urgent", False, "Update it"),
    ("day", "2026-12-24", "Update it to 25 December 2026"),
    ("day", "2026-12-24T15:30:00Z", "Update it to 24.12.2026, 2:30 pm"),
    ("day", "2031-12-24", "Update it to December 24th"),
    ("day", "2026-11-22", "Update it to tomorrow"),
]


def _ids(table: list[tuple[str, Any, str]]) -> list[str]:
    return [f"{n}-{name}" for n, (name, _, _) in enumerate(table)]


def _args(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def _only(name: str, value: Any, instruction: str) -> list[str | None]:
    found = [f.pointer for f in objections(_args(name, value), world(instruction, **_currency(name)))]
    return [pointer for pointer in found if pointer != "/args/currency"]


def _currency(name: str) -> dict[str, Any]:
    """Amounts of the table are in euro, whatever the instruction says."""
    if name not in ("amount", "price"):
        return {}
    from tests.unit.gate.grounding.setting import ROLES, tool

    roles = {at: {k: v for k, v in role.items() if k != "currency"} for at, role in ROLES.items()}
    roles[f"/{name}"]["fixed_currency"] = "EUR"
    return {"tool": tool(arguments=roles)}


@pytest.mark.parametrize(("name", "value", "instruction"), NAMED, ids=_ids(NAMED))
def test_the_instruction_grounds_what_it_names(name: str, value: Any, instruction: str) -> None:
    assert _only(name, value, instruction) == []


@pytest.mark.parametrize(("name", "value", "instruction"), NOT_NAMED, ids=_ids(NOT_NAMED))
def test_the_instruction_grounds_nothing_else(name: str, value: Any, instruction: str) -> None:
    assert _only(name, value, instruction) == ([f"/args/{name}"] if value not in ("", None) else [])


#: (argument, value, what was read)
READ: list[tuple[str, Any, Any]] = [
    ("to", "bob@acme.example", {"email": "BOB@acme.example"}),
    ("to", "bob@acme.example", {"from": "Bob <bob@acme.example>"}),
    ("to", "Acme Ltd", {"name": "acme  ltd"}),
    ("to", "con_99", {"id": "con_99"}),
    ("account", IBAN, {"iban": "DE89 3704 0044 0532 0130 00"}),
    ("account", "12345678", {"number": "1234-5678"}),
    ("account", 12345678, {"number": "12345678"}),
    ("amount", 5_000, {"total": 5_000}),
    ("amount", 5_000, {"total": 50.0}),
    ("amount", 5_000, {"total": "50.00"}),
    ("amount", 5_000, {"text": "The total is EUR 50.00."}),
    ("amount", 5_000, {"total": -5_000, "currency": "EUR"}),
    ("price", 50, {"total": 50}),
    ("price", 50.5, {"total": 50.5}),
    ("count", 9, {"left": 9}),
    ("link", "https://acme.example/a", {"url": "https://ACME.example/a/"}),
    ("ticket_id", "T-17", {"number": "T-17"}),
    ("ticket_id", "17", {"id": "17"}),
    ("ticket_id", 17, {"id": 17}),
    ("ticket_id", 17, {"ticket_id": "17"}),
    ("ticket_id", "4711123", {"other": 4711123}),
    ("stage", "Closed won", {"stage": "closed won"}),
    ("stage", 4, {"stage": 4}),
]
#: (argument, value, what was read, and does not ground it though it is trusted)
NOT_READ: list[tuple[str, Any, Any]] = [
    ("to", "bob@acme.example", {"note": "bob"}),
    ("to", "Acme", {"name": "Acme Ltd"}),
    ("account", IBAN, {"iban": OTHER_IBAN}),
    ("account", "123", {"number": "12345678"}),
    ("amount", 5_000, {"total": 500_000}),
    ("amount", 5_000, {"total": 5_000, "currency": "USD"}),
    ("amount", 5_000, {"created_at": 5_000, "invoice_id": 5_000, "page": 5_000}),
    ("amount", 50, {"lines": [{"total": 50.0}, {"total": 1.5}]}),
    ("amount", 5_000, {"text": "Order 5000 of 50"}),
    ("count", 9, {"id": 9, "updated_at": 9}),
    ("link", "https://acme.example/a", {"url": "https://acme.example/"}),
    ("ticket_id", "17", {"count": 17, "left": "17"}),
    ("ticket_id", "T-17", {"text": "T-17 is done"}),
    ("stage", "won", {"stage": "not won"}),
    ("notify", True, {"notify": True}),
]


@pytest.mark.parametrize(("name", "value", "result"), READ, ids=range(len(READ)))
def test_a_trusted_record_grounds_what_it_says(name: str, value: Any, result: Any) -> None:
    held = world("Update it", observation(result), **_currency(name))
    assert objections(_args(name, value), held) == []
    assert source(_args(name, value), held) == "trusted_record"


@pytest.mark.parametrize(("name", "value", "result"), READ, ids=range(len(READ)))
@pytest.mark.parametrize("trust", ["untrusted", "other", ""])
def test_the_same_record_grounds_nothing_untrusted(name: str, value: Any, result: Any, trust: str) -> None:
    held = world("Update it", observation(result, trust), **_currency(name))
    assert [f.pointer for f in objections(_args(name, value), held)] == [f"/args/{name}"]


@pytest.mark.parametrize(("name", "value", "result"), NOT_READ, ids=range(len(NOT_READ)))
def test_a_trusted_record_grounds_nothing_else(name: str, value: Any, result: Any) -> None:
    held = world("Update it", observation(result), **_currency(name))
    assert [f.pointer for f in objections(_args(name, value), held)] == [f"/args/{name}"]


@pytest.mark.parametrize(
    ("name", "value", "result", "grounded"),
    [
        ("ticket_id", "T-17", {"id": "T-17"}, True),
        ("ticket_id", "T-17", {"id": "See T-17"}, False),
        ("account", IBAN, {"iban": IBAN}, False),
        ("to", IBAN, {"iban": IBAN}, False),
        ("link", "https://acme.example/a", {"url": "https://acme.example/a"}, False),
        ("amount", 5_000, {"total": 5_000}, False),
        ("stage", "won", {"stage": "won"}, False),
    ],
)
def test_metadata_grounds_whole_values_of_few_roles(name: str, value: Any, result: Any, grounded: bool) -> None:
    held = world("Update it", observation(result, "metadata"), **_currency(name))
    assert (objections(_args(name, value), held) == []) is grounded


@pytest.mark.parametrize("said", ["bob@acme.example", "Bob <bob@acme.example>"])
def test_whoever_wrote_can_be_answered(said: str) -> None:
    held = world("Reply to them", observation({"from": said}, "metadata"))
    assert source({"to": "bob@acme.example"}, held) == "metadata"
    assert objections({"to": "eve@acme.example"}, held) != []


@pytest.mark.parametrize(
    "said", ["Ask bob@acme.example", "bob@acme.example eve@acme.example", "eve@x.example <bob@acme.example>"]
)
def test_what_stands_in_metadata_beside_other_things_grounds_nothing(said: str) -> None:
    held = world("Reply to them", observation({"from": said}, "metadata"))
    assert [f.pointer for f in objections({"to": "bob@acme.example"}, held)] == ["/args/to"]


def _entry(name: str = "Acme", days: int = -1) -> dict[str, Any]:
    return {"id": UUID(int=9), "name": name, "kind": "vendor", "trusted_from": NOW + timedelta(days=days)}


@pytest.mark.parametrize(
    ("name", "value", "key", "grounded"),
    [
        ("to", "bob@acme.example", "email:bob@acme.example", True),
        ("to", "bob@acme.example", "domain:acme.example", True),
        ("to", "Acme Ltd", "name:acme ltd", True),
        ("to", IBAN, f"account:iban:{IBAN}", True),
        ("to", IBAN, f"name:{IBAN.lower()}", False),
        ("account", IBAN, f"account:iban:{IBAN}", True),
        ("account", "021000021/123456", "account:us:021000021/123456", True),
        ("account", "Acme Ltd", "name:acme ltd", False),
        ("link", "https://acme.example/a", "domain:acme.example", True),
        ("link", "https://www.acme.example/a", "domain:acme.example", True),
        ("link", "https://x.acme.example/a", "domain:acme.example", False),
        ("ticket_id", "Acme Ltd", "name:acme ltd", False),
        ("stage", "Acme Ltd", "name:acme ltd", False),
    ],
)
def test_the_directory_grounds_whom_it_vouches_for(name: str, value: Any, key: str, grounded: bool) -> None:
    held = world("Update it", directory={key: {"entries": [_entry()]}})
    assert (objections({name: value}, held) == []) is grounded
    if grounded:
        assert source({name: value}, held) == "directory"


def test_an_entry_that_cools_off_grounds_nothing_and_says_until_when() -> None:
    held = world("Update it", directory={"name:acme ltd": {"entries": [_entry(days=2)]}})
    (finding,) = objections({"to": "Acme Ltd"}, held)
    assert "The directory counts it from 2026-11-22 12:00 UTC on; until then it cools off." in finding.message
    assert objections({"to": "Acme Ltd"}, held, NOW + timedelta(days=2)) == []
    assert len(objections({"to": "Acme Ltd"}, held, NOW + timedelta(days=2, seconds=-1))) == 1


def test_an_account_in_two_arguments_is_one_for_the_directory() -> None:
    args = {"routing_number": "021000021", "account": "12345678"}
    held = world("Update it", directory={"account:us:021000021/12345678": {"entries": [_entry()]}})
    assert objections(args, held) == []
    assert [f.pointer for f in objections(args | {"account": "12345679"}, held)] == ["/args/account"]


def test_a_look_alike_is_called_one() -> None:
    (finding,) = objections({"to": "bob@acme.examp1e"}, world("Update it for bob@acme.example"))
    assert "It looks like acme.example, and is not the same." in finding.message
    held = world("Update it", directory={"name:acrne ltd": {"alike": ["Acme Ltd"]}})
    assert "It looks like Acme Ltd, and is not the same." in objections({"to": "Acrne Ltd"}, held)[0].message


@pytest.mark.parametrize(
    ("name", "value", "listed", "grounded"),
    [
        ("to", "acc_1", ["acc_1"], True),
        ("to", "acc_1", ["acc_2", "ACC_1"], False),
        ("amount", 5, [5], True),
        ("amount", True, [1], False),
        ("stage", "1", [1], False),
    ],
)
def test_what_a_reviewer_listed_is_grounded(name: str, value: Any, listed: list[Any], grounded: bool) -> None:
    held = world("Update it", access=granted(records={f"/{name}": listed}))
    assert (objections({name: value}, held) == []) is grounded
    if grounded:
        assert f"tools.{TOOL}.records" in case_where({name: value}, held)


def case_where(args: dict[str, Any], held: Any) -> str:
    from tests.unit.gate.grounding.setting import grounds

    return grounds(args, held)[0].where


@pytest.mark.parametrize(
    ("to", "grounded"),
    [
        ("bob@acme.example", True),
        ("BOB@acme.example", True),
        ("amy@team.example", True),
        ("#general", True),
        ("general", True),
        ("bob@acme.example.evil.example", False),
        ("amy@x.team.example", False),
        ("random", False),
    ],
)
def test_recipients_that_a_reviewer_read_are_grounded(to: str, grounded: bool) -> None:
    recipients = ["bob@acme.example", "@team.example", "general", "directory"]
    held = world("Update it", access=granted(outbound={"recipients": recipients}))
    assert (objections({"to": to}, held) == []) is grounded


@pytest.mark.parametrize(
    ("args", "pointers"),
    [
        ({"only": "x-1"}, []),
        ({"only": "x-2"}, ["/args/only"]),
        ({"mode": "slow"}, []),
        ({"notify": False}, []),
        ({"notify": 0}, ["/args/notify"]),
        ({"usual": 3}, []),
        ({"lines": [{"count": 1}, {"count": 2}]}, ["/args/lines/1/count"]),
        ({"lines": []}, []),
        ({"stage": None, "to": [], "text": ""}, []),
    ],
)
def test_what_nobody_has_to_choose_needs_no_source(args: dict[str, Any], pointers: list[str]) -> None:
    assert [f.pointer for f in objections(args, world("Update it"))] == pointers


def test_a_currency_is_the_one_that_an_amount_names() -> None:
    assert objections({"currency": "EUR"}, world("Update it to 5 \u20ac")) == []
    assert len(objections({"currency": "USD"}, world("Update it to 5 \u20ac"))) == 1


def test_each_of_several_recipients_is_looked_at() -> None:
    held = world("Update it for bob@acme.example and amy@acme.example")
    assert objections({"to": "bob@acme.example, Amy <amy@acme.example>"}, held) == []
    assert objections({"to": ["bob@acme.example", "amy@acme.example"]}, held) == []
    for to in ("bob@acme.example, eve@x.example", "bob@acme.example;eve", "bob@acme.example\neve@x.example"):
        assert [f.pointer for f in objections({"to": to}, held)] == ["/args/to"]
    assert [f.pointer for f in objections({"to": ["bob@acme.example", "eve"]}, held)] == ["/args/to/1"]


def test_the_record_that_the_run_is_about_is_named() -> None:
    held = world("Update it", subject={"type": "ticket", "id": "T-17", "tier": "gold"})
    assert source({"ticket_id": "T-17"}, held) == "instruction"
    assert len(objections({"ticket_id": "ticket"}, held)) == 1
    assert len(objections({"stage": "gold"}, held)) == 1


def test_every_role_has_its_sources() -> None:
    assert ALLOWED["account"] == ("instruction", "trusted_record", "directory")
    assert "metadata" not in ALLOWED["account"] + ALLOWED["amount"] + ALLOWED["url"] + ALLOWED["setting"]
    assert {role for role, sources in ALLOWED.items() if "derived" in sources} == {"amount", "quantity"}
