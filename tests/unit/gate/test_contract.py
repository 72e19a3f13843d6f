"""Control 7: only tools with a contract, only arguments that fit it."""

import http.server
import threading
from typing import Any

import pytest

from api.gate.arguments import MAX_SIZE, size
from api.gate.models import Outcome
from tests.unit.gate.world import ARGS, SCHEMA, TOOL, contract, decided, facts, of, outcome_of, proposal


@pytest.mark.parametrize(
    ("args", "pointers"),
    [
        (ARGS, []),
        ({}, ["/args"]),
        ({"to": 5}, ["/args/to"]),
        ({"to": "x", "cc": "y"}, ["/args"]),
        ({"to": "x", "amount": "5"}, ["/args/amount"]),
        ({"to": "x", "amount": 5.0}, []),
        ({"to": "x", "amount": 5.5}, ["/args/amount"]),
        ({"to": "x", "amount": True}, ["/args/amount"]),
        ({"to": "x", "amount": None}, ["/args/amount"]),
        ({"to": "x" * 41}, ["/args/to"]),
        ({"to": None, "amount": []}, ["/args/amount", "/args/to"]),
        ({"to": "x", "items": [{}, 5]}, ["/args/items/1"]),
    ],
)
def test_arguments_fit_the_schema(args: dict[str, Any], pointers: list[str]) -> None:
    decision = decided(proposed=proposal(args))
    denied = [f for f in of(decision, "contract") if f.outcome is Outcome.DENY]
    assert sorted(str(f.pointer) for f in denied) == pointers
    assert decision.outcome is Outcome.DENY or not pointers
    assert outcome_of(decision, "contract") is (Outcome.DENY if pointers else Outcome.ALLOW)


def test_a_pointer_to_a_mistake_is_escaped() -> None:
    schema = {"type": "object", "properties": {"a/b~": {"type": "string"}}}
    decision = decided(facts(tool=contract(input_schema=schema)), proposal({"a/b~": 1}))
    assert of(decision, "contract")[0].pointer == "/args/a~1b~0"


def test_an_unknown_tool_is_denied_and_quoted_briefly() -> None:
    [found] = of(decided(proposed=proposal(tool="evil\x00" * 1000)), "contract")
    assert found.outcome is Outcome.DENY
    assert "\x00" not in found.message
    assert len(found.message) < 700


def test_a_tool_that_reads_is_not_proposed() -> None:
    reader = contract(access="read", effect="read")
    decision = decided(facts(tool=reader))
    assert outcome_of(decision, "contract") is Outcome.DENY


@pytest.mark.parametrize("extra", [0, 1])
def test_arguments_are_bounded(extra: int) -> None:
    args = {"to": "x", "note": ""}
    args["note"] = "n" * (MAX_SIZE - size(args) + extra)
    assert size(args) == MAX_SIZE + extra
    assert outcome_of(decided(proposed=proposal(args)), "contract") is (Outcome.DENY if extra else Outcome.ALLOW)


def test_twenty_mistakes_are_shown() -> None:
    decision = decided(proposed=proposal({"to": "x", "items": list(range(500))}))
    assert len(of(decision, "contract")) == 20


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"properties": {"to": {"pattern": "("}}},
        {"$ref": "#/$defs/absent"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
    ],
)
def test_a_schema_that_cannot_be_used_denies(schema: dict[str, Any]) -> None:
    decision = decided(facts(tool=contract(input_schema=schema)))
    assert outcome_of(decision, "contract") is Outcome.DENY
    assert decision.outcome is Outcome.DENY


def test_a_schema_does_not_make_the_gate_call_anybody() -> None:
    called: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            called.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        schema = SCHEMA | {"$ref": f"http://127.0.0.1:{server.server_port}/schema.json"}
        decision = decided(facts(tool=contract(input_schema=schema)))
        server.shutdown()
    assert decision.outcome is Outcome.DENY
    assert called == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
        {"properties": {"meta": {"$ref": "#"}}},
    ],
)
def test_a_schema_that_refers_to_itself_ends(schema: dict[str, Any]) -> None:
    nested: dict[str, Any] = {}
    for _ in range(30):
        nested = {"meta": nested}
    assert outcome_of(decided(facts(tool=contract(input_schema=schema)), proposal(nested)), "contract") is Outcome.ALLOW


def test_two_contracts_of_one_name_and_version_do_not_share_a_schema() -> None:
    """Another tenant's tool may have the same name; what was compiled for one must not be used for the other."""
    strict, loose = contract(), contract(input_schema={"type": "object"})
    args = {"anything": 1}
    assert outcome_of(decided(facts(tool=loose), proposal(args)), "contract") is Outcome.ALLOW
    assert outcome_of(decided(facts(tool=strict), proposal(args)), "contract") is Outcome.DENY
    assert strict.name == loose.name == TOOL
