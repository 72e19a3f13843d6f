"""How a sandbox API says no."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse


class RefusedError(Exception):
    """A request that is answered with `status` and `{"error": code, "message": message}`."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def answer_refusals(app: FastAPI) -> None:
    """Make every error of `app` a JSON object with `error` and `message`.

    A malformed request is 400 and not FastAPI's 422, because 422 means a reused idempotency key here.
    """

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RefusedError)  # noqa: S101 - registered for this class alone
        body = {"error": error.code, "message": error.message}
        return JSONResponse(body, status_code=error.status, headers=error.headers)

    async def malformed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        fields = [
            {"field": "/" + "/".join(str(part) for part in problem["loc"][1:]), "message": problem["msg"]}
            for problem in error.errors()
        ]
        body = {"error": "invalid_request", "message": "The request is malformed.", "fields": fields}
        return JSONResponse(body, status_code=400)

    async def unrouted(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        body = {"error": code, "message": str(error.detail)}
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, unrouted)
