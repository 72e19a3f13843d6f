"""A stack with a provider of the deployment's own: the ledger behind the certified server."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.organisation import Organisation, ok
from sandbox.ports import Reservation
from sandbox.postgres import Server
from sandbox.state import CHECKOUT
from tests.cluster import Database, cloned
from tests.http.integrator import new_organisation
from tests.http.world import World, running
from tests.oidc.certified import Certified, Registration, serving, walk

MANIFESTS = Path(__file__).parent / "manifests"
#: Seconds that an access token lives at the certified server: less than 30, so that each use comes with a refresh, and
#: long enough to be used on a busy machine.
LIFE = 20
LIST, CREATE = "ledger.entries.list", "ledger.entries.create"


@dataclass(frozen=True)
class Books:
    """The stack and the certified server, and what a person does at both."""

    world: World
    server: Certified
    settings: dict[str, str]

    @property
    def redirect_uri(self) -> str:
        return f"{self.world.api}/oauth/ledger/callback"

    def begin(self, organisation: Organisation, access: str = "read") -> dict[str, Any]:
        """Starts a sign-in: the connection's `id` and `authorize_url`."""
        body = {"provider": "ledger", "environment": "sandbox", "access": access}
        started: dict[str, Any] = ok(organisation.owner.api.post("/v1/connections", json=body))
        return started

    def consent(self, started: dict[str, Any], *, allow: bool = True) -> str:
        """Where the server sends the person's browser back to."""
        return walk(started["authorize_url"], self.redirect_uri, allow=allow)

    def connect(self, organisation: Organisation, access: str = "read") -> str:
        """A whole sign-in; answers the connection's id."""
        started = self.begin(organisation, access)
        page = organisation.owner.api.get(self.consent(started))
        assert page.status_code == 200, page.text
        organisation.connections[f"ledger/{access}"] = started["id"]
        return str(started["id"])

    def with_keys(self, keys: str) -> None:
        """Deploys the API anew with these key-encryption keys."""
        self.settings["COUNTERSIGN_KEK"] = keys
        self.world.stack.kill("api")
        self.world.stack.restart("api")

    def working(self) -> Organisation:
        """An organisation with both connections and a live workflow."""
        organisation = new_organisation(self.world, connected=False)
        for access in ("read", "write"):
            self.connect(organisation, access)
        spec = {
            "purpose": "Keep the ledger",
            "owner": organisation.owner.email,
            "escalation_contact": organisation.approver.email,
            "stage": "autonomous",
            "connections": organisation.bindings(),
            "tools": {
                LIST: {"access": "read", "read_fields": ["/entries"]},
                CREATE: {"access": "write", "data_classes": ["financial"], "irreversible_alone": True},
            },
            "value_max": {"EUR": 500000},
            "data_classes": ["financial", "internal"],
        }
        organisation.go_live("keep-the-ledger", "Keep the ledger", spec)
        return organisation


def publish(database: Database, settings: dict[str, str]) -> None:
    """Publishes the private provider's tools, as a deployment does."""
    command = [sys.executable, "-m", "scripts.publish_tools", "--url", database.url("postgres")]
    subprocess.run(command, cwd=CHECKOUT, env=os.environ | settings, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="session")
def books(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    with Reservation() as held:
        yield from _books(cluster, tmp_path_factory.mktemp("state"), held.port)


def _books(cluster: Server, state: Path, port: int) -> Iterator[Books]:
    # Characters that mean something in a header or a form: each part has to be encoded.
    registration = Registration(port, "countersign", f"{secrets.token_urlsafe(16)}:%&+ /=")
    settings = {
        "COUNTERSIGN_MANIFESTS": str(MANIFESTS),
        "LEDGER_URL": registration.url,
        "LEDGER_CLIENT_ID": registration.client_id,
        "LEDGER_CLIENT_SECRET": registration.client_secret,
    }
    with cloned(cluster) as database:
        publish(database, settings)
        with running(state, database, settings=settings) as world:
            redirect_uri = f"{world.api}/oauth/ledger/callback"
            with serving(registration, redirect_uri, state / "ledger.log", access_seconds=LIFE) as server:
                yield Books(world, server, settings)
