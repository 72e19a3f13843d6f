"""Bodies are read strictly: what two parsers could read differently is refused before anything else sees it."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

import httpx
import pytest
import rfc8785
from fastapi import APIRouter, Body, FastAPI, Form, Request
from hypothesis import given
from hypothesis import strategies as st

from api import errors
from api.body import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, StrictRoute, parse
from api.errors import Problem

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(-MAX_INTEGER, MAX_INTEGER)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=4), inner
        )
    ),
    max_leaves=12,
)


def nested(levels: int, opening: str = "[", closing: str = "]", inside: str = "") -> bytes:
    return (opening * levels + inside + closing * levels).encode()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b" \t\r\n[1, -1, 0.5] ", [1, -1, 0.5]),
        (b'"\\ud83e\\udd8a"', "\N{FOX FACE}"),
        ('"\N{FOX FACE}"'.encode(), "\N{FOX FACE}"),
        (b'"\\u0001"', "\x01"),
        (b'"\\\\u0000"', "\\u0000"),
        (b'{"a": {"a": 1}, "b": [{"a": 2}]}', {"a": {"a": 1}, "b": [{"a": 2}]}),
        (b'{"NaN": "NaN", "e": "Infinity"}', {"NaN": "NaN", "e": "Infinity"}),
        (b"9007199254740991", MAX_INTEGER),
        (b"-9007199254740991", -MAX_INTEGER),
        (b"9007199254740991.0", float(MAX_INTEGER)),
        (b"9.007199254740991e15", float(MAX_INTEGER)),
        (b"1e-400", 0.0),
        (b"-0", 0),
        (b"0.1", 0.1),
        (b"null", None),
        (nested(MAX_DEPTH), json.loads(nested(MAX_DEPTH))),
        (nested(MAX_DEPTH, '{"a":', "}", "1"), json.loads(nested(MAX_DEPTH, '{"a":', "}", "1"))),
    ],
)
def test_what_is_read(body: bytes, value: Any) -> None:
    assert parse(body) == value
    assert type(parse(body)) is type(value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b" ", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "Extra data"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b"[1,]", "not JSON"),
        (b"// why\n{}", "not JSON"),
        (b'"a\nb"', "control character"),
        (b"01", "Extra data"),
        (b"+1", "not JSON"),
        (b".5", "not JSON"),
        (b"0x10", "Extra data"),
        (b"True", "not JSON"),
        (b'"\\x41"', "escape"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ("{}".encode("utf-16"), "not UTF-8 (byte 0)"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 7)"),
        (b'"\xc0\x80"', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xf5\x80\x80\x80"', "not UTF-8"),
        (b'"\xe2\x82"', "not UTF-8"),
        (b'{"a": 1, "a": 1}', "same key twice"),
        (b'{"a": 1, "\\u0061": 2}', "same key twice"),
        (b'[{"b": {"": 1, "": 2}}]', "same key twice"),
        (b'"\\u0000"', "NUL"),
        (b'{"a": ["x\\u0000y"]}', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'"\\ud800"', "surrogate"),
        (b'"\\udc00\\ud800"', "surrogate"),
        (b'{"a": {"\\udfff": 1}}', "surrogate"),
        (b'"\\ud83e\\ud83e\\udd8a"', "surrogate"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b"1e999", "too large"),
        (b"-1e999", "too large"),
        (b"1e20", "too large"),
        (b"9007199254740992", "too large"),
        (b"-9007199254740992", "too large"),
        (b"9007199254740992.0", "too large"),
        (b"9007199254740991.9", "too large"),
        (b"1" * 18, "too large"),
        (b"1" * 100_000, "too large"),
        (b"-" + b"1" * 100_000, "too large"),
        (nested(MAX_DEPTH + 1), "deeper than 32"),
        (nested(MAX_DEPTH + 1, '{"a":', "}", "1"), "deeper than 32"),
        (nested(100_000), "deeper than 32"),
        (nested(100_000, '{"a":', "}", "1"), "deeper than 32"),
        (b"[" * 100_000, "deeper than 32"),
        (b'{"a":[' * 50_000, "deeper than 32"),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, bytes) else None,
)
def test_what_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Problem) as refused:
        parse(body)
    assert (refused.value.status_code, refused.value.code) == (400, "invalid_json")
    assert reason in str(refused.value.detail)
    assert len(str(refused.value.detail)) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * 499_998 + b"1]",
        b'{"' + b"k" * 999_990 + b'":1}',
        b'"' + b"\\u00e9" * 166_000 + b'"',
        b"0." + b"1" * 999_000,
        b"1" * 999_000,
        b"1e-" + b"9" * 999_000,
        b"[" + b"{}," * 333_000 + b"{}]",
    ],
    ids=lambda body: repr(body)[:20],
)
def test_the_largest_body_takes_no_more_than_seconds(body: bytes) -> None:
    started = time.thread_time()
    with suppress(Problem):
        parse(body)
    assert time.thread_time() - started < 10


@given(JSON)
def test_what_json_can_say_is_read_back(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@given(JSON)
def test_what_is_read_can_be_digested_and_read_again(value: Any) -> None:
    """The bytes that an approval binds to are bytes that this API takes."""
    read = parse(json.dumps(value).encode())
    canonical = rfc8785.dumps(read)
    assert parse(canonical) == read
    assert rfc8785.dumps(parse(canonical)) == canonical


@given(st.binary(max_size=40) | st.text('[]{}:,"\\u0d8f1e+-.NaIty \n', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(Problem):
        value = parse(body)
        assert rfc8785.dumps(value)
        assert not isinstance(value, float) or math.isfinite(value)


def _app() -> FastAPI:
    app = FastAPI()
    errors.install(app)
    router = APIRouter(route_class=StrictRoute)

    @router.post("/echo")
    async def echo(body: Annotated[dict[str, Any], Body()]) -> Any:
        return {"size": len(json.dumps(body)), "body": body if len(str(body)) < 100 else None}

    @router.post("/twice")
    async def twice(body: Annotated[dict[str, Any], Body()], request: Request) -> Any:
        again = b"".join([chunk async for chunk in request.stream()])
        return {"same": parse(await request.body()) == body == parse(again)}

    @router.post("/form")
    async def form(field: Annotated[str, Form()]) -> Any:
        return {"size": len(field)}

    @router.get("/nothing")
    async def nothing() -> Any:
        return {"fine": True}

    app.include_router(router)
    return app


APP = _app()


def _send(
    content: bytes | None, path: str = "/echo", chunk: int | None = None, method: str = "POST", **headers: str
) -> httpx.Response:
    """The answer to a body; sent in chunks of a size it has no Content-Length."""

    async def parts() -> AsyncIterator[bytes]:
        assert content is not None
        assert chunk is not None
        for start in range(0, len(content), chunk):
            yield content[start : start + chunk]

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://test") as client:
            body = content if chunk is None else parts()
            given = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
            return await client.request(method, path, content=body, headers=given)

    return asyncio.run(send())


def _sized(size: int) -> bytes:
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


def _problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("chunk", [None, 7, 65_536])
def test_a_body_is_read_however_it_arrives(chunk: int | None) -> None:
    answer = _send('{"a": "\N{FOX FACE}é"}'.encode(), chunk=chunk)
    assert (answer.status_code, answer.json()["body"]) == (200, {"a": "\N{FOX FACE}é"})
    assert ("content-length" in answer.request.headers) is (chunk is None)


@pytest.mark.parametrize("chunk", [None, 65_536])
@pytest.mark.parametrize(("size", "status"), [(MAX_BYTES, 200), (MAX_BYTES + 1, 413), (3 * MAX_BYTES, 413)])
def test_the_size_is_bounded_with_and_without_content_length(chunk: int | None, size: int, status: int) -> None:
    answer = _send(_sized(size), chunk=chunk)
    assert answer.status_code == status
    if status == 413:
        assert _problem(answer) == (413, "body_too_large")


def test_no_more_is_read_than_the_bound() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50 * MAX_BYTES:
            sent += 100_000
            yield b"x" * 100_000

    received: list[dict[str, Any]] = []

    async def drive() -> None:
        chunks = endless()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": await anext(chunks), "more_body": True}

        async def send(message: Any) -> None:
            received.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/echo",
            "raw_path": b"/echo",
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")],
        }
        await APP(scope, receive, send)

    asyncio.run(drive())
    assert received[0]["status"] == 413
    assert sent <= MAX_BYTES + 200_000


@pytest.mark.parametrize("size", [10, 2 * MAX_BYTES])
def test_a_form_is_no_way_around(size: int) -> None:
    kind = "application/x-www-form-urlencoded"
    assert _problem(_send(b"field=" + b"x" * size, "/form", 65_536, content_type=kind)) == (
        415,
        "unsupported_media_type",
    )
    assert _problem(_send(b"field=" + b"x" * size, "/form", 65_536))[0] in (413, 422)


def test_a_body_can_be_read_again_by_whoever_needs_its_bytes() -> None:
    assert _send(_sized(700_000), "/twice").json() == {"same": True}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a": ' + nested(40) + b"}", "deeper"),
        (nested(100_000), "deeper"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_a_refusal_is_a_problem_document(content: bytes, reason: str) -> None:
    for chunk in (None, 1000):
        answer = _send(content, chunk=chunk)
        assert _problem(answer) == (400, "invalid_json")
        assert reason in answer.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/merge-patch+json"]
)
def test_json_by_any_of_its_names(kind: str) -> None:
    assert _send(b'{"a": 1}', content_type=kind).json()["body"] == {"a": 1}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonx", ""]
)
def test_what_does_not_say_that_it_is_json_is_not_read_as_json(kind: str) -> None:
    """A browser sends the first two to other sites without asking them (CORS), and the last by accident."""
    assert _problem(_send(b'{"a": 1}', content_type=kind)) == (415, "unsupported_media_type")


def test_an_absent_or_wrong_body_is_invalid() -> None:
    assert _problem(_send(None)) == (422, "invalid_request")
    assert _problem(_send(b"[]")) == (422, "invalid_request")
    assert _problem(_send(b'"text"')) == (422, "invalid_request")


def test_a_call_without_a_body_needs_none() -> None:
    assert _send(None, "/nothing", method="GET").json() == {"fine": True}
