"""What keeps a contract of a tenant's own from being registered, and what whoever registers it should know."""

import re
from collections.abc import Iterator

from api.gate.arguments import size
from api.gate.models import Access
from api.tools.input_schema import InputSchema, Mistake
from api.tools.models import NewTool

MAX_SIZE = 60_000
#: The first word of names that no tenant can give, beside those of the providers.
RESERVED = "tenant"
_HTTP = (
    "A tool of your own is executed by your own client: mode external. What is called through a connection is "
    "described by the provider's manifest alone, because its effect decides what always waits for a person."
)


def mistakes(tool: NewTool, schema: InputSchema, providers: set[str], readers: dict[str, Access]) -> list[Mistake]:
    """Every reason to refuse a contract, as {pointer, message}.

    providers: the first words of names that are taken; readers: the tools in force, by what they are for.
    """
    found = [{"pointer": f"/input_schema{each['pointer']}", "message": each["message"]} for each in schema.mistakes]
    found += _of_the_whole(tool, providers)
    if not schema.mistakes:
        found += _of_arguments(tool, schema)
    return [*found, *_of_read_back(tool, schema, readers)]


def warnings(tool: NewTool, schema: InputSchema) -> list[Mistake]:
    """What is allowed and worth a second look, as {pointer, message}."""
    return list(_warnings(tool, schema))


def _mistake(pointer: str, message: str) -> Mistake:
    return {"pointer": pointer, "message": message}


def _of_the_whole(tool: NewTool, providers: set[str]) -> Iterator[Mistake]:
    first = tool.name.partition(".")[0]
    if first in providers or first == RESERVED:
        yield _mistake("/name", f"Names that begin with {first}. are a provider's; choose another name.")
    if tool.execution.mode != "external":
        yield _mistake("/execution/mode", _HTTP)
    if (tool.access == "read") != (tool.effect == "read"):
        yield _mistake("/effect", "A tool that reads has the effect read, and no other tool has.")
    if size(tool.model_dump(mode="json")) > MAX_SIZE:
        yield _mistake("", f"The contract is larger than {MAX_SIZE:,} characters.")


def _at(pointer: str) -> str:
    return f"/arguments/{pointer.replace('~', '~0').replace('/', '~1')}"


def _of_arguments(tool: NewTool, schema: InputSchema) -> Iterator[Mistake]:
    for pointer, argument in tool.arguments.items():
        if pointer not in schema.values:
            yield _mistake(_at(pointer), _astray(pointer, schema))
        if argument.currency is not None and "string" not in schema.values.get(argument.currency, set()):
            yield _mistake(f"{_at(pointer)}/currency", f"input_schema has no text at {argument.currency}.")
        if argument.role != "amount" and (argument.currency or argument.fixed_currency or argument.unit == "major"):
            yield _mistake(_at(pointer), "Only an amount has a currency and a unit.")
        if argument.currency and argument.fixed_currency:
            yield _mistake(_at(pointer), "An amount's currency is named by an argument or fixed, not both.")
    for pointer in schema.values:
        if pointer not in tool.arguments:
            yield _mistake("/arguments", f"{pointer} has no role. Say what it is, or nobody checks what is put there.")


def _astray(pointer: str, schema: InputSchema) -> str:
    if pointer in schema.places:
        inside = [value for value in schema.values if value.startswith(f"{pointer}/")]
        return f"Roles are those of single values: name {', '.join(inside[:5]) or 'what is inside'}."
    return f"input_schema has no argument {pointer}."


def _of_read_back(tool: NewTool, schema: InputSchema, readers: dict[str, Access]) -> Iterator[Mistake]:
    back = tool.read_back
    if back is None:
        return
    if tool.access == "read":
        yield _mistake("/read_back", "A tool that reads is not read back.")
    elif readers.get(back.tool) != "read":
        yield _mistake("/read_back/tool", f"There is no tool named {back.tool} that reads; register it first.")
    known = {"idempotency_key", *(place[1:] for place in schema.values if place.count("/") == 1)}
    for text in [*(value for value in back.args.values() if isinstance(value, str)), back.equals or ""]:
        for name in re.findall(r"{([^{}]*)}", text):
            if name not in known:
                yield _mistake("/read_back", f"{{{name[:60]}}} is neither idempotency_key nor an argument.")


def _warnings(tool: NewTool, schema: InputSchema) -> Iterator[Mistake]:
    for at in schema.open:
        yield _mistake(
            "/input_schema",
            f"{at or 'The schema'} takes members that it does not name, and all of them are refused because they have "
            "no role. Say additionalProperties: false, so that your client knows.",
        )
    for pointer, argument in tool.arguments.items():
        types = schema.values.get(pointer, set())
        if argument.role == "amount" and not (argument.currency or argument.fixed_currency):
            yield _mistake(_at(pointer), "Without a currency no amount is compared; every proposal waits for a person.")
        if argument.role == "amount" and types and not types <= {"integer", "number"}:
            yield _mistake(_at(pointer), "An amount that is no number is not compared; it waits for a person.")
        if argument.role == "setting" and "string" in types and tool.access == "write":
            yield _mistake(
                _at(pointer),
                "What is called a setting is not compared with what is known. Is it a recipient, account, url, "
                "object_id or free_text?",
            )
    if tool.output.trust.get("") == "trusted":
        yield _mistake(
            "/output/trust", "All that the tool answers is trusted. Is nothing in it written by somebody outside?"
        )
