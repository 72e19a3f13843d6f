"""Runs the application's Lambda entry points as Lambda does: one process, one event after the other."""

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.state import CHECKOUT
from tests.http.world import World

#: What the Lambda runtime does: imports the function once, then hands it one event after the other.
RUNTIME = """
import json, sys
from importlib import import_module
handler = import_module(sys.argv[1]).handler
for line in sys.stdin:
    print(json.dumps(handler(json.loads(line), None)), flush=True)
"""


class Function:
    """A Lambda function in its own process, which lives from one invocation to the next."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, Any]]:
        """Calls the API through it: status, body and the whole answer."""
        content = json.dumps(body).encode() if body is not None else None
        answer = self.invoke(event(method, path, content, headers))
        text = answer.get("body") or ""
        raw = b64decode(text) if answer["isBase64Encoded"] else text.encode()
        return answer["statusCode"], json.loads(raw) if raw.startswith((b"{", b"[")) else raw.decode(), answer


@contextmanager
def function(module: str, world: World, **settings: str) -> Iterator[Function]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUNTIME, module],
        cwd=CHECKOUT,
        env=os.environ | world.stack.environment() | settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Function(process)
    finally:
        assert process.stdin
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def event(
    method: str, path: str, body: bytes | None, headers: dict[str, str], *, binary: bool = True, **changes: Any
) -> dict[str, Any]:
    """An event as API Gateway's HTTP APIs and function URLs send it (AWS: "Payload format version 2.0")."""
    path, _, query = path.partition("?")
    sent = {"host": "abc.execute-api.eu-central-1.amazonaws.com", "x-forwarded-proto": "https"}
    sent |= {"content-type": "application/json"} if body is not None else {}
    sent |= {name.lower().replace("_", "-"): value for name, value in headers.items()}
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": sent,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc",
            "domainName": sent["host"],
            "domainPrefix": "abc",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "test",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "20/Nov/2026:09:00:00 +0000",
            "timeEpoch": 1795165200000,
        },
        "isBase64Encoded": binary and body is not None,
    }  # fmt: skip
    if body is not None:
        made["body"] = b64encode(body).decode() if binary else body.decode()
    return made | changes
