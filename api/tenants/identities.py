"""Supabase Auth administration: which address is a person's, and mail to whoever is invited.

The client of Supabase is loaded at the first use: it costs a cold start more than all the rest.
"""

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from api.certificates import trusted
from api.config import ConfigurationError, settings
from api.errors import Problem

if TYPE_CHECKING:
    from supabase_auth import AsyncGoTrueClient

log = logging.getLogger("countersign.identities")
#: How long Supabase Auth may take to answer, in seconds; it hands a mail to its own mail server while we wait.
TIMEOUT = 10.0


@asynccontextmanager
async def _administration() -> AsyncIterator["AsyncGoTrueClient"]:
    """Supabase Auth with its secret key; a client of its own for every use, because event loops do not share them."""
    if not settings().service_key:
        raise ConfigurationError("The setting SUPABASE_SERVICE_KEY is missing; docs/deploy.md lists every setting.")
    import httpx

    from supabase import AsyncClientOptions, acreate_client

    async with httpx.AsyncClient(timeout=TIMEOUT, verify=trusted()) as transport:
        # Without PKCE, whose verifier would have to be in the browser that follows the link.
        options = AsyncClientOptions(
            httpx_client=transport, auto_refresh_token=False, persist_session=False, flow_type="implicit"
        )
        client = await acreate_client(settings().supabase_url, settings().service_key, options)
        yield client.auth


async def verified_email(user_id: uuid.UUID | str) -> str:
    """The address that Supabase Auth has confirmed to be this person's, in lower case.

    Neither the token nor `user_metadata` is asked: a token may be older than a change of address, and metadata is the
    person's own to write. Raises Problem 403 when there is none, 503 when Supabase Auth does not answer.
    """
    from supabase_auth.errors import AuthApiError, AuthError

    try:
        async with _administration() as auth:
            user = (await auth.admin.get_user_by_id(str(user_id))).user
    except AuthApiError as error:
        if error.code == "user_not_found":
            raise Problem(403, "unknown_person", "Supabase Auth does not know you any more.") from None
        raise _unavailable(error) from error
    except (AuthError, ValueError) as error:  # the latter: an answer that is none of Supabase Auth's
        raise _unavailable(error) from error
    # Letters beyond ASCII could fall together with others in lower case; Supabase Auth takes none in an address.
    if (
        not user.email
        or not user.email.isascii()
        or not user.email_confirmed_at
        or user.is_anonymous
        or user.deleted_at
    ):
        raise Problem(403, "email_not_confirmed", "Confirm your e-mail address first; invitations are bound to it.")
    return user.email.lower()


def _unavailable(error: Exception) -> Problem:
    log.warning("supabase auth did not say who a person is: %s", type(error).__name__)
    return Problem(503, "identity_unavailable", "The identity provider did not answer.", headers={"Retry-After": "2"})


async def send_invitation(email: str) -> bool:
    """Mails a link to sign in with: to sign up with, when Supabase Auth does not know the address. Whether it went out.

    The link is Supabase Auth's and says nothing of the invitation, which waits under `/v1/me/invitations` for whoever
    has the address. Who invites does not learn which of both mails it was.
    """
    from supabase_auth.errors import AuthApiError, AuthError

    back = settings().public_url
    try:
        async with _administration() as auth:
            try:
                await auth.admin.invite_user_by_email(email, {"redirect_to": back})
            except AuthApiError as error:
                if error.code not in ("email_exists", "user_already_exists"):
                    raise
                await auth.sign_in_with_otp(
                    {"email": email, "options": {"should_create_user": False, "email_redirect_to": back}}
                )
    except (AuthError, ValueError, ConfigurationError) as error:
        # The message may hold the address; the kind of error says enough.
        code = getattr(error, "code", None)
        log.warning("an invitation was not mailed: %s %s", type(error).__name__, code)
        return False
    return True
