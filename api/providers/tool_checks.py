"""Parts of a tool that fit the format, and not each other or the provider around it."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from api.gate.models import ReadBack
from api.providers.patterns import BREAKING, characters, is_anchored
from api.providers.request import used
from api.providers.template import IDEMPOTENCY, PLACEHOLDER, placeholders, strings
from api.providers.toml_lines import Place
from api.providers.tool import Tool

if TYPE_CHECKING:
    from api.providers.manifest import Manifest

Mistakes = Iterator[tuple[Place, str]]
_LOOSE = (
    "stands inside of a longer text: its schema needs enum, const, the type integer, number or boolean, or a "
    "pattern ^...$ that excludes quotes, backslashes and control characters (prose in a body: {name|text})"
)


def contradictions_of(tool: Tool, manifest: "Manifest") -> Mistakes:
    """What is wrong with a tool, with its place in it."""
    schema = tool.schema_of_arguments
    if (tool.access == "read") != (tool.effect == "read"):
        yield ("effect",), "access and effect disagree: a tool that reads has effect read, and no other"
    for pointer, argument in tool.arguments.items():
        # A misspelt pointer would take its argument out of every check that looks at roles.
        for named in filter(None, (pointer, argument.currency)):
            if not _exists(schema, named):
                yield ("arguments", pointer), f"input_schema has no argument {named}"
    if tool.http.origin not in manifest.origin_names:
        yield ("http", "origin"), f"[origins] name no {tool.http.origin}"
    yield from _body(tool)
    yield from _idempotency(tool)
    yield from _names(tool, manifest)
    yield from _equal(tool, manifest)
    yield from _texts(tool)
    yield from _left_out(tool)


def _parts(tool: Tool) -> list[tuple[Place, Any]]:
    """Every template of a tool with its place."""
    http = tool.http
    parts: list[tuple[Place, Any]] = [(("http", "path"), http.path)]
    parts += [(("http", "query", name), part) for name, part in http.query.items()]
    parts += [(("http", "headers", name), part) for name, part in http.headers.items()]
    return [*parts, (("http", "template"), http.document)]


def _body(tool: Tool) -> Mistakes:
    http, template = tool.http, tool.http.document
    if http.method == "GET" and http.body != "none":
        yield ("http", "body"), "a GET has no body: leave body out, the arguments go to the query"
    if http.body == "none" and template is not None:
        yield ("http", "template"), "without a body there is nothing to fill: give body, or leave template out"
    if http.body != "none" and any(name.lower() == "content-type" for name in http.headers):
        yield ("http", "headers"), "the body says its Content-Type itself"
    if http.body == "rfc822" and (not isinstance(template, dict) or "text" not in template):
        yield ("http", "body"), 'rfc822 needs a template with the headers and "text": {"To": "{to}", "text": "{text}"}'
    if http.body in ("form", "rfc822") and template is not None:
        flat = isinstance(template, dict) and not any(isinstance(part, dict | list) for part in template.values())
        if not flat:
            yield ("http", "template"), f"the fields of a {http.body} body are texts: it must be one flat object"
        elif http.body == "rfc822" and not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) for name in template):
            yield ("http", "template"), "its members are headers of a message, and text"


def _idempotency(tool: Tool) -> Mistakes:
    by_template = any(name in IDEMPOTENCY for _, part in _parts(tool) for name, _ in placeholders(part))
    if tool.access == "read":
        if tool.http.idempotency_header:
            yield ("http", "idempotency_header"), "a tool that reads has no idempotency key"
    elif tool.idempotency == "key" and not tool.http.idempotency_header and not by_template:
        yield (
            ("idempotency",),
            "idempotency by key needs http.idempotency_header, or {idempotency_key} or {idempotency_uuid} somewhere",
        )


def _names(tool: Tool, manifest: "Manifest") -> Mistakes:
    """Every placeholder stands for one thing, which is there when it is needed."""
    schema = tool.schema_of_arguments
    arguments, required = set(schema.get("properties", {})), set(schema.get("required", []))
    kept = set(manifest.parameters) | set(manifest.kept)
    optional = {name for name, keep in manifest.kept.items() if keep.optional}
    keys = set(IDEMPOTENCY) if tool.access == "write" else set()
    for place, part in _parts(tool):
        for found in strings(part):
            if re.search("[{}]", PLACEHOLDER.sub("", found)):
                yield (
                    place,
                    f"{found[:80]!r} has a brace that is no placeholder: write {{argument}} or {{amount|major}}",
                )
        for name, form in placeholders(part):
            if name in arguments and name in kept | keys:
                yield place, f"{{{name}}} is an argument and an id of the connection: rename one of them"
            elif name not in arguments | kept | keys:
                yield place, f"{{{name}}} is neither an argument of input_schema nor a parameter or kept id"
            elif name in optional:
                yield place, f"{{{name}}} is optional in [account.keep], so a connection may lack it"
            elif place[-1] == "path" and name in arguments - required:
                yield place, f"the path names {{{name}}}, which input_schema does not require"
            if form.startswith("major") and not is_amount(tool, name):
                yield place, f"{{{name}|{form}}}: {name} has to be an integer with role amount and a required currency"
            if form == "text" and place[-1] != "template":
                yield place, f"{{{name}|text}}: prose has its place in a body only"
    if tool.http.body == "rfc822" and isinstance(tool.http.document, dict):
        headers = {name: part for name, part in tool.http.document.items() if name != "text"}
        for name in sorted({name for name, form in placeholders(headers) if form == "text"}):
            yield ("http", "template"), f"{{{name}|text}}: prose has its place in text, and in no header"
    if isinstance(tool.http.document, dict | list) and any(map(PLACEHOLDER.search, _keys(tool.http.document))):
        yield ("http", "template"), "a placeholder can stand for a value, and not for the name of a member"


def _equal(tool: Tool, manifest: "Manifest") -> Mistakes:
    always = set(manifest.parameters) | {name for name, keep in manifest.kept.items() if not keep.optional}
    for name, part in tool.http.must_equal.items():
        if name not in tool.schema_of_arguments.get("required", []):
            yield ("http", "must_equal", name), f"input_schema does not require {name}"
        for inner in re.findall(r"{([^}]*)", part):
            if inner not in always:
                yield (
                    ("http", "must_equal", name),
                    f"{{{inner}}} is neither a parameter nor a kept id that is always there",
                )


def _keys(template: Any) -> Iterator[str]:
    if isinstance(template, dict | list):
        for part in template.values() if isinstance(template, dict) else template:
            yield from _keys(part)
    if isinstance(template, dict):
        yield from template


def is_amount(tool: Tool, name: str) -> bool:
    """Whether an argument is an amount of whole minor units that never comes without its currency."""
    argument, schema = tool.arguments.get(f"/{name}"), tool.schema_of_arguments
    along = [*schema.get("required", []), *schema.get("dependentRequired", {}).get(name, [])]
    return (
        argument is not None
        and argument.role == "amount"
        and argument.unit == "minor"
        and argument.currency is not None
        and argument.currency[1:] in along
        and _of(schema, name).get("type") == "integer"
    )


def _texts(tool: Tool) -> Mistakes:
    """An argument inside of a longer text cannot leave it, and its absence takes no other argument along."""
    schema = tool.schema_of_arguments
    for place, part in _parts(tool):
        for text in strings(part) if place[-1] != "path" else []:
            forms = {name: form for name, form in PLACEHOLDER.findall(text) if name in schema.get("properties", {})}
            named = set(forms)
            if PLACEHOLDER.fullmatch(text):
                continue
            for name in sorted(named):
                if forms[name] != "text" and not _is_harmless(_of(schema, name)):
                    yield place, f"{{{name}}} {_LOOSE}"
            if len(named) > 1 and named - set(schema.get("required", [])):
                yield place, f"a text of several arguments needs each of them required: {', '.join(sorted(named))}"


def _is_harmless(schema: dict[str, Any]) -> bool:
    kinds = schema.get("type")
    if "const" in schema or "enum" in schema:
        return True
    if kinds == "string" and isinstance(schema.get("pattern"), str):
        return is_anchored(schema["pattern"]) and not characters(schema["pattern"]) & BREAKING
    return bool(kinds) and set([kinds] if isinstance(kinds, str) else kinds or ()) <= {"integer", "number", "boolean"}


def _left_out(tool: Tool) -> Mistakes:
    """With a template, an argument that is nowhere in the request would be approved and never sent."""
    schema, execution = tool.schema_of_arguments, tool.http.execution()
    rest = [name for name in schema.get("properties", {}) if name not in used(execution)]
    if execution.body != "none" and execution.template is not None:
        for name in rest:
            if name not in tool.http.must_equal and not _has_one_value(_of(schema, name)):
                yield ("http", "template"), f"the argument {name} is in no template, so it would not be sent"
    elif execution.body == "none":
        for name in set(rest) & set(execution.query):
            yield ("http", "query"), f'the query would name {name} twice: write {name} = "{{{name}}}", or rename it'


def _has_one_value(schema: dict[str, Any]) -> bool:
    return "const" in schema or len(schema.get("enum", [])) == 1


def _of(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found = schema.get("properties", {}).get(name)
    return found if isinstance(found, dict) else {}


def _exists(schema: dict[str, Any], pointer: str) -> bool:
    """Whether the schema's own properties lead along a pointer; what they leave open is believed."""
    part: Any = schema
    for token in pointer.split("/")[1:]:
        if not isinstance(part, dict) or "$ref" in part:
            return True
        if token == "*":  # noqa: S105 - a wildcard, no secret
            part = part.get("items", True)
            continue
        properties = part.get("properties", {})
        name = token.replace("~1", "/").replace("~0", "~")
        if name not in properties:
            return part.get("additionalProperties", True) is not False
        part = properties[name]
    return True


def unreadable(tool: Tool, read_back: ReadBack, reader: Tool | None) -> Mistakes:
    """What is wrong with a tool's read-back, with its place in it."""
    if reader is None or reader.access != "read":
        yield ("tool",), f"there is no tool named {read_back.tool} here that reads"
        return
    taken = reader.schema_of_arguments
    for name in [*read_back.args, *taken.get("required", [])]:
        if name not in taken.get("properties", {}) or name not in read_back.args:
            yield ("args",), f"{read_back.tool} and args do not agree on {name}"
    known = {*IDEMPOTENCY, *tool.schema_of_arguments.get("properties", {})}
    for value in strings([read_back.args, read_back.equals]):
        for name in re.findall(r"{([^}]*)", value):
            if name not in known:
                yield ("args",), f"{{{name}}} is neither idempotency_key nor an argument of {tool.name}"
