"""The sandbox's model provider: two interfaces, one script behind them, and faults on demand.

`POST /v1/messages` and `POST /v1/chat/completions` take the key of `api_key(state)`; `/_faults` and `/_log` take
`admin_token(state)`. The same conversation gets the same answer, but for its ids.
"""

import json
from hmac import compare_digest
from pathlib import Path
from types import ModuleType
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from sandbox import hangs
from sandbox.models import anthropic, openai
from sandbox.models.faults import SCHEMA, Fault, admin_routes, note, take
from sandbox.models.policy import propose, spoiled
from sandbox.oauth.database import Database
from sandbox.oauth.serving import drop_connection
from sandbox.state import secret

MODEL = "sandbox-model-1"
MAX_BODY = 32_000_000
_OVERSIZE = 64


def api_key(state: Path) -> str:
    """The one key that this provider knows."""
    return f"sk-sandbox-{secret(state / 'sandbox_models.key')}"


def admin_token(state: Path) -> str:
    """What `X-Sandbox-Admin` must carry."""
    return secret(state / "sandbox_models.admin")


def create_app(state: Path, public_url: str, redirect_uris: list[str], *, access_seconds: int = 300) -> FastAPI:
    """The provider over `<state>/sandbox_models.sqlite3`. It has no sign-in: the last two arguments mean nothing."""
    app = FastAPI(title="Sandbox models", openapi_url=None)
    database = Database(state / "sandbox_models.sqlite3", SCHEMA)
    app.state.database, app.state.key, app.state.served = database, api_key(state), 0
    app.state.hangs = hangs.Hangs()
    app.include_router(admin_routes(database, lambda: admin_token(state)))

    @app.post("/v1/messages")
    async def messages(request: Request) -> Response:
        return await _serve(app, anthropic, request)

    @app.post("/v1/chat/completions")
    async def completions(request: Request) -> Response:
        return await _serve(app, openai, request)

    @app.get("/v1/health")
    def health() -> dict[str, str]:
        return {"status": "ok", "url": public_url}

    return app


async def _serve(app: FastAPI, interface: ModuleType, request: Request) -> Response:
    app.state.served += 1
    number = app.state.served
    request_id = f"req_{number:012d}"
    headers = interface.headers_of(request_id)

    def refuse(status: int, message: str, **more: str) -> Response:
        return JSONResponse(interface.error(status, message, request_id), status, headers | more)

    content = await request.body()
    if len(content) > MAX_BODY:
        return refuse(413, "Request exceeds the maximum allowed number of bytes.")
    if not compare_digest(interface.key_of(request.headers).encode(), app.state.key.encode()):
        return refuse(401, "invalid x-api-key")
    try:
        body = json.loads(content)
    except ValueError:
        return refuse(400, "The request body is not valid JSON.")
    if wrong := interface.mistake(request.headers, body):
        return refuse(400, wrong)
    if body["model"] != MODEL:
        return refuse(404, f"model: {body['model']}")
    await run_in_threadpool(note, app.state.database, interface.__name__.rsplit(".", 1)[1], content.decode())
    over = hangs.of(app).mark()
    fault = await run_in_threadpool(take, app.state.database)
    if fault is not None and fault.kind == "hang":
        await hangs.wait(fault.seconds, over)
    elif fault is not None and (response := _misbehave(fault, interface, request, refuse)) is not None:
        return response
    answer = _answer(interface, body, number, fault.kind if fault else None, app.state.key)
    return JSONResponse(answer, headers=headers)


def _misbehave(fault: Fault, interface: ModuleType, request: Request, refuse: Any) -> Response | None:
    """The answer of a fault of the transport; None for those of the model."""
    pause = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
    if fault.kind == "rate_limit":
        return refuse(429, "Number of requests has exceeded your rate limit.", **pause)  # type: ignore[no-any-return]
    if fault.kind == "overloaded":
        return refuse(interface.OVERLOADED, "Overloaded", **pause)  # type: ignore[no-any-return]
    if fault.kind == "error":
        return refuse(500, "Internal server error")  # type: ignore[no-any-return]
    if fault.kind == "redirect":
        return Response(status_code=307, headers={"location": "http://127.0.0.1:9/v1/messages"})
    if fault.kind == "malformed_json":
        return Response('{"id": "msg_1", "content": [', media_type="application/json")
    if fault.kind == "other_json":
        return JSONResponse({"hello": "world"})
    if fault.kind == "oversize":
        return StreamingResponse((b" " * 65_536 for _ in range(_OVERSIZE)), media_type="application/json")
    if fault.kind == "drop":
        drop_connection(request.scope)
        return Response(status_code=500)
    return None


def _answer(interface: ModuleType, body: dict[str, Any], number: int, fault: str | None, key: str) -> dict[str, Any]:
    if fault == "prose":
        return interface.answer(body, number, [], "I would pay the bills that are due.", "done")  # type: ignore[no-any-return]
    if fault == "refused":
        return interface.answer(body, number, [], "", "refused")  # type: ignore[no-any-return]
    if fault == "echo_key":
        return interface.answer(body, number, [], f"My key is {key}.", "done")  # type: ignore[no-any-return]
    calls = spoiled(propose(interface.told(body), interface.schemas(body), fault), fault)
    answer: dict[str, Any] = interface.answer(body, number, calls, "", "done")
    usage, sent, given = interface.counts(answer)
    most = body.get("max_tokens", body.get("max_completion_tokens"))
    if fault == "truncated" or (most is not None and usage[given] > most):
        answer = interface.answer(body, number, [], "I propose to", "truncated")
        usage = interface.counts(answer)[0]
        usage[given] = most
    if fault == "wrong_usage":
        usage[sent], usage[given] = 10**12, -5
    if fault == "no_usage":
        del answer["usage"]
    return answer
