"""A stack on which everything happened that handles a secret, and nothing of what it let out is forgotten."""

import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx

from sandbox.oauth.browser import walk_consent
from sandbox.oauth.clients import client as oauth_client
from sandbox.oauth.people import person
from sandbox.organisation import Organisation, mail_to, ok, once
from tests.http.emissions import CrashReports, broken, scheduled
from tests.http.integrator import NOTE, PAY, access_spec, at_work, decide, issue_key, new_organisation, note, payment
from tests.http.sealed import tokens_of
from tests.http.world import World

#: Each of these is made to fail while it holds, or stands for, something secret.
FAILING = ("create_api_key_v1", "rotate_api_key_v1", "create_connection_v1", "record_action_v1", "invite_v1", "me_v1")


@dataclass
class Life:
    """What happened: `secrets` by what they are, and what was let out besides the database and the logs.

    once: the secrets that the API shows, each in one answer and never again. spent: codes of sign-ins, which come in
    the browser's address and are good for nothing after it. planted: no secret, and put everywhere where one could be.
    """

    world: World
    settings: dict[str, str]
    reports: CrashReports
    answers: list[httpx.Response]
    secrets: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    spent: dict[str, str] = field(default_factory=dict)
    scheduled: dict[str, bytes] = field(default_factory=dict)
    planted: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def learn_tokens(self, organisation: Organisation) -> None:
        """Adds the tokens that the connections have now: every generation, when asked after every step."""
        for name, connection_id in organisation.connections.items():
            for kind, token in tokens_of(self.world, connection_id).items():
                if token not in self.secrets.values():
                    self.secrets[f"{name} {kind} {len(self.secrets)}"] = token

    def of_api(self) -> list[httpx.Response]:
        """The answers of the API alone; Supabase Auth has its own way with secrets."""
        return [answer for answer in self.answers if str(answer.request.url).startswith(self.world.api)]


def live(world: World, settings: dict[str, str], reports: CrashReports, answers: list[httpx.Response]) -> Life:
    """Everything happens; `settings` are the stack's own, which it reads again whenever a part is started."""
    life = Life(world, settings, reports, answers)
    organisation = new_organisation(world)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation))
    life.secrets = {"the agent's key": organisation.key} | of_settings(world) | of_people(organisation)
    life.learn_tokens(organisation)
    key = issue_key(organisation)
    rotated = ok(
        organisation.owner.api.post(f"/v1/keys/{key['id']}/rotate", json={"grace_seconds": 60}, headers=once())
    )
    life.once = {
        "the agent's key": organisation.key,
        "another key": key["secret"],
        "a rotated key": rotated["secret"],
    } | of_a_sign_in(organisation)
    life.secrets |= life.once
    work(life, organisation)
    change_keys(life)
    work(life, organisation)
    fail(life, organisation, key["id"])
    plant(life, organisation)
    with world.client(f"{organisation.key[:-2]}zz") as wrong:
        assert wrong.get("/v1/me").status_code == 401
    life.scheduled = scheduled(world, SENTRY_DSN=reports.dsn)
    forgotten = organisation.connections.pop("sandbox_crm/read")
    ok(organisation.owner.api.delete(f"/v1/connections/{forgotten}"))
    life.learn_tokens(organisation)
    return life


def of_settings(world: World) -> dict[str, str]:
    settings = world.stack.environment()
    return {
        "the key-encryption key": settings["COUNTERSIGN_KEK"].partition(":")[2],
        "the key of Supabase Auth": settings["SUPABASE_SERVICE_KEY"],
        "the scheduler's secret": settings["CRON_SECRET"],
        "the login's password": world.database.server.role_password("countersign_api"),
        "the bank's client secret": oauth_client(world.stack.state, "bank")[1],
        "the CRM's client secret": oauth_client(world.stack.state, "crm")[1],
    }


def of_people(organisation: Organisation) -> dict[str, str]:
    """A session, and what the mail of an invitation held: whoever has it can sign in as its recipient."""
    owner, approver = organisation.owner, organisation.approver
    return {
        "a session": owner.access_token,
        "a session's signature": owner.access_token.rsplit(".", 1)[1],
        "a refresh token": owner.refresh_token,
        "a second factor": owner.totp_secret,
        "a password": owner.password,
        "an invitation's link": mail_to(organisation.stack, approver.email).hashed_token,
    }


def of_a_sign_in(organisation: Organisation) -> dict[str, str]:
    """A sign-in under way: its state, and the cookie that binds it to the browser."""
    body = {"provider": "sandbox_bank", "environment": "sandbox", "access": "read"}
    started = organisation.owner.api.post("/v1/connections", json=body)
    state = parse_qs(urlsplit(ok(started)["authorize_url"]).query)["state"][0]
    return {"a state": state, "a browser's binding": next(iter(started.cookies.values()))}


def work(life: Life, organisation: Organisation) -> None:
    """Reading, paying, and calls that go wrong: what goes wrong is logged, and logs are where secrets end."""
    world = life.world
    with at_work(organisation) as agent:
        for _ in range(2):
            agent.observe()
            life.learn_tokens(organisation)
        action = agent.propose(PAY, payment())
        life.learn_tokens(organisation)
        ok(decide(organisation.approver, action))
        agent.settled(action["id"])
        life.learn_tokens(organisation)
        with world.provider("crm") as crm:
            for fault in ({"kind": "rate_limit"}, {"kind": "error"}, {"kind": "drop_after"}):
                crm.post("/_faults", json={"operation": "notes.create"} | fault).raise_for_status()
        for _ in range(3):
            agent.propose(NOTE, note())
            life.learn_tokens(organisation)
        world.stack.tick()
        life.learn_tokens(organisation)


def plant(life: Life, organisation: Organisation) -> None:
    """Puts a random text into the database, an audit record, an address, an answer, a log and a crash report."""
    owner, named = organisation.owner.api, {"name": life.planted}
    ok(owner.post("/v1/service-accounts", json=named, headers=once()))
    assert owner.get("/v1/actions", params={"cursor": life.planted}).is_client_error
    with broken(life.world, "create_service_account_v1"):
        assert owner.post("/v1/service-accounts", json=named, headers=once()).status_code == 500


def change_keys(life: Life) -> None:
    """Seals everything under a new key-encryption key, and forgets the old one."""
    stack, new = life.world.stack, secrets.token_hex(32)
    life.secrets["the new key-encryption key"] = new
    for keys in (f"next:{new},{stack.environment()['COUNTERSIGN_KEK']}", f"next:{new}"):
        life.settings["COUNTERSIGN_KEK"] = keys
        stack.kill("api")
        stack.restart("api")
        done = stack.tick("rotate_keys")
        assert (done["failed"], done.get("left_local", 0)) == (0, 0)


def fail(life: Life, organisation: Organisation, key_id: str) -> None:
    """Crashes: in every place that has a secret in its hands just then."""
    owner, world = organisation.owner.api, life.world
    begun = {"provider": "sandbox_bank", "environment": "sandbox", "access": "write"}
    requests = {
        "create_api_key_v1": (
            f"/v1/service-accounts/{organisation.service_account_id}/keys",
            {"environment": "sandbox", "scopes": ["runs.read"]},
        ),
        "rotate_api_key_v1": (f"/v1/keys/{key_id}/rotate", {"grace_seconds": 0}),
        "create_connection_v1": ("/v1/connections", begun),
        "invite_v1": ("/v1/invitations", {"email": "mo@brightwater.example", "role": "auditor"}),
    }
    for function in FAILING:
        with broken(world, function), organisation.agent() as agent:
            if function in requests:
                path, body = requests[function]
                answer = owner.post(path, json=body, headers=once())
            elif function == "record_action_v1":
                action = {"workflow": "pay-vendor-bills", "tool": NOTE, "args": note(), "confidence": 1}
                run = ok(
                    agent.post("/v1/runs", json={"workflow": "pay-vendor-bills", "instruction": "x"}, headers=once())
                )
                answer = agent.post("/v1/actions", json=action | {"run_id": run["id"]}, headers=once())
            else:
                answer = agent.get("/v1/me")
            assert answer.status_code == 500, f"{function}: {answer.status_code} {answer.text}"
    # The worst moment: the provider has given tokens, and they cannot be kept.
    started = ok(owner.post("/v1/connections", json=begun))
    who = person(world.stack.state, "bank")
    back = walk_consent(started["authorize_url"], who.username, who.password)
    with broken(world, "store_credential_v1"):
        assert owner.get(back).status_code >= 500
    life.spent["a code that was used"] = parse_qs(urlsplit(back).query)["code"][0]
