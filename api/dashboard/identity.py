"""Supabase Auth as a person signs in there: with its own client, in the person's name, never with the secret key.

The client is loaded at the first use: it costs a cold start more than all the rest. Every function raises Problem:
401 `session_ended` when the session was ended elsewhere, 422 when Supabase Auth says no to something else, 429 when it
has had enough, 503 when it does not answer.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from api.certificates import trusted
from api.config import ConfigurationError, settings
from api.dashboard.session import Session, begun
from api.errors import Problem

if TYPE_CHECKING:
    from supabase_auth import AsyncGoTrueClient

log = logging.getLogger("countersign.dashboard")
TIMEOUT = 10.0
#: What Supabase Auth calls the links of its mails.
LinkType = Literal["magiclink", "invite", "recovery", "email", "signup", "email_change"]
#: The code of whoever is told that their session was signed out elsewhere, or is over; the database says it, too.
SESSION_ENDED = "session_ended"
_ENDED = ("session_not_found", "session_expired", "user_not_found")
_REFUSED = {
    "invalid_credentials": "The address or the password is not right.",
    "email_not_confirmed": "Confirm your address first: open the link in the mail that you were sent.",
    "mfa_verification_failed": "This code is not right, or was used already. Wait for the next one.",
    "mfa_challenge_expired": "That took too long. Enter a new code.",
    "otp_expired": "This link or code has been used, or is too old. Ask for a new one.",
    "weak_password": "This password is too easy to guess. Choose a longer one.",
    "same_password": "Choose a password that you have not had.",
    "mfa_factor_name_conflict": "There is a second factor of this name already. Choose another name.",
    "insufficient_aal": "Enter the code of the second factor that you have first.",
}


@dataclass(frozen=True, slots=True)
class Factor:
    """A second factor that a person has; `verified` when it counts."""

    id: str
    name: str
    verified: bool


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A second factor that is being set up: what an authenticator app is shown. The secret is not shown again."""

    factor_id: str
    secret: str
    uri: str
    qr_code: str


@asynccontextmanager
async def _auth(session: Session | None = None) -> AsyncIterator["AsyncGoTrueClient"]:
    """Supabase Auth, as the person of a session if there is one; what it refuses is raised as a Problem."""
    key = settings().anon_key
    if not key:
        raise ConfigurationError("The setting SUPABASE_ANON_KEY is missing; docs/deploy.md lists every setting.")
    import httpx
    from supabase_auth import AsyncGoTrueClient
    from supabase_auth.errors import AuthApiError, AuthError

    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, verify=trusted()) as transport:
            client = AsyncGoTrueClient(
                url=settings().auth_issuer, headers=headers, http_client=transport,
                auto_refresh_token=False, persist_session=False,
            )  # fmt: skip
            if session is not None:
                await client.set_session(session.access_token, session.refresh_token)
            yield client
    except AuthApiError as error:
        if session is not None and error.code in _ENDED:
            raise Problem(401, SESSION_ENDED, "You were signed out. Sign in again.") from None
        raise _refused(error.status, error.code) from None
    except (AuthError, httpx.HTTPError, ValueError) as error:
        log.warning("supabase auth did not answer a sign-in: %s", type(error).__name__)
        raise Problem(
            503, "identity_unavailable", "The sign-in service did not answer. Try again in a moment.",
            headers={"Retry-After": "2"},
        ) from error  # fmt: skip


def _refused(status: int, code: str | None) -> Problem:
    if status == 429 or code in ("over_request_rate_limit", "over_email_send_rate_limit"):
        return Problem(429, "too_many_tries", "Too many tries. Wait a minute, then try again.")
    if status >= 500:
        return Problem(503, "identity_unavailable", "The sign-in service did not answer. Try again in a moment.")
    known = code if code in _REFUSED else "sign_in_refused"
    return Problem(422, known or "", _REFUSED.get(known or "", "Supabase Auth refused this. Sign in again."))


async def sign_in(email: str, password: str) -> Session:
    """The session of whoever knows the password of an address, at aal1."""
    async with _auth() as auth:
        return _begun(await auth.sign_in_with_password({"email": email, "password": password}))


async def mail_link(email: str, onward: str = "/") -> None:
    """Mails a link and a code to sign in with, if there is such a person; the caller learns neither.

    onward: the path of ours that the link leads to after the sign-in.
    """
    try:
        async with _auth() as auth:
            options = {"should_create_user": False, "email_redirect_to": settings().public_url + onward}
            await auth.sign_in_with_otp({"email": email, "options": options})  # type: ignore[typeddict-item]
    except Problem as problem:
        if problem.status_code != 422:
            raise


async def redeem_link(token_hash: str, kind: LinkType) -> Session:
    """The session of whoever holds the link of a mail; it is good once."""
    async with _auth() as auth:
        return _begun(await auth.verify_otp({"token_hash": token_hash, "type": kind}))


async def redeem_code(email: str, code: str) -> Session:
    """The session of whoever types the code of a mail; it is good once."""
    async with _auth() as auth:
        return _begun(await auth.verify_otp({"email": email, "token": code, "type": "email"}))


async def renewed(session: Session) -> Session:
    """The session with new tokens. Raises Problem 422 when it was ended, here or elsewhere."""
    async with _auth() as auth:
        answer = await auth.refresh_session(session.refresh_token)
        tokens = _tokens(answer)
        return session.renewed(*tokens)


async def factors(session: Session) -> list[Factor]:
    """The person's second factors of the TOTP kind, as Supabase Auth has them now."""
    async with _auth(session) as auth:
        known = await auth.get_session()  # with the person, who was asked for on the way
        found = (known.user.factors if known else None) or []
        return [Factor(each.id, each.friendly_name or "", each.status == "verified") for each in found]


async def step_up(session: Session, code: str, factor_id: str | None = None) -> Session:
    """The session at aal2, for the code that the person's authenticator shows now.

    factor_id: of a factor that is being set up; else the first one that is. Problem 422 when there is none.
    """
    async with _auth(session) as auth:
        if factor_id is None:
            verified = (await auth.mfa.list_factors()).totp
            if not verified:
                raise Problem(422, "no_second_factor", "You have no second factor yet. Set one up under your name.")
            factor_id = verified[0].id
        answer = await auth.mfa.challenge_and_verify({"factor_id": factor_id, "code": code})
        return session.renewed(answer.access_token, answer.refresh_token)


async def enrol(session: Session, name: str) -> Enrolment:
    """Begins to set up a second factor; it counts once `step_up` has seen a code of it."""
    async with _auth(session) as auth:
        made = await auth.mfa.enroll({"factor_type": "totp", "friendly_name": name})
        if made.totp is None:
            raise Problem(503, "identity_unavailable", "Supabase Auth made no second factor. Try again.")
        return Enrolment(made.id, made.totp.secret, made.totp.uri, made.totp.qr_code)


async def set_password(session: Session, password: str) -> None:
    """Gives the person a new password."""
    async with _auth(session) as auth:
        await auth.update_user({"password": password})


async def sign_out(session: Session, *, everywhere: bool) -> None:
    """Ends this session, or all of the person's. A session that has ended already is no error."""
    try:
        async with _auth() as auth:
            await auth.admin.sign_out(session.access_token, "global" if everywhere else "local")
    except Problem as problem:
        if problem.status_code != 422:
            raise


def _begun(answer: Any) -> Session:
    return begun(*_tokens(answer))


def _tokens(answer: Any) -> tuple[str, str]:
    if answer.session is None:
        raise Problem(422, "sign_in_refused", "Supabase Auth refused this. Sign in again.")
    return answer.session.access_token, answer.session.refresh_token
