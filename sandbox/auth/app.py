"""The ASGI application: everything below `/auth/v1`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import DataError, OperationalError
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException

from . import account_routes, admin_routes, errors, factor_routes, otp_routes, signin_routes, verify_routes
from .errors import AuthError
from .keys import SigningKeys, anon_key, service_key
from .schema import install_schema
from .service import Auth, GatewayRefusalError, require_api_key
from .tokens import AccessTokens


def create_app(
    database_url: str,
    state: Path,
    public_url: str,
    *,
    token_seconds: int = 3600,
    site_url: str | None = None,
    mail_link: str | None = None,
) -> FastAPI:
    """The service over the database at `database_url` (role supabase_auth_admin) and its secrets in `state`.

    `public_url` is the origin clients use as SUPABASE_URL; tokens name `<public_url>/auth/v1` as issuer and
    live `token_seconds`. Links lead to `site_url` (by default the same origin) unless asked to lead
    elsewhere on it or on this machine. `mail_link` is what an operator sets as the link of the mail templates
    (`onetime.send`); without it mails link to this service. The schema is installed when the application starts.
    """
    origin = public_url.rstrip("/")
    signing_keys = SigningKeys(state)
    pool = _pool(database_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        install_schema(database_url)
        pool.open(wait=True)
        try:
            yield
        finally:
            pool.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.auth = Auth(
        pool=pool,
        tokens=AccessTokens(signing_keys, f"{origin}/auth/v1", token_seconds),
        state=state,
        public_url=origin,
        site_url=(site_url or origin).rstrip("/"),
        mail_link=mail_link,
        anon_key=anon_key(state),
        service_key=service_key(state),
    )
    app.add_exception_handler(AuthError, errors.on_auth_error)
    app.add_exception_handler(RequestValidationError, errors.on_invalid_body)
    app.add_exception_handler(DataError, errors.on_invalid_data)
    app.add_exception_handler(OperationalError, errors.on_database_failure)
    app.add_exception_handler(HTTPException, errors.on_http_exception)
    app.add_exception_handler(GatewayRefusalError, _on_gateway_refusal)
    app.add_exception_handler(Exception, errors.on_unexpected)
    for router in (signin_routes, otp_routes, account_routes, factor_routes, verify_routes, admin_routes):
        app.include_router(router.router, prefix="/auth/v1")
    app.include_router(_public_routes(signing_keys), prefix="/auth/v1")
    return app


def _pool(database_url: str) -> ConnectionPool:
    return ConnectionPool(
        database_url,
        min_size=1,
        max_size=10,
        open=False,
        # Sooner than the client gives up (five seconds), so that it hears 503.
        timeout=4,
        # After a restart of Postgres the pooled connections are dead: each is tried before use, and the pause
        # between attempts to reconnect, which doubles, starts over every few seconds.
        check=ConnectionPool.check_connection,
        reconnect_timeout=5,
    )


async def _on_gateway_refusal(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"message": str(error)}, status_code=401)


def _public_routes(signing_keys: SigningKeys) -> APIRouter:
    router = APIRouter()

    @router.get("/.well-known/jwks.json")
    def jwks() -> JSONResponse:
        """The public keys; without an API key, as on the hosted service."""
        return JSONResponse(signing_keys.jwks(), headers={"Cache-Control": "public, max-age=600"})

    @router.get("/health", dependencies=[Depends(require_api_key)])
    def health() -> dict[str, str]:
        """That the server answers."""
        return {"name": "GoTrue", "version": "sandbox", "description": "Local stand-in for Supabase Auth"}

    @router.get("/settings", dependencies=[Depends(require_api_key)])
    def settings() -> dict[str, Any]:
        """What a sign-in page may offer: addresses with passwords, confirmed at once."""
        return {
            "external": {"anonymous_users": False, "email": True, "phone": False},
            "disable_signup": False,
            "mailer_autoconfirm": True,
            "phone_autoconfirm": False,
            "sms_provider": "",
            "saml_enabled": False,
        }

    return router
