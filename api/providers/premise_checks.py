"""What is wrong with what a write rests on, and with asking for it before it is written."""

from collections.abc import Iterator, Mapping

from api.providers.template import IDEMPOTENCY, placeholders
from api.providers.toml_lines import Place
from api.providers.tool import Tool
from api.providers.tool_checks import is_amount

Mistakes = Iterator[tuple[Place, str]]


def premise_mistakes(tool: Tool, tools: Mapping[str, Tool]) -> Mistakes:
    """With its place in the tool; tools: those of the same manifest, by their full names."""
    own = tool.schema_of_arguments.get("properties", {})
    if tool.access == "read" and tool.rests_on:
        yield ("rests_on",), "what only reads rests on nothing: leave rests_on out"
    for number, premise in enumerate(tool.rests_on):
        place: Place = ("rests_on", number)
        reader = tools.get(premise.tool)
        if reader is None or reader.access != "read":
            yield (*place, "tool"), f"there is no tool named {premise.tool} here that reads"
        else:
            taken = reader.schema_of_arguments
            for name in {*premise.args, *taken.get("required", [])}:
                if name not in taken.get("properties", {}) or name not in premise.args:
                    yield (*place, "args"), f"{premise.tool} and args do not agree on {name}"
        for name, _ in placeholders(premise.args):
            if name not in own:
                yield (*place, "args"), f"{{{name}}} is no argument of {tool.name}"
        if not premise.same and not premise.enough:
            yield place, "say in same or enough what of the answer counts"
        for wanted in premise.enough.values():
            name, _, form = wanted[1:].partition("|")
            if name not in own:
                yield (*place, "enough"), f"input_schema has no argument /{name}"
            elif form == "major" and not is_amount(tool, name):
                yield (
                    (*place, "enough"),
                    f"{wanted}: {name} has to be an integer with role amount and a required currency",
                )
            elif "|" in wanted and form != "major":
                yield (*place, "enough"), f"{wanted}: compare /{name} itself, or as /{name}|major"
    read_back = tool.read_back
    if read_back is not None and read_back.before_write:
        names = {name for name, _ in placeholders([read_back.args, read_back.equals])}
        if not names & set(IDEMPOTENCY):
            # Found by something else, a write that was never made could be taken for one that was.
            yield ("read_back", "before_write"), "it has to be found by {idempotency_key} or {idempotency_uuid}"
