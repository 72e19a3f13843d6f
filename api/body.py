"""Reads request bodies strictly, before anything else sees them.

JSON that two parsers could read differently is refused: duplicate keys, NaN, integers that RFC 8785
cannot carry, NUL and lone surrogates (which Postgres cannot store), invalid UTF-8, deep nesting.
"""

import json
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.errors import Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1  # RFC 8785 section 3.2.2.3: what an IEEE 754 double holds exactly


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid_json", detail)


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise _invalid(f"The number {text[:20]} is too large; integers go up to 2^53 - 1.")
    return int(text)


def _float(text: str) -> float:
    # A double this large is a whole number, and is held to the same bound: it would be stored as an integer.
    if abs(float(text)) > MAX_INTEGER:
        raise _invalid(f"The number {text[:20]} is too large; numbers go up to 2^53 - 1.")
    return float(text)


def _constant(text: str) -> Any:
    raise _invalid(f"{text} is not JSON.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _invalid("An object names the same key twice.")
    return value


def _check(value: Any, depth: int = 1) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise _invalid("A text contains a NUL character.")
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise _invalid("A text contains half of a surrogate pair.")
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise _invalid(f"The document is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(value, dict):
            for key in value:
                _check(key)
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, depth + 1)


def parse(body: bytes) -> Any:
    """The JSON value of a body.

    Raises Problem 400 `invalid_json` with what is wrong.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid(f"The body is not UTF-8 (byte {error.start}).") from None
    try:
        value = json.loads(
            text,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        raise _invalid(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except RecursionError:
        raise _invalid(f"The document is nested deeper than {MAX_DEPTH} levels.") from None
    _check(value)
    return value


def _require_json(request: Request) -> None:
    """Refuses a body that does not say that it is JSON (RFC 9110 section 15.5.16); no body at all may say nothing."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    sent = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if (kind or sent) and kind != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", kind):
        raise Problem(
            415, "unsupported_media_type", "Send a body of application/json.", headers={"Accept": "application/json"}
        )


class StrictRequest(Request):
    """A request whose body is bounded and whose JSON is read by `parse`."""

    _received = 0

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in parts; everything that reads it, forms included, reads it here. Raises Problem 413."""
        kept = hasattr(self, "_body")  # and counted when it arrived
        async with aclosing(super().stream()) as chunks:
            async for chunk in chunks:
                self._received += 0 if kept else len(chunk)
                if self._received > MAX_BYTES:
                    raise Problem(413, "body_too_large", f"The body is larger than {MAX_BYTES:,} bytes.")
                yield chunk

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """The route class of every router of the API."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            if self.body_field is not None:
                _require_json(request)
            return await handle(StrictRequest(request.scope, request.receive))

        return strict
