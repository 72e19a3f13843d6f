"""People, invitations, service accounts and their keys."""

import asyncio
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.tenants import service
from api.tenants.models import NewInvitation, NewKey, NewServiceAccount, RoleChange, Rotation, Scopes, Transfer

router = page_router()


@router.get("/team")
async def show_team(request: Request, who: Reader) -> Response:
    return await _team(request, who)


@router.post("/team/invitations")
async def invite(request: Request, who: Reader, form: Sent) -> Response:
    try:
        body = filled(NewInvitation, {name: form.text(name) for name in ("email", "role", "name")})
        who = await stepped_up(who, form, request)
        await service.invite(who.principal, body, form.once)
    except Exception as error:
        return await _team(request, who, problem_of(error), form)
    return to("/team?done=invited#invitations")


@router.post("/team/invitations/{invitation_id:uuid}/{step}")
async def end_invitation(request: Request, invitation_id: UUID, step: str, who: Reader, form: Sent) -> Response:
    """Mails it once more (`resend`), or takes it back (`withdraw`)."""
    try:
        who = await stepped_up(who, form, request)
        if step == "resend":
            await service.resend_invitation(who.principal, invitation_id, form.once)
        elif step == "withdraw":
            await service.withdraw_invitation(who.principal, invitation_id)
        else:
            raise Problem(404, "not_found", "There is no such page.")
    except Exception as error:
        return await _team(request, who, problem_of(error))
    return to(f"/team?done={'invited' if step == 'resend' else 'uninvited'}#invitations")


@router.post("/team/members/{user_id:uuid}/{step}")
async def change_member(request: Request, user_id: UUID, step: str, who: Reader, form: Sent) -> Response:
    """Gives another role (`role`), takes somebody out (`remove`), or hands the tenant over (`owner`)."""
    try:
        who = await stepped_up(who, form, request)
        if step == "role":
            await service.change_role(who.principal, user_id, filled(RoleChange, {"role": form.text("role")}).role)
        elif step == "remove":
            await service.remove_member(who.principal, user_id)
        elif step == "owner":
            await service.transfer_ownership(who.principal, filled(Transfer, {"user_id": user_id}))
        else:
            raise Problem(404, "not_found", "There is no such page.")
    except Exception as error:
        return await _team(request, who, problem_of(error))
    return to(f"/team?done={'removed' if step == 'remove' else 'saved'}")


@router.post("/team/leave")
async def leave(request: Request, who: Reader, form: Sent) -> Response:
    try:
        await service.leave(who.principal)
    except Exception as error:
        return await _team(request, who, problem_of(error))
    request.state.session = who.session.at(None)
    return to("/tenants")


@router.post("/team/accounts")
async def create_account(request: Request, who: Reader, form: Sent) -> Response:
    try:
        body = filled(NewServiceAccount, {name: form.text(name) for name in ("name", "description")})
        who = await stepped_up(who, form, request)
        made = (await service.create_service_account(who.principal, body, form.once)).result
    except Exception as error:
        return await _team(request, who, problem_of(error), form)
    return to(f"/team/accounts/{made['id']}?done=saved")


@router.get("/team/accounts/{account_id:uuid}")
async def show_account(request: Request, account_id: UUID, who: Reader) -> Response:
    return await _account(request, who, account_id)


@router.post("/team/accounts/{account_id:uuid}/disable")
async def disable_account(request: Request, account_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        who = await stepped_up(who, form, request)
        await service.disable_service_account(who.principal, account_id)
    except Exception as error:
        return await _account(request, who, account_id, problem=problem_of(error))
    return to(f"/team/accounts/{account_id}?done=disabled")


@router.post("/team/accounts/{account_id:uuid}/keys")
async def create_key(request: Request, account_id: UUID, who: Reader, form: Sent) -> Response:
    """Issues a key, and shows it this once: the answer is the page itself, which nothing keeps."""
    given = {
        "environment": form.text("environment"),
        "scopes": form.all("scopes"),
        "expires_in_days": form.text("days"),
    }
    try:
        body = filled(NewKey, given)
        who = await stepped_up(who, form, request)
        made = (await service.create_key(who.principal, account_id, body, form.once)).result
    except Exception as error:
        return await _account(request, who, account_id, problem=problem_of(error), form=form)
    return await _account(request, who, account_id, issued=made)


@router.post("/team/accounts/{account_id:uuid}/keys/{key_id:uuid}/{step}")
async def change_key(request: Request, account_id: UUID, key_id: UUID, step: str, who: Reader, form: Sent) -> Response:
    """Replaces a key (`rotate`), takes scopes from it (`narrow`), or ends it at once (`revoke`)."""
    issued = None
    try:
        who = await stepped_up(who, form, request)
        if step == "rotate":
            body = filled(Rotation, {"grace_seconds": int(form.text("grace_hours") or 0) * 3600})
            issued = (await service.rotate_key(who.principal, key_id, body, form.once)).result
        elif step == "narrow":
            await service.narrow_key(who.principal, key_id, filled(Scopes, {"scopes": form.all("scopes")}))
        elif step == "revoke":
            await service.revoke_key(who.principal, key_id)
        else:
            raise Problem(404, "not_found", "There is no such page.")
    except ValueError:
        wrong = Problem(422, "invalid_request", "How long the old key goes on is a number of hours.")
        return await _account(request, who, account_id, problem=wrong)
    except Exception as error:
        return await _account(request, who, account_id, problem=problem_of(error))
    if issued is not None:
        return await _account(request, who, account_id, issued=issued)
    return to(f"/team/accounts/{account_id}?done={'revoked' if step == 'revoke' else 'saved'}")


async def _team(
    request: Request, who: Visitor, problem: Problem | None = None, typed: Form | None = None
) -> Response:  # fmt: skip
    members, invitations, accounts, permissions = await asyncio.gather(
        _seen(who, "members.read", service.list_members),
        _seen(who, "members.manage", service.list_invitations),
        _seen(who, "service_accounts.read", service.list_service_accounts),
        service.list_permissions(who.principal),
    )
    return page(
        who, "team.html", request=request, status=problem.status_code if problem else 200, problem=problem, typed=typed,
        members=members, invitations=[each for each in invitations if each["status"] == "open"], accounts=accounts,
        may=_by_role(permissions),
    )  # fmt: skip


async def _account(
    request: Request, who: Visitor, account_id: UUID, *, problem: Problem | None = None, form: Form | None = None,
    issued: dict[str, Any] | None = None,
) -> Response:  # fmt: skip
    keys, accounts, permissions = await asyncio.gather(
        service.list_keys(who.principal, account_id),
        service.list_service_accounts(who.principal),
        service.list_permissions(who.principal),
    )
    account = next(each for each in accounts if str(each["id"]) == str(account_id))
    return page(
        who, "team_account.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=form, account=account, keys=keys, issued=issued,
        scopes=[each for each in permissions if each["service"]],
    )  # fmt: skip


async def _seen(who: Visitor, permission: str, read: Any) -> list[dict[str, Any]]:
    """A list, as far as the visitor may see it."""
    return list(await read(who.principal)) if who.may(permission) else []


def _by_role(permissions: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What each role may do, in the words of the permissions."""
    roles: dict[str, list[str]] = {}
    for each in permissions:
        for role in each["roles"]:
            roles.setdefault(role, []).append(each["meaning"])
    return roles
