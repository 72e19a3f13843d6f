"""Control 1: nothing outside of the access spec gets through, however it is wrapped."""

from typing import Any
from uuid import UUID

import pytest

from api.gate.models import Outcome
from tests.unit.gate.world import ARGS, TOOL, WRITE, contract, decided, facts, of, outcome_of, proposal, spec

ANYTHING = {"type": "object"}


def _scope(grant: dict[str, Any], args: dict[str, Any]) -> tuple[Outcome, list[str | None]]:
    decision = decided(facts(spec(grant), contract(input_schema=ANYTHING)), proposal(args))
    found = of(decision, "scope")
    return outcome_of(decision, "scope"), [f.pointer for f in found if f.outcome is Outcome.DENY]


def test_what_the_spec_lists_is_allowed() -> None:
    assert decided().outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("allowed", "args", "refused"),
    [
        (["/to"], {"to": "x"}, []),
        (["/to"], {"to": {"deep": [1, {"x": 2}]}}, []),
        (["/to"], {}, []),
        ([], {}, []),
        ([], {"to": "x"}, ["/args/to"]),
        (["/to"], {"to": "x", "cc": "y"}, ["/args/cc"]),
        (["/to"], {"to": "x", "cc": {}}, ["/args/cc"]),
        (["/to"], {"to": "x", "cc": []}, ["/args/cc"]),
        (["/to"], {"to": "x", "cc": None}, ["/args/cc"]),
        (["/to"], {"to": "x", "cc": [[]]}, ["/args/cc/0"]),
        (["/to"], {"to": "x", "": "y"}, ["/args/"]),
        (["/to"], {"to/cc": "y"}, ["/args/to~1cc"]),
        (["/to"], {"to~1cc": "y"}, ["/args/to~01cc"]),
        (["/to/cc"], {"to/cc": "y"}, ["/args/to~1cc"]),
        (["/to~1cc"], {"to/cc": "y"}, []),
        (["/to~1cc"], {"to": {"cc": "y"}}, ["/args/to/cc"]),
        (["/to/cc"], {"to": {}}, ["/args/to"]),
        (["/to/cc"], {"to": {"cc": 1, "bcc": 2}}, ["/args/to/bcc"]),
        (["/items/*/id"], {"items": [{"id": 1}, {"id": 2, "price": 3}]}, ["/args/items/1/price"]),
        (["/items/*/id"], {"items": {"a": {"id": 1}}}, []),
        (["/items/0/id"], {"items": [{"id": 1}, {"id": 2}]}, ["/args/items/1/id"]),
        (["/to"], {"*": 1}, ["/args/*"]),
        (["/to"], {"TO": 1}, ["/args/TO"]),
        (["/to"], {"t\N{CYRILLIC SMALL LETTER O}": 1}, ["/args/t\N{CYRILLIC SMALL LETTER O}"]),
        (["/to"], {"to\x00": 1}, ["/args/to\x00"]),
        ([""], {"whatever": {"it": "is"}}, []),
        (None, {"whatever": {"it": "is"}}, []),
    ],
)
def test_arguments(allowed: list[str] | None, args: dict[str, Any], refused: list[str]) -> None:
    outcome, pointers = _scope({"arguments": allowed}, args)
    assert pointers == refused
    assert outcome is (Outcome.DENY if refused else Outcome.ALLOW)


@pytest.mark.parametrize(
    ("records", "args", "refused"),
    [
        ({"/account": ["a", 1]}, {"account": "a"}, []),
        ({"/account": ["a", 1]}, {"account": 1}, []),
        ({"/account": ["a", 1]}, {"account": 1.0}, []),
        ({"/account": ["a", 1]}, {"account": True}, ["/args/account"]),
        ({"/account": ["a", 1, 0]}, {"account": False}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"account": "1"}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"account": "A"}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"account": "a "}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"account": "\N{FULLWIDTH LATIN SMALL LETTER A}"}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"account": ["a"]}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"account": {"id": "a"}}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"account": None}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"account": 1.5}, ["/args/account"]),
        ({"/account": ["a", 1]}, {}, ["/args/account"]),
        ({"/account": ["a", 1]}, {"Account": "a"}, ["/args/account"]),
        ({"/account": []}, {"account": "a"}, ["/args/account"]),
        ({"/a~1b": ["x"]}, {"a/b": "x"}, []),
        ({"/a~1b": ["x"]}, {"a": {"b": "x"}}, ["/args/a~1b"]),
        ({"/items/*/id": [1]}, {"items": [{"id": 1}, {"id": 1}]}, []),
        ({"/items/*/id": [1]}, {"items": [{"id": 1}, {"id": 2}]}, ["/args/items/1/id"]),
        ({"/items/*/id": [1]}, {"items": [{"id": 1}, {}]}, ["/args/items/1/id"]),
        ({"/items/*/id": [1]}, {"items": []}, ["/args/items/*"]),
        ({"/items/*/id": [1]}, {"items": 1}, ["/args/items/*"]),
        ({"/a": ["x"], "/b": ["y"]}, {"a": "y", "b": "x"}, ["/args/a", "/args/b"]),
    ],
)
def test_records(records: dict[str, Any], args: dict[str, Any], refused: list[str]) -> None:
    outcome, pointers = _scope({"records": records}, args)
    assert pointers == refused
    assert outcome is (Outcome.DENY if refused else Outcome.ALLOW)


@pytest.mark.parametrize(
    "tool",
    [
        "acme.payments.delete",
        TOOL.upper(),
        TOOL + " ",
        TOOL + "\n",
        TOOL + "\x00",
        " " + TOOL,
        TOOL.replace("a", "\N{CYRILLIC SMALL LETTER A}"),
        TOOL.replace(".", "\N{FULLWIDTH FULL STOP}"),
        TOOL + "\N{ZERO WIDTH SPACE}",
        "\N{RIGHT-TO-LEFT OVERRIDE}" + TOOL,
        "",
        "*",
        "acme.*",
        "x" * 1_000_000,
    ],
    ids=lambda tool: repr(tool)[:30],
)
def test_a_tool_is_its_exact_name(tool: str) -> None:
    decision = decided(facts(), proposal(tool=tool))
    assert decision.outcome is Outcome.DENY
    assert outcome_of(decision, "scope") is Outcome.DENY
    assert outcome_of(decision, "contract") is Outcome.DENY
    assert decision.contract_version is None
    assert len(decision.model_dump_json()) < 10_000


def test_a_tool_that_exists_outside_of_the_spec_is_denied() -> None:
    known = {TOOL: {"version": 4, "effect": "write"}, "acme.other": {"version": 1, "effect": "write"}}
    decision = decided(facts(known_tools=known), proposal(tool="acme.other"))
    assert decision.outcome is Outcome.DENY
    assert outcome_of(decision, "contract") is Outcome.ALLOW
    assert outcome_of(decision, "scope") is Outcome.DENY


def test_read_access_does_not_write() -> None:
    decision = decided(facts(spec({"access": "read"})))
    assert [f.setting for f in of(decision, "scope")] == [f"tools.{TOOL}.access"]
    assert decision.outcome is Outcome.DENY


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ({"environment": "production"}, "another environment"),
        ({"access": "read"}, "another environment or access"),
        ({"provider": "other"}, "not one to acme"),
    ],
)
def test_the_connection_must_be_the_one_that_fits(connection: dict[str, str], message: str) -> None:
    decision = decided(facts(connection=connection))
    assert decision.outcome is Outcome.DENY
    assert [message in f.message for f in of(decision, "scope")] == [True]


@pytest.mark.parametrize(
    "bindings",
    [
        {},
        {"acme": {}},
        {"acme": {"read": WRITE}},
        {"other": {"write": WRITE}},
        {"acme": {"write": UUID(int=404)}},
    ],
)
def test_without_a_connection_of_its_own_nothing_is_done(bindings: dict[str, Any]) -> None:
    decision = decided(facts(spec(connections=bindings)))
    assert [f.setting for f in of(decision, "scope") if f.outcome is Outcome.DENY] == ["connections"]


def test_a_thousand_mistakes_are_a_short_list() -> None:
    args = {"to": "x"} | {f"{n}" + "k" * 400: n for n in range(1000)}
    decision = decided(
        facts(spec({"arguments": ["/to"]}, connections={}), contract(input_schema=ANYTHING)), proposal(args)
    )
    found = of(decision, "scope")
    assert 20 < len(found) <= 22
    assert "connections" in {f.setting for f in found}, "a flood of one kind must not hide another"
    assert all(len(f.pointer or "") <= 300 for f in found)


def test_the_order_of_arguments_does_not_change_the_decision() -> None:
    backwards = dict(reversed(ARGS.items()))
    held = facts(spec({"arguments": []}))
    assert decided(held, proposal(backwards)).model_dump_json() == decided(held).model_dump_json()
