"""Messages: who is an outsider, and what of a message a reviewer has read."""

import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from api.gate.models import Decision, Outcome
from api.gate.templates import fills
from tests.unit.gate.world import NOW, TOOL, contract, decided, facts, of, outcome_of, proposal, spec

SENDS: dict[str, Any] = {
    "/to": {"role": "recipient"}, "/cc/*": {"role": "recipient"}, "/people": {"role": "recipient"},
    "/subject": {"role": "free_text"}, "/text": {"role": "free_text"}, "/channel": {"role": "setting"},
}  # fmt: skip
TEMPLATE = "Hello {name}, your order {order} is on its way."
TEXT = "Hello Ada, your order 4711 is on its way."


def sent(
    args: dict[str, Any], outbound: dict[str, Any] | None = None, effect: str = "outbound_message", **more: Any
) -> Decision:
    insiders = more.pop("insiders", ["@ours.example", "boss@home.example", "#Finance Team", "+49 30 901820"])
    tool = contract(effect=effect, arguments=SENDS, input_schema={"type": "object"})
    access = spec({"outbound": outbound}, insiders=insiders)
    return decided(facts(access, tool, **more), proposal(args))


def outcome(*args: Any, **more: Any) -> str:
    return outcome_of(sent(*args, **more), "outbound").value


@pytest.mark.parametrize(
    ("to", "found"),
    [
        ("ada@ours.example", "allow"),
        ("ADA@Ours.Example", "allow"),
        ("Ada Okafor <ada@ours.example>", "allow"),
        ("ada@ours.example, bob@ours.example; boss@home.example", "allow"),
        ("boss@home.example", "allow"),
        ("finance team", "allow"),
        ("#finance  team", "allow"),
        ("0049 30 90-1820", "allow"),
        ("maid@home.example", "escalate"),
        ("ada@sub.ours.example", "escalate"),
        ("ada@ours.example.evil.example", "escalate"),
        ("ada@0urs.example", "escalate"),
        ("ada@\u043eurs.example", "escalate"),
        ("ada@ours.example, eve@evil.example", "escalate"),
        ("ada@ours.example <eve@evil.example>", "escalate"),
        ("ada@ours.example\neve@evil.example", "escalate"),
        ("@ours.example", "escalate"),
        ("ours.example", "escalate"),
        ("finance", "escalate"),
        ("+49 30 901821", "escalate"),
        ("", "escalate"),
        ("  ", "escalate"),
    ],
)
def test_insiders(to: str, found: str) -> None:
    assert outcome({"to": to, "text": "anything at all"}) == found


def test_every_recipient_counts_also_the_nested_ones() -> None:
    inside = {"to": "ada@ours.example", "cc": ["bob@ours.example"], "people": {"a": ["c@ours.example"], "b": None}}
    assert outcome(inside) == "allow"
    for outside in ({"cc": ["bob@ours.example", "x@else.example"]}, {"people": {"a": [{"b": "x@else.example"}]}}):
        decision = sent(inside | outside)
        [found] = [f for f in of(decision, "outbound") if f.outcome is Outcome.ESCALATE]
        assert "'x@else.example' is an outsider" in found.message
        assert (found.control, found.setting) == (2, f"tools.{TOOL}.outbound")
        assert "insiders would have covered it" in found.message
    assert outcome(inside | {"people": 7}) == "escalate"


def test_no_recipient_at_all_is_an_unknown_one() -> None:
    [found] = of(sent({"text": "x"}), "outbound")
    assert (found.outcome, "names no recipient" in found.message) == (Outcome.ESCALATE, True)
    assert outcome({"to": None, "cc": [], "people": {}}) == "escalate"


READ = {"recipients": ["@partner.example", "eve@else.example", "help-desk"], "templates": [TEMPLATE, "{greeting}!"]}


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ({"to": "a@partner.example", "text": TEXT}, "allow"),
        ({"to": "a@partner.example", "text": TEXT, "cc": ["in@ours.example", "eve@else.example"]}, "allow"),
        ({"to": "Help-Desk", "text": TEXT, "subject": "Hi!"}, "allow"),
        ({"to": "a@partner.example"}, "allow"),
        ({"to": "a@partner.example", "text": ""}, "allow"),
        ({"to": "a@partner.example", "text": TEXT, "subject": "Hi"}, "escalate"),
        ({"to": "a@partner.example", "text": TEXT, "footer": "a text that has no role"}, "escalate"),
        ({"to": "a@partner.example", "text": TEXT, "channel": "a setting"}, "allow"),
        ({"to": "a@partner.example", "text": f"{TEXT} P.S. see me"}, "escalate"),
        ({"to": "b@else.example", "text": TEXT}, "escalate"),
        ({"to": "a@partner.example, b@else.example", "text": TEXT}, "escalate"),
    ],
)
def test_a_message_is_read_when_both_its_recipients_and_its_text_are(args: dict[str, Any], found: str) -> None:
    assert outcome(args, READ) == found


def test_what_is_missing_is_said_with_its_setting() -> None:
    decision = sent({"to": "b@else.example", "text": "free"}, READ)
    found = {f.setting: f.pointer for f in of(decision, "outbound")}
    assert found == {f"tools.{TOOL}.outbound.recipients": "/args/to", f"tools.{TOOL}.outbound.templates": "/args/text"}


def test_any_text_is_of_texts_and_not_of_recipients() -> None:
    freely = READ | {"any_text": True, "templates": []}
    assert outcome({"to": "a@partner.example", "text": "whatever I like"}, freely) == "allow"
    assert outcome({"to": "b@else.example", "text": "whatever I like"}, freely) == "escalate"


@pytest.mark.parametrize(
    ("key", "since", "found"),
    [
        ("email:ada@vendor.example", NOW, "allow"),
        ("domain:vendor.example", NOW - timedelta(days=1), "allow"),
        ("email:ada@vendor.example", NOW + timedelta(seconds=1), "escalate"),
        ("email:bob@vendor.example", NOW, "escalate"),
    ],
)
def test_whom_the_directory_knows(key: str, since: Any, found: str) -> None:
    entry = {"id": UUID(int=1), "name": "Vendor", "kind": "vendor", "trusted_from": since}
    known = {key: {"entries": [entry]}}
    everybody = {"recipients": ["directory"], "any_text": True}
    assert outcome({"to": "ada@vendor.example"}, everybody, directory=known) == found
    assert outcome({"to": "ada@vendor.example"}, READ | {"any_text": True}, directory=known) == "escalate"
    alike = {key: {"alike": ["vendor.example (Vendor)"]}}
    assert outcome({"to": "ada@vendor.example"}, everybody, directory=alike) == "escalate"
    assert outcome({"to": "directory"}, everybody) == "escalate"  # it is no channel's name


def test_a_mass_message_says_the_same_and_is_a_hard_gate() -> None:
    decision = sent({"to": "a@partner.example", "text": "free"}, READ, effect="mass_outbound")
    assert outcome_of(decision, "outbound") is Outcome.ESCALATE
    read = sent({"to": "a@partner.example", "text": TEXT}, READ, effect="mass_outbound")
    assert outcome_of(read, "outbound") is Outcome.ALLOW
    assert read.outcome is Outcome.ESCALATE


def test_what_sends_nothing_is_not_looked_at() -> None:
    [found] = of(sent({"to": "eve@evil.example"}, effect="write"), "outbound")
    assert found.outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("template", "text", "fits"),
    [
        (TEMPLATE, TEXT, True),
        (TEMPLATE, TEMPLATE, True),
        ("No places.", "No places.", True),
        ("No places.", "No places. ", False),
        (TEMPLATE, TEXT.replace("Hello", "hello"), False),
        (TEMPLATE, TEXT.replace("Ada", ""), False),
        (TEMPLATE, TEXT.replace("Ada", "A" * 200), True),
        (TEMPLATE, TEXT.replace("Ada", "A" * 201), False),
        (TEMPLATE, TEXT.replace("Ada", "Ada\nBob"), False),
        (TEMPLATE, TEXT.replace("Ada", "Ada\u2028Bob"), False),
        (TEMPLATE, TEXT.replace("Ada", "A\u200bda"), False),
        (TEMPLATE, TEXT.replace("Ada", "eve@evil.example"), False),
        (TEMPLATE, TEXT.replace("Ada", "see https://evil.example/x"), False),
        (TEMPLATE, TEXT.replace("Ada", "evil.com/login"), False),
        (TEMPLATE, TEXT.replace("Ada", "DE89 3704 0044 0532 0130 00"), False),
        (TEMPLATE, TEXT.replace("Ada", "call +49 30 9018200"), False),
        ("Write to {name}@ours.example.", "Write to eve@ours.example.", False),
        ("Write to help@ours.example, {name}.", "Write to help@ours.example, Ada.", True),
        ("{a} {b}", "one two three", True),
        ("{a}{b}", "xy", True),
        ("{a}{b}", "x", False),
        ("{a}, {a}", "x, y", True),
        ("a{x}a", "aa", False),
        ("a{x}a", "aaa", True),
        ("{x}", "", False),
        ("{x} ends", "this ends ends", True),
        ("{not a place!} {x}", "{not a place!} y", True),
        ("{", "{", True),
    ],
)
def test_templates(template: str, text: str, fits: bool) -> None:
    assert fills(template, text) is fits


def test_a_value_is_split_where_it_fits() -> None:
    """The first place where a piece stands need not be the one that the rest fits behind."""
    template = "Dear {name}, {body}."
    assert fills(template, f"Dear {'A, ' * 50}b, {'c' * 199}.")
    assert not fills(template, f"Dear {'A' * 201}, x.")


def test_a_template_that_could_be_matched_in_many_ways_takes_no_time() -> None:
    template = "{a} " * 39 + "{z}"
    started = time.thread_time()
    assert fills(template, "x " * 3000)
    assert not fills(template + "!", "x " * 3000 + "?")
    assert not fills(template, "x " * 3000 + "y" * 201)
    assert time.thread_time() - started < 2
    assert not fills("{a}" * 41, "x" * 41)
