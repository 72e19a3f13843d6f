"""What an authorization server knows about itself and its one client, and how it reads forms."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import Request

from sandbox.oauth.refusals import RefusedError


@dataclass(frozen=True)
class Registration:
    """One server with its one client. `scopes` maps each scope to what it allows, in plain words."""

    name: str
    title: str
    issuer: str
    scopes: Mapping[str, str]
    client_name: str
    client_id: str
    client_secret: str
    redirect_uris: frozenset[str]


async def form_fields(request: Request) -> list[tuple[str, str]]:
    """The fields of an `application/x-www-form-urlencoded` body, in order, repeated ones included.

    Raises `RefusedError` (400 `invalid_request`) for any other content.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedError(400, "invalid_request", "The body must be application/x-www-form-urlencoded.")
    try:
        return parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise RefusedError(400, "invalid_request", "The form could not be read.") from error
