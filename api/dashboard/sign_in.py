"""Signing in and out: password, a mailed link or code, the second factor, and where a person goes next."""

from typing import Any, get_args

from fastapi import Request, Response

from api.config import settings
from api.dashboard import identity, session
from api.dashboard.forms import Form, OpenForm, Sent
from api.dashboard.identity import LinkType
from api.dashboard.pages import page
from api.dashboard.routing import inside, page_router, to
from api.dashboard.session import Session
from api.dashboard.visitor import Someone, of
from api.errors import Problem

router = page_router()


@router.get("/sign-in")
async def show_sign_in(request: Request) -> Response:
    return _sign_in(request)


@router.post("/sign-in")
async def sign_in(request: Request, form: OpenForm) -> Response:
    try:
        found = await identity.sign_in(form.text("email"), form.raw("password"))
    except Problem as problem:
        return _sign_in(request, problem, form)
    return await _entered(request, found, inside(form.text("next")))


@router.post("/sign-in/link")
async def mail_link(request: Request, form: OpenForm) -> Response:
    """Mails a link and a code. The answer is the same whether the address is known or not."""
    onward = inside(form.text("next"))
    try:
        if form.text("email"):
            await identity.mail_link(form.text("email"), onward)
    except Problem as problem:
        return _sign_in(request, problem, form)
    return page(None, "sign_in_code.html", request=request, email=form.text("email"), next=onward)


@router.post("/sign-in/code")
async def redeem_code(request: Request, form: OpenForm) -> Response:
    email, onward = form.text("email"), inside(form.text("next"))
    try:
        found = await identity.redeem_code(email, form.text("code").replace(" ", ""))
    except Problem as problem:
        return page(None, "sign_in_code.html", request=request, status=422, email=email, next=onward, problem=problem)
    return await _entered(request, found, onward)


@router.get("/auth/confirm")
async def show_confirmation(request: Request, token_hash: str = "", type: str = "", next: str = "/") -> Response:  # noqa: A002
    """Where the links of mails lead. Nothing is redeemed yet: programs open links before people do.

    next: the page that the mail was asked for on, as a whole address of ours, as Supabase Auth has it, or as a path.
    """
    onward = inside(next.removeprefix(settings().public_url))
    return page(None, "confirm.html", request=request, token_hash=token_hash, type=type, next=onward)


@router.post("/auth/confirm")
async def confirm(request: Request, form: OpenForm) -> Response:
    kind = form.text("type")
    if kind not in get_args(LinkType):
        raise Problem(422, "invalid_link", "This link is not whole. Open it from the mail again.")
    found = await identity.redeem_link(form.text("token_hash"), kind)  # type: ignore[arg-type]
    onward = "/account/password" if kind in ("invite", "recovery") else inside(form.text("next"))
    return await _entered(request, found, onward)


@router.get("/sign-in/second-factor")
async def show_second_factor(request: Request, who: Someone, next: str = "/") -> Response:  # noqa: A002
    return page(who, "second_factor.html", request=request, next=inside(next))


@router.post("/sign-in/second-factor")
async def second_factor(request: Request, who: Someone, form: Sent) -> Response:
    onward = inside(form.text("next"))
    try:
        request.state.session = await identity.step_up(who.session, form.text("code").replace(" ", ""))
    except Problem as problem:
        return page(who, "second_factor.html", request=request, status=422, next=onward, problem=problem)
    return to(onward)


@router.post("/sign-out")
async def sign_out(request: Request, who: Someone, form: Sent) -> Response:
    """Ends this browser's session, or with `everywhere` all of the person's."""
    await identity.sign_out(who.session, everywhere=form.text("everywhere") == "yes")
    request.state.session = None
    return to("/sign-in?done=signed_out")


async def _entered(request: Request, found: Session, onward: str) -> Response:
    """On to the page that was wanted; by way of the second factor where the person has one."""
    request.state.session = found
    await of(found, request)
    if any(factor.verified for factor in await identity.factors(found)):
        from urllib.parse import quote

        return to(f"/sign-in/second-factor?next={quote(onward, safe='')}")
    return to(onward)


def _sign_in(request: Request, problem: Problem | None = None, form: Form | None = None) -> Response:
    onward = inside(form.text("next") if form else request.query_params.get("next", "/"))
    given: dict[str, Any] = {"next": onward, "email": form.text("email") if form else "", "problem": problem}
    if problem is None and session.read(request) is not None and not request.query_params.get("done"):
        return to(onward)
    return page(None, "sign_in.html", request=request, status=problem.status_code if problem else 200, **given)
