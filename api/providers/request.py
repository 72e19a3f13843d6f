"""Makes the one HTTP request of a tool call. Nothing is sent here."""

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

from api.gate.models import Contract, Execution
from api.providers import template
from api.providers.site import Site
from api.providers.template import Filling, UnsendableError

_CONTENT_TYPES = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "rfc822": "message/rfc822",
}
#: Headers of a message that name people (RFC 5322 section 3.6.2 and 3.6.3), lower case.
_ADDRESSES = {"to", "cc", "bcc", "from", "sender", "reply-to"}


def build(site: Site, contract: Contract, args: dict[str, Any], idempotency_key: str | None) -> dict[str, Any]:
    """The request of a tool call: method, url, headers, content.

    Raises UnsendableError for arguments that make none, ConfigurationError for a connection that lacks a value.
    """
    execution = contract.execution
    filling = Filling.of(contract, args, site.values, idempotency_key)
    for name, part in execution.must_equal.items():
        if args.get(name) != template.document(part, filling):
            raise UnsendableError(f"The argument {name} is not what this connection's account has.")
    try:
        url = site.url(f"{{{execution.origin}}}") + template.path(execution.path, filling)
        rest = {name: value for name, value in args.items() if name not in used(execution)}
        query = _pairs(execution.query, filling)
        if execution.body == "none":
            query += [(name, text) for name, value in rest.items() for text in _listed(value)]
        if query:
            url += "?" + urlencode(query, quote_via=quote, safe="")
        request: dict[str, Any] = {"method": execution.method, "url": url, "headers": _headers(execution, filling)}
        if execution.body != "none":
            request["content"] = _content(execution, filling, rest)
            request["headers"]["Content-Type"] = _CONTENT_TYPES[execution.body]
    except UnicodeError:
        raise UnsendableError("An argument holds characters that cannot be sent.") from None
    return request


def used(execution: Execution) -> set[str]:
    """The names that a tool's path and templates put in their place; every other argument goes along by itself."""
    parts = (execution.path, execution.query, execution.headers, execution.template)
    return {name for part in parts for name, _ in template.placeholders(part)}


def _listed(value: Any) -> list[str]:
    return [template.as_text(item) for item in (value if isinstance(value, list) else [value])]


def _pairs(templates: dict[str, Any], filling: Filling) -> list[tuple[str, str]]:
    return [(name, text) for name, part in templates.items() for text in template.texts(part, filling)]


def _headers(execution: Execution, filling: Filling) -> dict[str, str]:
    headers = {
        name: ", ".join(texts) for name, part in execution.headers.items() if (texts := template.texts(part, filling))
    }
    if execution.idempotency_header and filling.idempotency_key:
        headers[execution.idempotency_header] = filling.idempotency_key
    for name, value in headers.items():
        if not re.fullmatch(r"[\x21-\x7e]+(?: +[\x21-\x7e]+)*", value):
            raise UnsendableError(f"The header {name} would hold characters that no header holds.")
    return headers


def _content(execution: Execution, filling: Filling, rest: dict[str, Any]) -> bytes:
    if execution.body == "rfc822":
        return _message(execution.template or {}, filling)
    if execution.body == "form":
        fields = execution.template
        pairs = (
            _pairs(fields, filling)
            if isinstance(fields, dict)
            else [(name, text) for name, value in rest.items() for text in _listed(value)]
        )
        return urlencode(pairs).encode()
    body = rest if execution.template is None else template.document(execution.template, filling)
    if body is template.ABSENT:
        body = [] if isinstance(execution.template, list) else {}
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise UnsendableError("The arguments cannot be written as JSON.") from None


def _message(parts: Any, filling: Filling) -> bytes:
    """A message (RFC 5322) of the template's headers and `text`; each address that was given is one, and stays one."""
    from email.message import EmailMessage
    from email.policy import SMTP

    message = EmailMessage(policy=SMTP.clone(max_line_length=998))
    for name, part in parts.items():
        given = template.texts(part, filling)
        if not given:
            continue
        value = ", ".join(given)
        if name == "text":
            message.set_content(value)
            continue
        if not value.isprintable():
            raise UnsendableError(f"The header {name} would hold characters that no header holds.")
        try:
            message[name] = value
        except (ValueError, IndexError):  # the parser of the standard library stumbles over some addresses
            raise UnsendableError(f"The header {name} cannot hold what was given for it.") from None
        if name.lower() in _ADDRESSES and not _names(message[name], given):
            raise UnsendableError(f"{name} has to be addresses, one in each value.")
    try:
        return message.as_bytes()
    except (ValueError, IndexError):
        raise UnsendableError("The arguments make no message.") from None


def _names(header: Any, given: list[str]) -> bool:
    """Whether an address header names as many people as were given, each by an address that can be reached."""
    addresses = header.addresses
    return (
        not header.defects
        and len(addresses) == len(given)
        and all(a.username and a.domain and a.addr_spec.isascii() for a in addresses)
        and all(address.addr_spec in value for address, value in zip(addresses, given, strict=True))
    )
