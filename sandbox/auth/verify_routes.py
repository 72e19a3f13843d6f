"""Following a one-time link, or typing its code."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

from . import onetime
from .errors import AuthError
from .service import From, Service, now, require_api_key

router = APIRouter()


class Proof(BaseModel):
    """The body of `POST /verify`: `token_hash`, or `email` and `token`."""

    type: str = ""
    token_hash: str = ""
    email: str = ""
    token: str = ""


@router.post("/verify", dependencies=[Depends(require_api_key)])
def verify(body: Proof, auth: Service, caller: From) -> dict[str, Any]:
    """Redeems a one-time code and signs its owner in."""
    if not body.token_hash and not (body.email and body.token):
        message = "Only the token_hash and type should be provided"
        raise AuthError(400, "validation_failed", message)
    moment = now()
    with auth.transaction() as conn:
        if body.token_hash:
            user = onetime.redeem(conn, body.type, body.token_hash, moment)
        else:
            user = onetime.redeem_code(conn, body.type, body.email.strip().lower(), body.token, moment)
        return auth.sign_in(conn, user, "otp", caller, moment)


@router.get("/verify")
def follow(
    auth: Service,
    caller: From,
    token: str = "",
    type: str = "",  # noqa: A002  (the link's parameter)
    redirect_to: str | None = None,
) -> RedirectResponse:
    """What a browser does with the link: it arrives at `redirect_to` with the session in the fragment.

    No API key, for a link in a mail carries none. A refusal arrives in the fragment too.
    """
    moment = now()
    try:
        with auth.transaction() as conn:
            user = onetime.redeem(conn, type, token, moment)
            answer = auth.sign_in(conn, user, "otp", caller, moment)
        fragment = {name: answer[name] for name in ("access_token", "expires_at", "expires_in", "refresh_token")}
        fragment |= {"token_type": "bearer", "type": type}
    except AuthError as error:
        fragment = {"error": "access_denied", "error_code": error.code, "error_description": error.message}
    target = f"{auth.allowed_redirect(redirect_to)}#{urlencode(fragment)}"
    return RedirectResponse(target, status_code=303, headers={"Cache-Control": "no-store"})
