"""Puts a sandbox server together: database, authorization server, API, faults and journal."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI

from sandbox import faults
from sandbox.hangs import Hangs
from sandbox.oauth import grants, idempotency, people, requests
from sandbox.oauth.authorize import Authorization
from sandbox.oauth.clients import client
from sandbox.oauth.database import Database
from sandbox.oauth.files import admin_token
from sandbox.oauth.grants import Token
from sandbox.oauth.guard import Bearer
from sandbox.oauth.refusals import answer_refusals
from sandbox.oauth.serving import drop_connection
from sandbox.oauth.setup import Registration
from sandbox.oauth.tokens import Backchannel

CLIENT_NAME = "Countersign"


@dataclass(frozen=True)
class Kind:
    """What distinguishes the bank from the CRM. `scopes` maps each scope to what it allows, in words.

    working: what goes on in the background as long as the server runs.
    """

    name: str
    title: str
    account_id: str
    account_name: str
    scopes: Mapping[str, str]
    schema: str
    routers: Sequence[APIRouter]
    seed: Callable[[Database], None]
    working: Callable[[Database], AbstractAsyncContextManager[None]] = lambda _: nullcontext()


def build(kind: Kind, state: Path, public_url: str, redirect_uris: Sequence[str], *, access_seconds: int) -> FastAPI:
    """The whole server over `<state>/sandbox_<name>.sqlite3`, seeded if it is new.

    `public_url` is the address it is reached at, and its issuer. Access tokens live `access_seconds` seconds.
    """
    issuer = public_url.rstrip("/")
    client_id, client_secret = client(state, kind.name)
    schema = grants.SCHEMA + requests.SCHEMA + faults.SCHEMA + idempotency.SCHEMA + kind.schema
    database = Database(state / f"sandbox_{kind.name}.sqlite3", schema)
    kind.seed(database)
    registration = Registration(
        name=kind.name,
        title=kind.title,
        issuer=issuer,
        scopes=kind.scopes,
        client_name=CLIENT_NAME,
        client_id=client_id,
        client_secret=client_secret,
        redirect_uris=frozenset(redirect_uris),
    )
    issued = grants.Grants(database, access_seconds=access_seconds)
    backchannel = Backchannel(registration, issued).router()
    person = people.person(state, kind.name)
    authorization = Authorization(registration, issued, requests.Requests(database), person).router()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with kind.working(database):
            yield
        database.close()

    app = FastAPI(title=kind.title, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.name = f"sandbox {kind.name}"
    app.state.database = database
    app.state.grants = issued
    app.state.hangs = Hangs()
    whoami = APIRouter()
    whoami.add_api_route("/v1/whoami", _whoami(kind), methods=["GET"], operation_id="whoami")
    operational = [route for router in (*kind.routers, backchannel, whoami) for route in router.routes]
    operations = [str(getattr(route, "operation_id", None)) for route in operational]
    for router in (authorization, backchannel, whoami, *kind.routers):
        app.include_router(router)
    app.include_router(faults.admin_routes(admin_token(state, kind.name), operations))
    app.add_api_route("/healthz", lambda: {"status": "ok"}, methods=["GET"])
    answer_refusals(app)
    app.add_middleware(faults.Faults, database=database, routes=operational, drop=drop_connection)
    return app


def _whoami(kind: Kind) -> Callable[[Token], dict[str, str]]:
    def whoami(_: Bearer) -> dict[str, str]:
        return {"account_id": kind.account_id, "account_name": kind.account_name}

    return whoami
