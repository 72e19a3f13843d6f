"""What a model provider can do wrong, on demand, and the journal of what it was sent."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from sandbox import hangs
from sandbox.faults import forget_faults
from sandbox.oauth.database import Database

SCHEMA = """
create table if not exists faults (
    id integer primary key autoincrement, fault text not null, remaining integer not null
);
create table if not exists journal (
    id integer primary key autoincrement, at text not null, interface text not null, body text not null
);
"""

#: Of the transport and the provider: no, or no whole, answer of a model.
Transport = Literal[
    "rate_limit", "overloaded", "error", "hang", "drop", "redirect", "malformed_json", "other_json", "oversize",
]  # fmt: skip
#: Of the model: an answer in the right form that is wrong.
Content = Literal[
    "schema_violation", "missing_citations", "unknown_rule", "unknown_tool", "prose", "truncated", "refused",
    "injected", "wrong_usage", "no_usage", "echo_key",
]  # fmt: skip


class Fault(BaseModel):
    """The next `times` requests go wrong in the way of `kind`, the oldest fault first.

    retry_after: seconds that a `rate_limit` or `overloaded` names, none when null. seconds: of a `hang`, which ends at
    the latest when the faults are forgotten.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Transport | Content
    times: int = Field(default=1, ge=1, le=10_000)
    seconds: float = Field(default=5, ge=0, le=300)
    retry_after: int | None = Field(default=1, ge=0, le=86_400)


def take(database: Database) -> Fault | None:
    """The oldest fault that waits, used up once; None if there is none."""
    with database.write() as connection:
        row = connection.execute(
            "update faults set remaining = remaining - 1 where id = (select min(id) from faults where remaining > 0)"
            " returning fault"
        ).fetchone()
    return None if row is None else Fault.model_validate_json(row["fault"])


def note(database: Database, interface: str, body: str) -> None:
    """Keeps a request's body as it arrived, without the key that it came with."""
    with database.write() as connection:
        connection.execute(
            "insert into journal (at, interface, body) values (?, ?, ?)",
            (datetime.now(UTC).isoformat(), interface, body),
        )


def admin_routes(database: Database, token: Callable[[], str]) -> APIRouter:
    """`/_faults` and `/_log`, for whoever carries the admin token in `X-Sandbox-Admin`."""
    router = APIRouter()

    def admit(given: str) -> None:
        if not compare_digest(given.encode(), token().encode()):
            raise HTTPException(401, "X-Sandbox-Admin must carry the admin token of this sandbox.")

    @router.post("/_faults", status_code=201)
    def add_fault(fault: Fault, x_sandbox_admin: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(x_sandbox_admin)
        with database.write() as connection:
            connection.execute(
                "insert into faults (fault, remaining) values (?, ?)", (fault.model_dump_json(), fault.times)
            )
        return fault.model_dump()

    @router.delete("/_faults")
    async def delete_faults(request: Request, x_sandbox_admin: Annotated[str, Header()] = "") -> dict[str, int]:
        admit(x_sandbox_admin)
        deleted = await run_in_threadpool(forget_faults, database)
        hangs.of(request.app).end()
        return {"deleted": deleted}

    @router.get("/_log")
    def read_journal(after: int = 0, x_sandbox_admin: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(x_sandbox_admin)
        with database.read() as connection:
            rows = connection.execute("select * from journal where id > ? order by id limit 1000", (after,)).fetchall()
        return {"entries": [dict(row) | {"body": json.loads(row["body"])} for row in rows]}

    return router
