"""Compares one request with what is documented of it; every difference is a sentence."""

import json
import re
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs
from starlette.requests import Request

from tests.providers.shapes import Call

#: What an HTTP client says of itself and of the connection, whatever it asks for.
ALWAYS = {"host", "accept", "accept-encoding", "connection", "user-agent", "authorization", "content-length"}


def misfits(schema: dict[str, Any], value: Any, what: str) -> list[str]:
    """Where a value does not fit a JSON Schema."""
    errors = jsonschema_rs.validator_for(schema).iter_errors(value)
    return [f"{what}{''.join(f'/{part}' for part in error.instance_path)}: {error.message}" for error in errors]


def pairs(text: str) -> dict[str, Any]:
    """The fields of a query or form; one that is given several times is a list."""
    fields: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        fields[name] = [*fields[name], value] if name in fields else [value]
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def differences(call: Call, request: Request, content: bytes, filled: Mapping[str, Any]) -> list[str]:
    """How a request differs from a documented call; `filled` are the values of the placeholders in `equals`."""
    found = misfits(call.query, pairs(request.url.query), "the query")
    for name, pattern in call.headers.items():
        value = request.headers.get(name)
        if value is None or not re.fullmatch(pattern, value):
            found.append(f"the header {name} is {value!r} and must match {pattern}")
    known = ALWAYS | {name.lower() for name in call.headers} | ({"content-type"} if call.content_type else set())
    found += [f"the header {name} is not documented" for name in request.headers if name.lower() not in known]
    return found + _body(call, request, content, filled)


def _body(call: Call, request: Request, content: bytes, filled: Mapping[str, Any]) -> list[str]:
    if call.body is None or call.content_type is None:
        return ["no body is documented"] if content else []
    if media_type(request) != call.content_type:
        return [f"the body is {media_type(request) or 'of no type'} and must be {call.content_type}"]
    try:
        body = parsed(call.content_type, content)
    except ValueError as error:
        return [f"the body cannot be read: {error}"]
    found = misfits(call.body, body, "the body")
    wanted = fill(call.equals, filled)
    if call.equals is not None and not same(body, wanted):
        found.append(f"the body is {json.dumps(body)} and must be {json.dumps(wanted)}")
    return found


def parsed(content_type: str, content: bytes) -> Any:
    """A body as a shape describes it. Raises ValueError for what is none of its type."""
    if content_type == "application/x-www-form-urlencoded":
        return pairs(content.decode("ascii"))
    if content_type == "message/rfc822":
        return _message(content)
    return json.loads(content)


def _message(content: bytes) -> dict[str, Any]:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain",))
    return {
        "headers": {name.lower(): str(value) for name, value in message.items()},
        "text": body.get_content().replace("\r\n", "\n").removesuffix("\n") if body else "",
    }


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def fill(value: Any, filled: Mapping[str, Any]) -> Any:
    """A JSON value with the placeholders in its texts replaced; a text that is one becomes what it stands for."""
    if isinstance(value, dict):
        return {name: fill(item, filled) for name, item in value.items()}
    if isinstance(value, list):
        return [fill(item, filled) for item in value]
    if not isinstance(value, str) or value in filled:
        return filled[value] if isinstance(value, str) else value
    for placeholder in sorted(filled, key=len, reverse=True):
        if isinstance(filled[placeholder], str):
            value = value.replace(placeholder, filled[placeholder])
    return value
