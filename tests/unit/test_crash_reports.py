"""Crash reports name the error and the request, and carry nothing that was in a variable."""

import gzip
import http.server
import subprocess
import sys
import threading
from typing import Any

_PROGRAM = """
from api.crash_reports import report
def fail(secret):
    raise ZeroDivisionError("division")
try:
    fail("".join(["s3", "cr3t"]))
except ZeroDivisionError as error:
    report(error, "request-1")
"""


class _Collector(http.server.BaseHTTPRequestHandler):
    received: bytes = b""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).received += gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the overridden parameter
        """Keeps the test's output clean."""


def _report(dsn: str) -> None:
    subprocess.run(
        [sys.executable, "-c", _PROGRAM], env={"SENTRY_DSN": dsn, "PYTHONPATH": "."}, check=True, timeout=600
    )


def test_a_report_names_the_error_and_the_request_and_no_variable() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for _ in range(5):  # two seconds may be too short on a machine that is busy with other tests
        _report(f"http://public@127.0.0.1:{server.server_port}/1")
        if _Collector.received:
            break
    server.shutdown()
    assert b"ZeroDivisionError" in _Collector.received
    assert b"request-1" in _Collector.received
    assert b"s3cr3t" not in _Collector.received
    assert b"PYTHONPATH" not in _Collector.received


def test_without_a_dsn_nothing_is_reported_and_nothing_fails() -> None:
    before = len(_Collector.received)
    _report("")
    assert len(_Collector.received) == before
