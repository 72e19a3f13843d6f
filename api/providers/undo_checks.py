"""What is wrong with how a tool's state is read, and with how it is undone."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from api.providers.template import strings
from api.providers.toml_lines import Place
from api.providers.tool import Tool

Mistakes = Iterator[tuple[Place, str]]
_PLACEHOLDER = re.compile(r"{(\w+|(?:result|before|now)(?:/[^{}/]+)+)}")


def undo_mistakes(tool: Tool, tools: Mapping[str, Tool]) -> Mistakes:
    """With its place in the tool; tools: those of the same manifest, by their full names."""
    if tool.access == "read" and (tool.state is not None or tool.compensate is not None):
        yield ("access",), "what only reads changes no state, and is not undone: leave state and compensate out"
    if tool.state is not None:
        reader = tools.get(tool.state.tool)
        if reader is None or reader.access != "read":
            yield ("state", "tool"), f"there is no tool named {tool.state.tool} here that reads"
        if not tool.state.fields:
            yield ("state", "fields"), "name the fields that the write changes, as /email"
        yield from _templates(tool, tool.state.args, reader, "state", ("result",))
    if tool.compensate is not None:
        undo = tools.get(tool.compensate.tool)
        if undo is None or undo.access != "write":
            yield ("compensate", "tool"), f"there is no tool named {tool.compensate.tool} here that writes"
        known = ("result", "before", "now") if tool.state is not None else ("result",)
        yield from _templates(tool, tool.compensate.args, undo, "compensate", known)


def _templates(
    tool: Tool, args: dict[str, Any], called: Tool | None, member: str, sources: tuple[str, ...]
) -> Mistakes:
    taken = called.schema_of_arguments if called else {}
    for name in {*args, *taken.get("required", [])} if called else set():
        if name not in taken.get("properties", {}) or name not in args:
            yield (member, "args"), f"the tool that is called and args do not agree on {name}"
    for text in strings(args):
        if re.search("[{}]", _PLACEHOLDER.sub("", text)):
            yield (
                (member, "args"),
                f"{text[:80]!r} has a brace that is no placeholder: write {{argument}} or {{result/id}}",
            )
        for name in _PLACEHOLDER.findall(text):
            source, _, inner = name.partition("/")
            if inner and source not in sources:
                yield (member, "args"), f"{{{name}}}: there is no {source} here to take it from"
            elif not inner and name not in tool.schema_of_arguments.get("properties", {}):
                yield (member, "args"), f"{{{name}}} is no argument of input_schema"
