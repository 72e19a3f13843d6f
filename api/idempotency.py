"""The `Idempotency-Key` header: required on every call that creates or executes (invariant 10)."""

import hashlib
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response

from api.db import Answer, Idempotency
from api.errors import Problem


async def require_key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=255, description="Names this request for ever; kept for 30 days."),
    ] = None,
) -> Idempotency:
    """The key, and a digest of method, path and body that it stands for.

    Raises Problem 400 when it is missing or not printable ASCII.
    """
    if not idempotency_key:
        raise Problem(400, "idempotency_key_missing", "Send an Idempotency-Key header; a UUID will do.")
    if not (idempotency_key.isascii() and idempotency_key.isprintable()):
        raise Problem(400, "idempotency_key_invalid", "An Idempotency-Key is printable ASCII.")
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + await request.body())
    return Idempotency(idempotency_key, digest.hexdigest())


Once = Annotated[Idempotency, Depends(require_key)]


def result_of(answer: Answer, response: Response) -> Any:
    """The function's result; marks the response when it is a stored answer."""
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return answer.result
