"""Builds the application: `app` for Vercel and uvicorn, `handler` for Lambda."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, loading, openapi, redaction
from api.actions.routes import router as actions
from api.amendments.routes import router as amendments
from api.audit.routes import router as audit
from api.confidence.routes import router as confidence
from api.connections.routes import callback_router
from api.connections.routes import router as connections
from api.constitution.routes import router as constitution
from api.controls.routes import router as controls
from api.dashboard import unrouted
from api.dashboard.routes import router as dashboard
from api.directory.routes import router as directory
from api.docs import router as docs
from api.exceptions.routes import router as exceptions
from api.execution.routes import router as execution
from api.hooks.routes import deliveries_router as deliveries
from api.hooks.routes import router as hooks
from api.ids import new_id
from api.incidents.routes import router as incidents
from api.model_providers.routes import router as model_providers
from api.monitoring.routes import alerts
from api.monitoring.routes import router as monitoring
from api.notifications.routes import router as notifications
from api.permits.routes import keys_router
from api.permits.routes import router as permits
from api.privacy.routes import router as privacy
from api.providers.routes import router as providers
from api.replay.routes import router as replay
from api.risk.routes import router as risk
from api.runs.routes import router as runs
from api.tenants.routes import router as tenants
from api.tools.routes import router as tools
from api.workflows.routes import assets_router as workflow_assets
from api.workflows.routes import router as workflows

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
)


class RequestContext:
    """Names every request, and answers with that name and with the headers that every answer carries.

    A crash is answered here, where those headers are added, and not further out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = str(new_id())
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                names = {name.lower() for name, _ in message["headers"]}
                extra = [(b"x-request-id", request_id.encode())]
                extra += [(name, value) for name, value in SECURITY_HEADERS if name not in names]
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            if started:
                raise
            answer = await errors.on_crash(Request(scope), error)
            await answer(scope, receive, send_with_headers)


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    from api.db import database

    if database.cache_info().currsize:
        await database().close()


def create_app() -> FastAPI:
    """The application with all slices mounted. Settings are read at the first request, not here."""
    app = FastAPI(
        title="Countersign",
        version="1",
        summary="The control plane between AI agents and the systems they act on.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    redaction.install()
    errors.install(app)
    unrouted.install(app)
    app.add_middleware(RequestContext)
    for router in (
        tenants, providers, tools, connections, callback_router, workflows, workflow_assets, constitution, controls,
        risk, replay, model_providers, privacy, hooks, deliveries,
        runs, actions, permits, keys_router, execution, exceptions, amendments, confidence, directory, audit,
        alerts, incidents, monitoring, notifications, docs, dashboard,
    ):  # fmt: skip
        app.include_router(router)
    openapi.install(app)
    return app


app = create_app()


def handler(event: dict[str, Any], context: Any) -> Any:
    """Lambda entry point (API Gateway v2, function URL)."""
    return _mangum()(event, context)


def _mangum() -> Any:
    global _adapter
    if _adapter is None:
        from mangum import Mangum

        _adapter = Mangum(app, lifespan="off")
    return _adapter


_adapter: Any = None
loading.is_done()
