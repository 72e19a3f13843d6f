"""Who looks at a page: the person of the session, in one tenant, as the database sees them now."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request

from api.auth import Principal, verify_token
from api.dashboard import identity, session
from api.dashboard.session import Session
from api.errors import Problem
from api.tenants import service as tenants


class SignInNeededError(Exception):
    """Nobody is signed in; the page that was asked for is shown after the sign-in."""


class TenantNeededError(Exception):
    """The person is in no tenant, or in several and has chosen none."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in, whichever tenant they are in. aal: `aal2` once a second factor was given."""

    session: Session
    principal: Principal
    email: str

    @property
    def aal(self) -> str:
        return str(self.principal.claims["aal"])

    @property
    def csrf(self) -> str:
        return self.session.csrf


@dataclass(frozen=True, slots=True)
class Visitor(Person):
    """A person in a tenant. permissions: what their role may do there."""

    user_id: UUID
    name: str
    role: str
    tenant_id: UUID
    tenant_name: str
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        """Whether the role has a permission. The database decides again when it is used."""
        return permission in self.permissions


async def person(request: Request) -> Person:
    """Whoever is signed in. Raises SignInNeededError; renews the tokens of a session when they are old."""
    found = getattr(request.state, "session", None) or session.read(request)
    if found is None:
        raise SignInNeededError
    if found.stale:
        try:
            found = await identity.renewed(found)
        except Problem as problem:
            if problem.status_code != 422:
                raise
            raise SignInNeededError from None
        request.state.session = found
    return await of(found, request)


async def of(found: Session, request: Request) -> Person:
    """The person of a session's tokens, which are verified. Raises SignInNeededError when they are not good."""
    try:
        claims = await verify_token(found.access_token)
    except Problem as problem:
        if problem.status_code != 401:
            raise
        raise SignInNeededError from None
    says = {
        "kind": "user", "sub": str(UUID(claims["sub"])), "tenant_id": found.tenant_id,
        "aal": claims.get("aal", "aal1"), "session_id": claims.get("session_id"),
    }  # fmt: skip
    return Person(found, Principal(says, request.state.request_id, claims.get("email")), claims.get("email") or "")


async def visitor(request: Request) -> Visitor:
    """The person and their place in the tenant. Raises SignInNeededError and TenantNeededError."""
    return await placed(await person(request))


async def placed(who: Person) -> Visitor:
    """The place of a person in the tenant that their session looks at, or in their only one."""
    try:
        me: dict[str, Any] = await tenants.me(who.principal)
    except Exception as error:
        # The token is good: what the database does not know is a place of this person in the tenant.
        if _code(error) in ("tenant_required", "unauthenticated"):
            raise TenantNeededError from None
        raise
    claims = who.principal.claims | {"tenant_id": me["tenant"]["id"]}
    principal = Principal(claims, who.principal.request_id, who.principal.email)
    return Visitor(
        session=who.session, principal=principal, email=me["email"] or who.email, user_id=UUID(me["id"]),
        name=me["name"] or me["email"] or who.email, role=me["role"], tenant_id=UUID(me["tenant"]["id"]),
        tenant_name=me["tenant"]["name"], permissions=frozenset(me["permissions"]),
    )  # fmt: skip


def _code(error: Exception) -> str | None:
    """The code of a refusal, whether a Problem or the database said it."""
    return getattr(error, "code", None) or getattr(getattr(error, "diag", None), "message_detail", None)


Someone = Annotated[Person, Depends(person)]
Reader = Annotated[Visitor, Depends(visitor)]
