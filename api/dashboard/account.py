"""A person's own matters: which tenant they look at, invitations, a new tenant, password, second factors."""

from typing import Any
from uuid import UUID

from fastapi import Request, Response

from api.dashboard import identity
from api.dashboard.forms import Sent, filled
from api.dashboard.pages import page
from api.dashboard.routing import page_router, to
from api.dashboard.visitor import Someone
from api.errors import Problem
from api.tenants import service as tenants
from api.tenants.models import Acceptance, NewTenant

router = page_router()


@router.get("/tenants")
async def show_tenants(request: Request, who: Someone) -> Response:
    """The person's tenants, and the invitations that wait for them."""
    return await _tenants(request, who)


@router.post("/tenants/choose")
async def choose_tenant(request: Request, who: Someone, form: Sent) -> Response:
    """Looks at another tenant from now on. Whether the person is in it, the database says on every page."""
    chosen = form.text("tenant_id")
    if chosen not in {str(each["id"]) for each in await tenants.list_tenants(who.principal)}:
        raise Problem(404, "not_found", "You are not in this tenant.")
    request.state.session = who.session.at(chosen)
    return to("/")


@router.post("/tenants")
async def create_tenant(request: Request, who: Someone, form: Sent) -> Response:
    body = filled(NewTenant, {"name": form.text("name"), "user_name": form.text("user_name")})
    made = (await tenants.create_tenant(who.principal, body, form.once)).result
    request.state.session = who.session.at(str(made["id"]))
    return to("/")


@router.post("/invitations/{invitation_id}/accept")
async def accept_invitation(request: Request, invitation_id: UUID, who: Someone, form: Sent) -> Response:
    body = filled(Acceptance, {"name": form.text("name")})
    joined = await tenants.accept_invitation(who.principal, invitation_id, body)
    request.state.session = who.session.at(str(joined["tenant"]["id"]))
    return to("/")


@router.get("/account")
async def show_account(request: Request, who: Someone) -> Response:
    return page(who, "account.html", request=request, factors=await identity.factors(who.session), enrolment=None)


@router.post("/account/second-factors")
async def enrol(request: Request, who: Someone, form: Sent) -> Response:
    """Shows the secret of a new second factor, once; it counts when a code of it was typed."""
    made = await identity.enrol(who.session, form.text("name") or "authenticator")
    return page(who, "account.html", request=request, factors=[], enrolment=made)


@router.post("/account/second-factors/confirm")
async def confirm_factor(request: Request, who: Someone, form: Sent) -> Response:
    code = form.text("code").replace(" ", "")
    request.state.session = await identity.step_up(who.session, code, form.text("factor_id"))
    return to("/account?done=factor_added")


@router.get("/account/password")
async def show_password(request: Request, who: Someone) -> Response:
    return page(who, "password.html", request=request)


@router.post("/account/password")
async def set_password(request: Request, who: Someone, form: Sent) -> Response:
    try:
        if form.raw("password") != form.raw("again"):
            raise Problem(422, "invalid_request", "The two passwords are not the same.")
        await identity.set_password(who.session, form.raw("password"))
    except Problem as problem:
        return page(who, "password.html", request=request, status=problem.status_code, problem=problem)
    return to("/")


async def _tenants(request: Request, who: Someone) -> Response:
    mine: list[dict[str, Any]] = await tenants.list_tenants(who.principal)
    waiting: list[dict[str, Any]] = []
    try:
        waiting = await tenants.list_my_invitations(who.principal)
    except Problem as problem:
        if problem.code != "email_not_confirmed":
            raise
    return page(who, "tenants.html", request=request, tenants=mine, invitations=waiting)
