"""Catches what a running stack lets out: crash reports, its clients' traffic, what scheduled functions write."""

import gzip
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from psycopg import sql

from sandbox.state import CHECKOUT
from tests.http.functions import RUNTIME
from tests.http.world import World


@dataclass
class CrashReports:
    """A Sentry on this machine: `received` is every envelope, unpacked."""

    dsn: str = ""
    received: list[bytes] = field(default_factory=list)


@contextmanager
def crash_reports() -> Iterator[CrashReports]:
    reports = CrashReports()

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            unpacked = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            reports.received.append(str(self.headers).encode() + unpacked)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the overridden parameter
            """Keeps the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    reports.dsn = f"http://public@127.0.0.1:{server.server_port}/1"
    try:
        yield reports
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def traffic() -> Iterator[list[httpx.Response]]:
    """Every answer that a synchronous client of this process gets meanwhile; each knows its request."""
    answers: list[httpx.Response] = []
    send = httpx.Client.send

    def recorded(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        answer = send(client, request, **options)
        answers.append(answer)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "send", recorded)
        yield answers


@contextmanager
def broken(world: World, function: str) -> Iterator[None]:
    """One of the database's functions fails meanwhile, with everything that it was given in its message."""
    with world.database.connect("superuser") as connection:
        found = connection.execute(
            "select pg_get_functiondef(p.oid) from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
            " where n.nspname = 'app' and p.proname = %s",
            (function,),
        ).fetchone()
        assert found, f"there is no {function}"
        connection.execute(
            sql.SQL(
                "create or replace function app.{}(p_args jsonb) returns jsonb language plpgsql security definer"
                " set search_path = pg_catalog, pg_temp as"
                " $$ begin raise exception 'broken with %', p_args using errcode = 'XX000'; end $$"
            ).format(sql.Identifier(function))
        )
        try:
            yield
        finally:
            connection.execute(found[0].encode())


def scheduled(world: World, **settings: str) -> dict[str, bytes]:
    """What each scheduled function writes, standard output and error, when Lambda calls it once."""
    written = {}
    for path in sorted((CHECKOUT / "functions").glob("*.py")):
        if "\ndef handler(" not in path.read_text(encoding="utf-8"):
            continue
        result = subprocess.run(
            [sys.executable, "-c", RUNTIME, f"functions.{path.stem}"],
            cwd=CHECKOUT,
            env=os.environ | world.stack.environment() | settings,
            input=b"{}\n",
            capture_output=True,
            check=True,
            timeout=120,
        )
        written[path.stem] = result.stdout + result.stderr
    return written
