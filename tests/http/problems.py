"""What every refusal has in common: the shape of its answer, and that nothing has changed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx

from tests.http.world import World

#: Seconds that work which an earlier test began may take to end.
PATIENCE = 20


def problem(answer: httpx.Response, status: int | tuple[int, ...], *codes: str) -> dict[str, Any]:
    """The problem document (RFC 9457) of an answer, checked: its shape, its status and, where named, its code."""
    wanted = (status,) if isinstance(status, int) else status
    assert answer.status_code in wanted, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert set(document) == {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert document["status"] == answer.status_code
    assert document["type"] == f"urn:countersign:problem:{document['code']}"
    assert document["code"].replace("_", "").isalnum()
    assert document["detail"]
    assert "Traceback" not in answer.text
    assert UUID(document["request_id"]).version == 7
    assert answer.headers["x-request-id"] == document["request_id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    if codes:
        assert document["code"] in codes, document
    return document


@contextmanager
def unchanged(world: World) -> Iterator[None]:
    """What happens inside changes not one row of any table, the audit log and the idempotency keys included."""
    _wait_for_quiet(world)
    before = world.contents()
    yield
    after = world.contents()
    assert after == before, {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def _wait_for_quiet(world: World) -> None:
    """Waits for executions that an earlier test has set off and not waited for; not for clients to report."""
    # What the API was about to begin has begun when it answers this.
    httpx.get(f"{world.api}/v1/health", trust_env=False, timeout=60)
    deadline = time.monotonic() + PATIENCE
    busy = (
        "select exists (select from app.actions where status = 'executing' and connection_id is not null"
        " or status = 'authorized'"
        " and next_attempt_at <= now() and updated_at > now() - interval '3 seconds')"
        " or exists (select from app.observations where status = 'reading' and action_id is not null"
        " and lease_expires_at > now())"
        " or exists (select from pg_stat_activity where datname = current_database()"
        " and application_name = 'countersign' and state <> 'idle')"
    )
    while world.rows(busy) == [(True,)] and time.monotonic() < deadline:
        time.sleep(0.05)
