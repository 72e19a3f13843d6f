"""Answers of a model provider that are made to break whoever reads them, or to have its key kept."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from api.config import settings
from api.gate.reasoner_spec import ModelReasoner
from api.runs.reasoners.judging import Judged
from api.runs.reasoners.reply import MAX_DEPTH, parse
from api.runs.reasoners.sending import INTERFACES, Ended, send

KEY = "a1b2c3d4e5f6a7b8c9d0"
BUDGET = {"tokens_per_run": 9, "tokens_per_day": 9, "cost_per_run": 9, "cost_per_day": 9, "currency": "EUR"}


@contextmanager
def _answering(status: int, content: bytes, packing: str = "", pause: float = 0) -> Iterator[str]:
    """A provider on loopback that gives this answer to everything; with a pause, byte by byte."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            if packing:
                self.send_header("content-encoding", packing)
            self.end_headers()
            with suppress(OSError):
                for part in (content[at : at + 1] for at in range(len(content))) if pause else [content]:
                    self.wfile.write(part)
                    time.sleep(pause)

        def log_message(self, *_: Any, **__: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _sent(
    kind: str, status: int, content: str | bytes, monkeypatch: pytest.MonkeyPatch, seconds: float = 60, **how: Any
) -> Ended:
    declared = {"kind": kind, "provider": "p", "model": "m", "budget": BUDGET, "timeout_seconds": seconds}
    spec = ModelReasoner.model_validate(declared)
    with _answering(status, content.encode() if isinstance(content, str) else content, **how) as url:
        monkeypatch.setenv("COUNTERSIGN_PROVIDER_ORIGINS", json.dumps({"https://models.example.com": url}))
        settings.cache_clear()
        try:
            return asyncio.run(send(spec, "https://models.example.com", KEY, b"{}"))
        finally:
            settings.cache_clear()


def _answer(kind: str, given: str) -> str:
    """An answer that calls a tool with this JSON text."""
    if kind == "anthropic":
        return f'{{"content": [{{"type": "tool_use", "id": "1", "name": "pay", "input": {given}}}]}}'
    call = {"id": "1", "function": {"name": "pay", "arguments": given}}
    return json.dumps({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})


@pytest.mark.parametrize("kind", INTERFACES)
@pytest.mark.parametrize("given", ['{"a":' * 500 + "1" + "}" * 500, '{"notes": "\\ud800"}', '{"\\udfff": 1}'])
def test_what_could_not_be_looked_through_is_not_taken(kind: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = _sent(kind, 200, _answer(kind, given), monkeypatch)
    if kind == "anthropic":
        assert (ended.outcome, ended.reply) == ("malformed", None)
    else:  # where the model is told that it is none
        assert ended.reply is not None
        assert [use.input for use in ended.reply.uses] == [None]


@pytest.mark.parametrize("kind", INTERFACES)
def test_a_key_is_found_however_it_is_written(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    escaped = "".join(f"\\u{ord(one):04x}" for one in KEY)
    for given in (f'{{"notes": "{KEY}"}}', f'{{"notes": "it is {escaped}."}}', f'{{"{escaped}": 1}}'):
        ended = _sent(kind, 200, _answer(kind, given), monkeypatch)
        assert (ended.outcome, ended.reply, ended.text) == ("malformed", None, None), given


@pytest.mark.parametrize("kind", INTERFACES)
@pytest.mark.parametrize("status", [307, 400, 401, 429, 500])
def test_an_error_that_names_the_key_is_told_without_it(
    kind: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in (KEY, f"invalid_{KEY}"):
        ended = _sent(kind, status, json.dumps({"error": {"code": code, "type": code}}), monkeypatch)
        assert ended.error is not None
        assert KEY not in f"{ended}"
    assert "(no_model)" in str(_sent(kind, status, '{"error": {"code": "no_model"}}', monkeypatch).error)


@pytest.mark.parametrize("kind", INTERFACES)
def test_an_answer_that_trickles_is_waited_for_no_longer_than_another(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time, and the answer never: it may have been made, and costs all that was reserved."""
    begun = time.monotonic()
    slow = _answer(kind, "{}") + " " * 5_000
    ended = _sent(kind, 200, slow, monkeypatch, seconds=0.4, pause=0.1)
    assert (ended.outcome, ended.kind, ended.free) == ("unanswered", "unavailable", False)
    assert time.monotonic() - begun < 60  # and not for eight minutes


def test_an_answer_is_unpacked_no_further_than_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(_answer("openai", "{}").encode())
    assert _sent("openai", 200, packed, monkeypatch, packing="gzip").outcome == "suggested"
    for bomb, packing in ((gzip.compress(bytes(50_000_000)), "gzip"), (gzip.compress(packed), "gzip, gzip")):
        ended = _sent("openai", 200, bomb, monkeypatch, packing=packing)
        assert (ended.outcome, ended.kind, ended.text) == ("oversize", "invalid_output", None)


def test_what_is_said_of_an_answer_can_be_kept() -> None:
    """Else that a call was made could not be written down, and it would be made, and paid for, again and again."""
    said = str(Judged(complaints={"1": "/args/a\x00b/\u202ec: is not one of these"}))
    assert said == "It does not fit at /args/a?b/?c."


def test_as_deep_as_an_answer_may_be() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ValueError, match="deeper"):
        parse("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH)


def test_an_address_with_no_such_port_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelReasoner.model_validate({"kind": "openai", "provider": "p", "model": "m", "budget": BUDGET})
    monkeypatch.delenv("COUNTERSIGN_PROVIDER_ORIGINS", raising=False)
    ended = asyncio.run(send(spec, "https://models.example.com:99999", KEY, b"{}"))
    assert (ended.kind, ended.free) == ("not_configured", True)
