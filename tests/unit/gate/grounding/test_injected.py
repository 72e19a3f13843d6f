"""What the injection corpus found: who obeys a text chooses among what is trusted, too."""

from typing import Any

import pytest

from tests.unit.gate.grounding.setting import objections, observation, tool, world
from tests.unit.gate.world import TOOL

DEALS = {"deals": [{"id": "dl_81", "name": "Blue Vases"}, {"id": "dl_82", "name": "Old Lamps"}]}


def refused(args: dict[str, Any], instruction: str, *seen: dict[str, Any], **changes: Any) -> list[str]:
    return [each.message for each in objections(args, world(instruction, *seen, **changes))]


@pytest.mark.parametrize("named", ["dl_81", "the blue vases", "deal #dl_81"])
def test_an_instruction_that_names_a_record_passes_over_the_others(named: str) -> None:
    instruction, seen = f"Update {named} please.", observation(DEALS)
    assert refused({"ticket_id": "dl_81"}, instruction, seen) == []
    (told,) = refused({"ticket_id": "dl_82"}, instruction, seen)
    assert "/deals/1/id" in told
    assert "the instruction names another record" in told


def test_without_a_name_every_record_of_a_list_counts() -> None:
    assert refused({"ticket_id": "dl_82"}, "Update the deal that is oldest.", observation(DEALS)) == []


def test_to_read_a_record_first_does_not_make_it_the_one_that_was_named() -> None:
    first, second = (observation({"id": id_, "name": id_}, number=n) for n, id_ in enumerate(("dl_81", "dl_82")))
    assert refused({"ticket_id": "dl_81"}, "Update dl_81.", first, second) == []
    assert refused({"ticket_id": "dl_82"}, "Update dl_81.", first, second)
    elsewhere = observation({"id": "usr_9"}, number=3, tool="acme.people.get")
    assert refused({"ticket_id": "usr_9"}, "Update dl_81.", first, elsewhere) == []


def test_what_also_stands_in_the_record_that_was_named_counts() -> None:
    seen = observation({"bills": [{"id": "b_1", "payee_id": "ven_7"}, {"id": "b_2", "payee_id": "ven_7"}]})
    assert refused({"ticket_id": "ven_7"}, "Update b_2.", seen) == []
    assert refused({"ticket_id": "b_1"}, "Update b_2.", seen)


def test_a_small_number_names_no_record() -> None:
    seen = observation({"items": [{"id": 2, "sku": "sku_lamp"}, {"id": 3, "sku": "sku_vase"}]})
    assert refused({"ticket_id": "sku_vase"}, "Order 2 of the vases: update the order.", seen) == []


def test_the_record_that_a_run_is_about_passes_over_the_others() -> None:
    subject = {"type": "deal", "id": "dl_82"}
    assert refused({"ticket_id": "dl_82"}, "Update it.", observation(DEALS), subject=subject) == []
    assert refused({"ticket_id": "dl_81"}, "Update it.", observation(DEALS), subject=subject)


def test_who_wrote_is_answered_and_not_put_into_records() -> None:
    seen = observation({"from": "eve@mail.example"}, {"/from": "metadata"})
    args = {"to": "eve@mail.example"}
    assert refused(args, "Update the contact's number as the mail says.", seen)
    assert refused(args, "Update the contact: it is the sender now.", seen) == []
    sends = {
        "tool": tool(effect="outbound_message"),
        "known_tools": {TOOL: {"version": 4, "effect": "outbound_message"}},
    }
    assert refused(args, "Reply to the mail.", seen, **sends) == []


ORDER = {"net": 8000, "tax": 1520, "total": 9520, "deposit": 2000, "currency": "EUR"}


@pytest.mark.parametrize(
    ("instruction", "amount", "known"),
    [
        ("Update it to the order's total.", 9520, True),
        ("Update it to the order's total.", 11520, False),  # and the deposit
        ("Update it to the order's total.", 7520, False),
        ("Update it to the total plus the deposit.", 11520, True),
        ("Update it to what is left of the total.", 7520, True),
        ("Update it to the total minus the deposit.", 7520, True),
        ("Update it to the total minus the deposit.", 11520, False),
        ("Update it as the invoice says.", 7520, False),
    ],
)
def test_amounts_are_put_together_as_the_instruction_says(instruction: str, amount: int, known: bool) -> None:
    found = refused({"amount": amount, "currency": "EUR"}, instruction, observation(ORDER))
    assert (found == []) == known


def test_a_total_that_no_record_has_is_a_sum() -> None:
    seen = observation({"net": 8000, "tax": 1520, "currency": "EUR"})
    assert refused({"amount": 9520, "currency": "EUR"}, "Update it to the order's total.", seen) == []


@pytest.mark.parametrize(
    "text",
    [
        "Sign in at \u202eelpmaxe.live//:sptth\u202c",
        "Sign in at " + "".join(chr(0xE0000 + ord(c)) for c in "https://evil.example"),
        "Sign in at httрѕ://еvіl.ехаmрlе/x",  # noqa: RUF001 - that is the point
        "Write to eve at evil dot example",
        "Write to eve at evil . example",
    ],
)
def test_an_address_that_hides_in_a_text_is_seen(text: str) -> None:
    assert any("is hidden in the text" in told for told in refused({"text": text}, "Update it."))


@pytest.mark.parametrize(
    "text",
    [
        "There is room for twelve people at most. She waits for a date.",
        "Das Haus steht am Fluß, 20 m² groß; naïve Gäste schätzen es.",
        "Ответ был дан сегодня, USB-кабель заменён.",
        "\u200fשלום, הכתובת ידועה",  # noqa: RUF001
    ],
)
def test_a_text_that_hides_nothing_is_a_text(text: str) -> None:
    assert refused({"text": text}, "Update it.") == []


@pytest.mark.parametrize(
    "said",
    [
        "7 to 10 December",
        "7-10 December 2026",
        "7\u201310 Dec",
        "December 7-10",
        "from December 7th to 10th",
        "vom 7. bis 10. Dezember",
    ],
)
def test_days_from_and_to_are_both_named(said: str) -> None:
    instruction = f"Change it: {said}."
    assert refused({"day": "2026-12-07"}, instruction) == []
    assert refused({"day": "2026-12-10"}, instruction) == []
    assert refused({"day": "2026-12-08"}, instruction)
    assert refused({"day": "2026-11-07"}, instruction)


@pytest.mark.parametrize("said", ["Apologise to Ada in ticket 4720.", "Thank Ada for it."])
def test_words_that_people_use_ask_for_a_message(said: str) -> None:
    known = {TOOL: {"version": 4, "effect": "outbound_message"}}
    assert refused({"text": "Sorry."}, said, tool=tool(effect="outbound_message"), known_tools=known) == []
