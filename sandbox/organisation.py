"""Founds an organisation on a running stack as people would: sign-up, second factor, tenant, connections, workflow.

Everything goes over HTTP through the public interfaces, so that the demo and the tests begin where a customer begins.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.auth import keys
from sandbox.auth.totp import totp
from sandbox.oauth.browser import walk_consent
from sandbox.oauth.people import person
from sandbox.stack import Stack


def once() -> dict[str, str]:
    """A fresh Idempotency-Key header."""
    return {"Idempotency-Key": str(uuid.uuid4())}


class RefusedError(RuntimeError):
    """The API answered with a problem where success was expected; the message is what it said."""


def ok(answer: httpx.Response) -> Any:
    """The body of a successful answer; RefusedError otherwise."""
    if answer.is_error:
        raise RefusedError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    return answer.json()


@dataclass
class Member:
    """A person with a session at `aal2`, and an HTTP client of the API that carries it."""

    name: str
    email: str
    password: str
    user_id: str
    access_token: str
    refresh_token: str
    totp_secret: str
    api: httpx.Client

    def join(self, tenant_id: str) -> None:
        self.api.headers["X-Tenant-Id"] = tenant_id


def sign_up(stack: Stack, name: str, *, second_factor: bool = True) -> Member:
    """Signs a person up at Supabase Auth and, unless told otherwise, enrols a TOTP factor and steps up to `aal2`."""
    email = f"{name.split()[0].lower()}.{uuid.uuid4().hex[:6]}@brightwater.example"
    password = uuid.uuid4().hex
    with httpx.Client(
        base_url=f"{stack.url['auth']}/auth/v1", headers={"apikey": keys.anon_key(stack.state)}, timeout=60
    ) as auth:
        session = ok(auth.post("/signup", json={"email": email, "password": password, "data": {"name": name}}))
        factor_secret = ""
        if second_factor:
            auth.headers["Authorization"] = f"Bearer {session['access_token']}"
            factor = ok(auth.post("/factors", json={"factor_type": "totp", "friendly_name": "phone"}))
            factor_secret = factor["totp"]["secret"]
            challenge = ok(auth.post(f"/factors/{factor['id']}/challenge", json={}))
            answer = {"challenge_id": challenge["id"], "code": totp(factor_secret, time.time())}
            session = ok(auth.post(f"/factors/{factor['id']}/verify", json=answer)) | {"user": session["user"]}
    api = httpx.Client(
        base_url=stack.url["api"], headers={"Authorization": f"Bearer {session['access_token']}"}, timeout=60
    )
    return Member(
        name=name,
        email=email,
        password=password,
        user_id=session["user"]["id"],
        access_token=session["access_token"],
        refresh_token=session["refresh_token"],
        totp_secret=factor_secret,
        api=api,
    )


@dataclass
class Organisation:
    """A tenant with an owner, an approver, a service account and its key, and connections by `provider/access`."""

    stack: Stack
    tenant_id: str
    owner: Member
    approver: Member
    service_account_id: str
    key_id: str
    key: str
    connections: dict[str, str] = field(default_factory=dict)

    def agent(self) -> httpx.Client:
        """An HTTP client that carries the API key."""
        return httpx.Client(base_url=self.stack.url["api"], headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def bindings(self) -> dict[str, dict[str, str]]:
        """`connections` of an access spec: every connection of this organisation."""
        spec: dict[str, dict[str, str]] = {}
        for name, connection_id in self.connections.items():
            provider, access = name.split("/")
            spec.setdefault(provider, {})[access] = connection_id
        return spec

    def connect(self, provider: str, access: str) -> str:
        """Connects an account of a sandbox provider, by really walking through its consent page."""
        body = {"provider": provider, "environment": "sandbox", "access": access}
        started = ok(self.owner.api.post("/v1/connections", json=body))
        who = person(self.stack.state, provider.removeprefix("sandbox_"))
        back = walk_consent(started["authorize_url"], who.username, who.password)
        page = self.owner.api.get(back)
        if page.status_code != 200:
            raise RefusedError(f"the callback answered {page.status_code}: {page.text[:300]}")
        self.connections[f"{provider}/{access}"] = started["id"]
        return str(started["id"])

    def go_live(self, slug: str, title: str, spec: dict[str, Any]) -> None:
        """Drafts a workflow as the owner, and puts it live as the approver."""
        body = {"slug": slug, "environment": "sandbox", "title": title, "spec": spec}
        version = ok(self.owner.api.post("/v1/workflows", json=body, headers=once()))["version"]
        path = f"/v1/workflows/{slug}/versions/{version}"
        ok(self.owner.api.post(f"{path}/submit", headers=once()))
        ok(self.approver.api.post(f"{path}/approve", json={"reason": "read and found right"}, headers=once()))


AGENT_SCOPES = [
    "runs.read", "runs.write", "actions.read", "actions.propose", "actions.cancel", "workflows.read",
    "constitution.read", "exceptions.read", "audit.read", "tools.read", "kill_switches.engage", "kill_switches.read",
    "tenant.read",
]  # fmt: skip


#: Who the sandbox bank's and CRM's customer is.
NAME = "Brightwater Goods BV"


def found(stack: Stack, name: str = NAME) -> Organisation:
    """A tenant with two people (owner and approver, both at aal2), a service account and a sandbox key."""
    owner, approver = sign_up(stack, "Olive Marsh"), sign_up(stack, "Amara Diallo")
    tenant = ok(owner.api.post("/v1/tenants", json={"name": name, "user_name": owner.name}, headers=once()))
    owner.join(tenant["id"])
    member = {"user_id": approver.user_id, "role": "approver", "email": approver.email, "name": approver.name}
    ok(owner.api.post("/v1/members", json=member, headers=once()))
    approver.join(tenant["id"])
    account = ok(owner.api.post("/v1/service-accounts", json={"name": "accounts-payable-agent"}, headers=once()))
    body = {"environment": "sandbox", "scopes": AGENT_SCOPES}
    key = ok(owner.api.post(f"/v1/service-accounts/{account['id']}/keys", json=body, headers=once()))
    return Organisation(stack, tenant["id"], owner, approver, account["id"], key["id"], key["secret"])
