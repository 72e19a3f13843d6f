"""Binds a sign-in to the browser that began it: a cookie that only that browser brings back, with the answer."""

from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import Request, Response

from api.config import settings
from api.connections.sign_in import FLOW_MINUTES


def _cookie(state: str) -> str:
    # Named after the state, so that two sign-ins in one browser do not overwrite each other.
    return f"countersign_oauth_{sha256(state.encode()).hexdigest()[:16]}"


def bind(response: Response, provider: str, started: dict[str, Any], binding: str) -> dict[str, Any]:
    """The sign-in that was started; the response carries the cookie that binds it to this browser."""
    state = parse_qs(urlsplit(started["authorize_url"]).query)["state"][0]
    response.set_cookie(
        _cookie(state),
        binding,
        max_age=FLOW_MINUTES * 60,
        path=f"/oauth/{provider}",
        httponly=True,
        samesite="lax",
        secure=settings().public_url.startswith("https://"),
    )
    return started


def bound(request: Request, state: str) -> str:
    """What this browser brings back for the sign-in of a state; '' when it did not begin it."""
    return request.cookies.get(_cookie(state), "")
