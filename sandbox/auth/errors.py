"""Errors in the two forms Supabase Auth has for them, chosen by the caller's API version."""

from __future__ import annotations

from datetime import date

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

VERSION_HEADER = "X-Supabase-Api-Version"
_VERSION_2024 = date(2024, 1, 1)


class AuthError(Exception):
    """A refusal that the client turns into its `AuthApiError`.

    `code` is one of Supabase Auth's stable error codes (internal/api/apierrors/errorcode.go); `reasons`
    is set for `weak_password` only.
    """

    def __init__(self, status: int, code: str, message: str, reasons: list[str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.reasons = reasons


def _speaks_2024(request: Request) -> bool:
    try:
        return date.fromisoformat(request.headers.get(VERSION_HEADER, "")) >= _VERSION_2024
    except ValueError:
        return False


def render(request: Request, error: AuthError) -> JSONResponse:
    """`{code, message}` for callers of API version 2024-01-01, `{code: status, error_code, msg}` before."""
    headers = {"x-sb-error-code": error.code}
    body: dict[str, object]
    if _speaks_2024(request):
        headers[VERSION_HEADER] = _VERSION_2024.isoformat()
        body = {"code": error.code, "message": error.message}
    else:
        body = {"code": error.status, "error_code": error.code, "msg": error.message}
    if error.reasons is not None:
        body["weak_password"] = {"reasons": error.reasons}
    return JSONResponse(body, status_code=error.status, headers=headers)


async def on_auth_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AuthError)  # noqa: S101  (registered for this class alone)
    return render(request, error)


async def on_invalid_body(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return render(request, AuthError(400, "bad_json", "Could not parse request body as JSON"))
    where = ".".join(str(part) for part in first["loc"][1:])
    return render(request, AuthError(400, "validation_failed", f"{where}: {first['msg']}".lstrip(": ")))


async def on_invalid_data(request: Request, _: Exception) -> JSONResponse:
    """Well-formed JSON that Postgres cannot store: a zero byte, half a surrogate pair, NaN."""
    return render(request, AuthError(400, "validation_failed", "Request contains text that cannot be stored"))


async def on_database_failure(request: Request, _: Exception) -> JSONResponse:
    """Postgres is away or had to give up: 503, which the client knows as worth a retry."""
    return render(request, AuthError(503, "unexpected_failure", "The database cannot be reached"))


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = "validation_failed" if error.status_code < 500 else "unexpected_failure"
    return render(request, AuthError(error.status_code, code, str(error.detail)))


async def on_unexpected(request: Request, _: Exception) -> JSONResponse:
    message = "Unexpected failure, please check server logs for more information"
    return render(request, AuthError(500, "unexpected_failure", message))
