"""Idempotency keys of the sandbox APIs: one key names one request for ever."""

import hashlib
import json
import sqlite3
from typing import Annotated, Any

from fastapi import Depends, Header
from starlette.responses import JSONResponse

from sandbox.oauth.refusals import RefusedError

SCHEMA = """
create table if not exists idempotency_keys (
    operation text not null, username text not null, key text not null, body_sha256 text not null,
    status integer not null, answer text not null, primary key (operation, username, key)
);
"""


def required_key(idempotency_key: Annotated[str | None, Header()] = None) -> str:
    """The `Idempotency-Key` header, 1 to 255 characters. Raises `RefusedError` 400 when missing."""
    if not idempotency_key or len(idempotency_key) > 255:
        raise RefusedError(400, "idempotency_key_required", "Idempotency-Key of 1 to 255 characters is required.")
    return idempotency_key


Key = Annotated[str, Depends(required_key)]


def recall(
    connection: sqlite3.Connection, operation: str, username: str, key: str, body: dict[str, Any]
) -> JSONResponse | None:
    """The stored answer, marked `Idempotent-Replayed: true`; None for a new key.

    Must run in the transaction that goes on to do the work. Raises `RefusedError` 422 when the key came with
    another body.
    """
    row = connection.execute(
        "select * from idempotency_keys where operation = ? and username = ? and key = ?",
        (operation, username, key),
    ).fetchone()
    if row is None:
        return None
    if row["body_sha256"] != _digest(body):
        raise RefusedError(422, "idempotency_key_reused", "This Idempotency-Key came with another body before.")
    headers = {"Idempotent-Replayed": "true"}
    return JSONResponse(json.loads(row["answer"]), status_code=row["status"], headers=headers)


def remember(
    connection: sqlite3.Connection,
    operation: str,
    username: str,
    key: str,
    body: dict[str, Any],
    answer: dict[str, Any],
) -> JSONResponse:
    """Keep the 201 `answer` under the key and return it. Refusals are not kept: they have done no work."""
    connection.execute(
        "insert into idempotency_keys (operation, username, key, body_sha256, status, answer)"
        " values (?, ?, ?, ?, 201, ?)",
        (operation, username, key, _digest(body), json.dumps(answer)),
    )
    return JSONResponse(answer, status_code=201)


def _digest(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
