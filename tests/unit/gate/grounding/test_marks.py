"""The writer's own mark of a write is nobody else's to name."""

from typing import Any

import pytest

from api.gate.contracts import Contract
from api.gate.grounding.sinks import sinks
from tests.unit.gate.world import contract

SCHEMA = {
    "type": "object",
    "properties": {"mark": {"type": "string"}, "status": {"type": "string", "enum": ["open", "closed"]}},
}
ARGUMENTS = {"/mark": {"role": "setting"}, "/status": {"role": "setting"}, "/id": {"role": "object_id"}}


def marked(args: dict[str, str]) -> Contract:
    read_back = {"tool": "acme.payments.find", "args": args, "found": "/payments/0"}
    return contract(input_schema=SCHEMA, arguments=ARGUMENTS, read_back=read_back)


@pytest.mark.parametrize(
    ("read_back", "role"),
    [({"marker": "{mark}"}, "free_text"), ({"marker": "x-{mark}"}, "setting"), ({"marker": "{other}"}, "setting")],
)
def test_what_the_write_is_found_by_is_a_text(read_back: dict[str, str], role: str) -> None:
    args: dict[str, Any] = {"mark": "ref-1", "status": "open", "id": "a1"}
    roles = {sink.pointer: sink.role for sink in sinks(marked(read_back), args)}
    assert roles == {"/mark": role, "/status": "setting", "/id": "object_id"}


def test_what_the_schema_lists_stays_a_setting_and_an_object_an_object() -> None:
    asked = marked({"status": "{status}", "id": "{id}"})
    roles = {sink.pointer: sink.role for sink in sinks(asked, {"status": "open", "id": "a1"})}
    assert roles == {"/status": "setting", "/id": "object_id"}
