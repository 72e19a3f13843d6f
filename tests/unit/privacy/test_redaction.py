"""Nothing that detectors find leaves by a log or by a report of a crash; tried on the real paths."""

import gzip
import http.server
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from api import redaction
from api.gate.models import Decision, Finding, Outcome, RequiredApprovals
from scripts.detectors.sample import Sample, generated

#: Addresses of pages may stand in a log.
SAMPLES = [one for one in generated() if one.kind not in (None, "url")][::7]


@pytest.fixture
def written() -> Iterator[list[str]]:
    """What a handler of the root logger writes, by the usual formatter."""
    factory, lines = logging.getLogRecordFactory(), []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{self.format(record)} {record.__dict__}")

    handler = Handler()
    redaction.install()
    redaction.install()
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)
    logging.setLogRecordFactory(factory)


@pytest.mark.parametrize("name", ["countersign", "countersign.connections.refresh", "asyncio", "psycopg.pool"])
def test_no_log_holds_a_value(written: list[str], name: str) -> None:
    log = logging.getLogger(name)
    for sample in SAMPLES:
        log.error("said %s", _called(sample))
        log.error(_called(sample).replace("%", "%%"))
        log.error("said %(what)s", {"what": _called(sample)})
        try:
            raise ValueError(_called(sample)) from KeyError(_called(sample))
        except ValueError:
            log.exception("broke")
    assert len(written) == 4 * len(SAMPLES)
    held = [sample.value for sample in SAMPLES if any(sample.value in line for line in written)]
    assert held == []
    assert any("ValueError" in line and "Traceback" in line for line in written)


def test_a_record_says_what_it_is_about_and_a_broken_one_is_still_a_record(written: list[str]) -> None:
    log = logging.getLogger("countersign.x")
    log.error("the claim of %s failed after %d ms", "0190c5a0-9d1c-7f3a-8b11-3f2b7c9d1e2f", 1234)
    log.error("%d", "ada@x.example")
    log.error("x" * 10**6)
    assert "the claim of 0190c5a0-9d1c-7f3a-8b11-3f2b7c9d1e2f failed after 1234 ms" in written[0]
    assert "ada@x.example" not in written[1]
    assert len(written[2]) < 4 * redaction.LONGEST


def test_other_loggers_are_left_alone(written: list[str]) -> None:
    logging.getLogger("somebody.else").error("ada@x.example")
    assert "ada@x.example" in written[0]


class _Collector(http.server.BaseHTTPRequestHandler):
    received: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.received.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the overridden parameter
        """Keeps the test's output clean."""


_PROGRAM = """
import sys
from api.crash_reports import report
for line in sys.stdin.read().split("\\x00"):
    try:
        raise ValueError(line) from KeyError(line)
    except ValueError as error:
        report(error, "request-1")
import sentry_sdk
sentry_sdk.flush(timeout=300)
"""


def test_no_report_of_a_crash_holds_a_value() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        dsn = f"http://public@127.0.0.1:{server.server_port}/1"
        said = "\x00".join(map(_called, SAMPLES))
        environment = {"SENTRY_DSN": dsn, "PYTHONPATH": ".", "PATH": os.environ["PATH"]}
        subprocess.run(
            [sys.executable, "-c", _PROGRAM], input=said, text=True, env=environment, check=True, timeout=600
        )
    finally:
        server.shutdown()
    received = b"\n".join(_Collector.received).decode()
    assert received.count("ValueError") >= len(SAMPLES)
    assert "request-1" in received
    assert "[E-MAIL]" in received
    assert [sample.value for sample in SAMPLES if sample.value in received] == []


def test_reasons_name_the_place_and_not_the_value() -> None:
    from datetime import UTC, datetime

    from api.actions.record import reasons_of

    finding = Finding(
        check="counterparty", outcome=Outcome.ESCALATE, control=6, pointer="/args/to_iban",
        message="Nobody vouches for DE89370400440532013000 of ada@x.example; 1,299.00 EUR.",
    )  # fmt: skip
    decision = Decision(
        outcome=Outcome.ESCALATE, findings=[finding], rules_evaluated=[], rules_matched=[], constitution_version=1,
        required_approvals=RequiredApprovals(count=1, roles=["owner"], aal="aal1"), workflow_version=1,
        contract_version=1, decided_at=datetime(2026, 11, 28, tzinfo=UTC),
    )  # fmt: skip
    [reason] = reasons_of(decision)
    assert reason["message"] == "Nobody vouches for [IBAN] of [E-MAIL]; 1,299.00 EUR."
    assert reason["pointer"] == "/args/to_iban"


def _called(sample: Sample) -> str:
    """The text of a sample, with what its field's name says of it in words."""
    return f"{sample.name.rpartition('/')[2]}: {sample.text}" if sample.name else sample.text
