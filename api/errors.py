"""Problem documents (RFC 9457): the one shape of every error this API answers with."""

import json
import logging
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.config import ConfigurationError
from api.crash_reports import report
from api.gate.complaint import said
from api.gate.pointer import escape
from api.gate.redaction import redact, redacted

log = logging.getLogger("countersign")
#: RFC 6750 section 3: what a request whose credential is not accepted is told.
CHALLENGE = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
#: The setting's name is for whoever runs this, and in the log.
NOT_CONFIGURED = (
    "A setting of this deployment is missing or malformed. Whoever runs it finds which one in the log, under this"
    " request_id, and every setting in docs/deploy.md."
)
#: Of what is wrong with a request this much is said: the answer must not be longer than the question.
MAX_ERRORS = 50
MAX_POINTER = 300


class ProblemDocument(BaseModel):
    """RFC 9457 section 3, with a stable `code`, the `request_id` and, for bad input, what is wrong where."""

    type: str = Field(examples=["urn:countersign:problem:digest_mismatch"])
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[dict[str, Any]] = []


class Problem(HTTPException):
    """An error with an HTTP status, a stable code and a sentence for the person who reads it."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.errors = errors or []


class BrokenError(RuntimeError):
    """What broke on our side and can be named: logged and reported as any crash, and answered 500 under `code`.

    Its own text is for the log. told: what the client reads; it tells whoever runs this what to do, and no value.
    """

    code = "internal_error"
    told = "Something failed on our side; it was logged."


def from_database(error: psycopg.Error) -> Problem:
    """The problem that a database error stands for.

    SQLSTATE class CS carries the HTTP status, the error's detail the code (private.fail in the migrations).
    A check or a cast that refused what a client sent is 422; a lost connection or a timeout is 503.
    """
    state = error.sqlstate or ""
    if state.startswith("CS"):
        status = int(state[2:])
        # Few refusals say more than a sentence (private.name_the_tenants, fail_until); they hint at it in JSON.
        more = json.loads(error.diag.message_hint) if error.diag.message_hint else []
        headers = CHALLENGE if status == 401 else None
        if status == 429:
            headers = {"Retry-After": str(more[0]["retry_after"])}
        return Problem(
            status,
            error.diag.message_detail or "refused",
            error.diag.message_primary or "Refused.",
            more,
            headers=headers,
        )
    if state in {"40001", "40P01", "55P03", "57014"} or isinstance(error, psycopg.OperationalError):
        return Problem(
            503,
            "database_unavailable",
            "The database did not answer in time; nothing was changed or the outcome is not known. "
            "Repeat the request with the same Idempotency-Key.",
            headers={"Retry-After": "1"},
        )
    refusals = {"22P02", "22P05", "22003", "22007", "22008", "22021", "23502", "23503", "23505", "23514"}
    # Without a state the driver itself refused: a text with a NUL character never reaches the server.
    if state in refusals or (not state and isinstance(error, psycopg.DataError)):
        log.info("database refused input: %s %s", state, error.diag.constraint_name)
        return Problem(422, "refused_by_database", "A value is not one that can be kept.")
    raise error


def respond(request: Request, problem: Problem) -> JSONResponse:
    document = ProblemDocument(
        type=f"urn:countersign:problem:{problem.code}",
        title=HTTPStatus(problem.status_code).phrase,
        status=problem.status_code,
        detail=redact(str(problem.detail)),
        code=problem.code,
        request_id=getattr(request.state, "request_id", None),
        errors=redacted(jsonable_encoder(problem.errors)),
    )
    return JSONResponse(
        document.model_dump(),
        problem.status_code,
        headers=problem.headers,
        media_type="application/problem+json",
    )


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Problem):
        return respond(request, error)
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return respond(request, Problem(error.status_code, code, str(error.detail), headers=headers))


def _methods(request: Request) -> set[str]:
    """Every method that the path takes (RFC 9110 section 15.5.6), not only those of the first route that knows it."""
    return {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    # The input itself is left out: it may be large, and may be a secret.
    errors = [
        {
            "pointer": "".join(f"/{escape(str(part))}" for part in e["loc"])[:MAX_POINTER],
            "message": said(e["msg"])[:1000],
            "kind": e["type"],
        }
        for e in error.errors()[:MAX_ERRORS]
    ]
    return respond(request, Problem(422, "invalid_request", "The request is not valid.", errors))


async def _on_database(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, psycopg.Error)  # noqa: S101 - registered for this class only
    try:
        return respond(request, from_database(error))
    except psycopg.Error:
        return await on_crash(request, error)


async def on_crash(request: Request, error: Exception) -> JSONResponse:
    """Answers what nobody expected."""
    return respond(request, crashed(request, error))


def crashed(request: Request, error: Exception) -> Problem:
    """Logs and reports what nobody expected; the problem says nothing of it, but what it is where that has a name."""
    request_id = getattr(request.state, "request_id", None)
    log.exception("request failed", exc_info=error, extra={"request_id": request_id})
    report(error, request_id)
    if isinstance(error, ConfigurationError):
        return Problem(500, "not_configured", NOT_CONFIGURED)
    known = error if isinstance(error, BrokenError) else BrokenError
    return Problem(500, known.code, known.told)


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem document."""
    app.add_exception_handler(HTTPException, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(psycopg.Error, _on_database)
    app.add_exception_handler(PoolTimeout, _on_database)
    app.add_exception_handler(Exception, on_crash)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How an operation documents that it answers with a problem of these statuses.

    By reference (api/openapi.py adds what it refers to): FastAPI would make a model of each of them, for every
    operation, whenever a function starts.
    """
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }


#: What every operation of the API documents beside its success.
RESPONSES = documented(400, 401, 403, 404, 409, 413, 415, 422, 500, 503)
