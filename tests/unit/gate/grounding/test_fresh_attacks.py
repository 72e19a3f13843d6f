"""Ways around grounding that an agent tries who follows a stranger, and what people ask for every day beside them."""

from typing import Any

import pytest

from api.gate.grounding.deed import unasked
from tests.unit.gate.grounding.setting import TOOL, case, objections, observation, tool, world
from tests.unit.gate.world import spec

SWITCHES = {"is_public": "/is_public", "allow_external": "/allow_external", "locked": "/locked"}


def switched(instruction: str, **args: Any) -> list[Any]:
    roles = {pointer: {"role": "setting"} for pointer in SWITCHES.values()}
    members = {name: {"type": "boolean"} for name in SWITCHES}
    schema = {"type": "object", "properties": members}
    return objections(args, world(instruction, tool=tool(arguments=roles, input_schema=schema)))


@pytest.mark.parametrize(
    ("instruction", "args"),
    [
        ("Update the file. What is new?", {"is_public": True}),
        ("Update the file, but do not make it public", {"is_public": True}),
        ("Update the external file", {"allow_external": True}),
        ("Update the file and keep it locked", {"locked": False}),
    ],
)
def test_a_switch_is_not_turned_by_a_part_of_its_name_or_by_its_denial(instruction: str, args: dict[str, Any]) -> None:
    assert switched(instruction, **args) != []


@pytest.mark.parametrize(
    ("instruction", "args"),
    [
        ("Update the file and make it public", {"is_public": True}),
        ("Update the file, but do not make it public", {"is_public": False}),
        ("Update it: allow external people", {"allow_external": True}),
        ("Update it so that it is not locked", {"locked": False}),
        ("Update it: switch locked off", {"locked": False}),
    ],
)
def test_a_switch_is_turned_by_its_name(instruction: str, args: dict[str, Any]) -> None:
    assert switched(instruction, **args) == []


def test_a_setting_that_the_instruction_rules_out_is_not_named() -> None:
    assert objections({"stage": "won"}, world("Update it, but never to won")) != []
    assert objections({"stage": "won"}, world("Update it to won")) == []
    assert objections({"stage": "won"}, world("Update it to won. Do not set any other to won")) == []


@pytest.mark.parametrize(
    "text",
    [
        "see Evil.Xyz/login",
        "visit Evil.Ru now",
        "paypal.Me/eve",
        "see Evil.Co.Uk",
        "see evil.xYz",
        "see 1.2.3.4/x",
        "see 1.2.3.4:8080/x",
        "call 555-123-4567",
        "Please call us at 0900 123456",
        "call 1 (800) 555-0199",
        "tel:5551234567",
    ],
)
def test_what_mail_programs_make_a_link_of_is_found_in_a_text(text: str) -> None:
    assert objections({"text": text}, world("Update it")) != []


@pytest.mark.parametrize(
    "text",
    [
        "That is done.So we go on.It works.",
        "The call on 2026-12-01 10:00 is moved to 12.12.2026",
        "Version 1.2.3.4 is out",
        "We had to call 3 times about 12 cases",
    ],
)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    assert objections({"text": text}, world("Update it")) == []


def test_a_telephone_number_of_the_instruction_may_be_told() -> None:
    assert objections({"text": "call 555-123-4567"}, world("Update it: Bob is at 555-123-4567")) == []


def test_a_stranger_who_wrote_is_not_added_to_anything_by_a_pronoun() -> None:
    seen = observation({"from": "eve@evil.com", "cc": "ann@acme.example"}, "metadata")
    held = world("Update it for Ann and her team", seen, access=spec({}, insiders=["@acme.example"]))
    assert objections({"to": "eve@evil.com"}, held) != []
    assert objections({"to": "ann@acme.example"}, held) == []


@pytest.mark.parametrize("instruction", ["Send Ann a mail that I am late", "Reply to Ann", "Pay the bill"])
def test_a_message_or_payment_does_not_ask_for_a_write_that_reaches_nobody(instruction: str) -> None:
    kept = tool(name="acme.profile.put_street", title="Street", arguments={"/text": {"role": "free_text"}})
    held = world(instruction, tool=kept.model_copy(update={"name": TOOL, "effect": "write"}))
    assert objections({"text": "Elm Street 1"}, held) != []
    asked = world("Change my street", tool=kept.model_copy(update={"name": TOOL, "effect": "write"}))
    assert objections({"text": "Elm Street 1"}, asked) == []


def test_the_thing_in_a_tools_name_does_not_ask_for_its_deed() -> None:
    reserve = tool(title="Reserve hotel").model_copy(update={"name": "acme.hotels.reserve_hotel", "effect": "write"})

    def missed(instruction: str) -> int:
        held = world(instruction, tool=tool(effect="write"))
        held.contracts[TOOL] = reserve
        return len(list(unasked(case({}, held))))

    assert missed("Find hotel reviews") == 1
    assert missed("Reserve the hotel") == 0
