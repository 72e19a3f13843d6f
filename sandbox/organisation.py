"""Founds an organisation on a running stack as people would: sign-up, second factor, tenant, invitation, connections.

Everything goes over HTTP through the public interfaces, so that the demo and the tests begin where a customer begins.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.auth import keys
from sandbox.auth.mailbox import Mail, received
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


def _auth(stack: Stack) -> httpx.Client:
    """Supabase Auth as a browser reaches it."""
    headers = {"apikey": keys.anon_key(stack.state)}
    return httpx.Client(base_url=f"{stack.url['auth']}/auth/v1", headers=headers, timeout=60)


def new_address(name: str) -> str:
    """An address that nobody has."""
    return f"{name.split()[0].lower()}.{uuid.uuid4().hex[:12]}@brightwater.example"


def sign_up(stack: Stack, name: str, *, second_factor: bool = True) -> Member:
    """Signs a person up at Supabase Auth and, unless told otherwise, enrols a TOTP factor and steps up to `aal2`."""
    email, password = new_address(name), uuid.uuid4().hex
    with _auth(stack) as auth:
        session = ok(auth.post("/signup", json={"email": email, "password": password, "data": {"name": name}}))
        return _member(stack, auth, session, name, password, second_factor)


def _member(
    stack: Stack, auth: httpx.Client, session: dict[str, Any], name: str, password: str, second_factor: bool
) -> Member:
    """The person behind a session at `aal1`."""
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
        email=session["user"]["email"],
        password=password,
        user_id=session["user"]["id"],
        access_token=session["access_token"],
        refresh_token=session["refresh_token"],
        totp_secret=factor_secret,
        api=api,
    )


def invite(inviter: Member, email: str, role: str, name: str = "") -> dict[str, Any]:
    """Invites an address; answers the invitation, whose mail is in the mailbox of Supabase Auth's stand-in."""
    body = {"email": email, "role": role, "name": name}
    invitation: dict[str, Any] = ok(inviter.api.post("/v1/invitations", json=body, headers=once()))
    return invitation


def mail_to(stack: Stack, email: str) -> Mail:
    """The last mail to an address. RefusedError when there is none."""
    mails = list(received(stack.state, email))
    if not mails:
        raise RefusedError(f"there is no mail to {email}")
    return mails[-1]


def welcome(stack: Stack, inviter: Member, name: str, role: str, *, second_factor: bool = True) -> Member:
    """Invites somebody whom nobody knows yet: they follow the mail's link, choose a password, and join."""
    email, password = new_address(name), uuid.uuid4().hex
    invitation = invite(inviter, email, role, name)
    mail = mail_to(stack, email)
    with _auth(stack) as auth:
        session = ok(auth.post("/verify", json={"type": mail.kind, "token_hash": mail.hashed_token}))
        auth.headers["Authorization"] = f"Bearer {session['access_token']}"
        ok(auth.put("/user", json={"password": password, "data": {"name": name}}))
        person = _member(stack, auth, session, name, password, second_factor)
    accept(person, invitation["id"])
    return person


def admit(inviter: Member, person: Member, role: str) -> None:
    """Lets in somebody who has signed up already, by invitation."""
    accept(person, invite(inviter, person.email, role, person.name)["id"])


def accept(person: Member, invitation_id: str) -> None:
    """Joins, as one who finds the invitation among his own does."""
    mine = ok(person.api.get("/v1/me/invitations"))
    found = next(invitation for invitation in mine if invitation["id"] == invitation_id)
    joined = ok(person.api.post(f"/v1/invitations/{invitation_id}/accept", json={}))
    if joined["tenant"] != found["tenant"]:
        raise RefusedError(f"joined {joined['tenant']} instead of {found['tenant']}")
    person.join(joined["tenant"]["id"])


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

    def connect(self, provider: str, access: str, environment: str = "sandbox") -> str:
        """Connects an account of a sandbox provider, by really walking through its consent page."""
        body = {"provider": provider, "environment": environment, "access": access}
        started = ok(self.owner.api.post("/v1/connections", json=body))
        who = person(self.stack.state, provider.removeprefix("sandbox_"))
        back = walk_consent(started["authorize_url"], who.username, who.password)
        page = self.owner.api.get(back)
        if page.status_code != 200:
            raise RefusedError(f"the callback answered {page.status_code}: {page.text[:300]}")
        if environment == "sandbox":
            self.connections[f"{provider}/{access}"] = started["id"]
        return str(started["id"])

    def go_live(self, slug: str, title: str, spec: dict[str, Any], environment: str = "sandbox") -> None:
        """Drafts a workflow as the owner, and puts it live as the approver."""
        body = {"slug": slug, "environment": environment, "title": title, "spec": spec}
        version = ok(self.owner.api.post("/v1/workflows", json=body, headers=once()))["version"]
        path = f"/v1/workflows/{slug}/versions/{version}"
        ok(self.owner.api.post(f"{path}/submit", headers=once()))
        self.stack.tick_all()  # a workflow goes live only where the scheduler is at work
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
    owner = sign_up(stack, "Olive Marsh")
    tenant = ok(owner.api.post("/v1/tenants", json={"name": name, "user_name": owner.name}, headers=once()))
    owner.join(tenant["id"])
    approver = welcome(stack, owner, "Amara Diallo", "approver")
    account = ok(owner.api.post("/v1/service-accounts", json={"name": "accounts-payable-agent"}, headers=once()))
    body = {"environment": "sandbox", "scopes": AGENT_SCOPES}
    key = ok(owner.api.post(f"/v1/service-accounts/{account['id']}/keys", json=body, headers=once()))
    return Organisation(stack, tenant["id"], owner, approver, account["id"], key["id"], key["secret"])
