"""The constitution as people read it: the rules in force, the versions before, what changed, and the library."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request, Response

from api.constitution import service
from api.constitution.models import Restoration
from api.dashboard import rule_form
from api.dashboard.exception_page import people
from api.dashboard.forms import Form, Sent, filled
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.pagination import PageRequest

router = page_router()
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
Other = Annotated[int | None, Query(alias="with", ge=1, le=2**31 - 1)]
#: How many rules, and versions, a page shows at once.
RULES, VERSIONS = 25, 30


@router.get("/constitution")
async def show_constitution(
    request: Request, who: Reader, find: Annotated[str, Query(max_length=200)] = "",
    sheet: Annotated[int, Query(ge=1, le=100)] = 1,
) -> Response:  # fmt: skip
    """The rules in force, and the drafts that are on their way."""
    first = PageRequest(limit=5, cursor=None)
    shown, since, writing, waiting, members = await asyncio.gather(
        service.get_version(who.principal),
        service.since(who.principal),
        service.list_drafts(who.principal, first, "draft"),
        service.list_drafts(who.principal, first, "in_review"),
        colleagues(who),
    )
    return page(
        who, "constitution.html", request=request, shown=shown, members=members, find=find, since=since,
        drafts=waiting["items"] + writing["items"], **sheet_of(shown["rules"], find, sheet),
    )  # fmt: skip


async def colleagues(who: Visitor) -> dict[str, Any]:
    """The members by their ids, as far as the visitor may see them, and the visitor in any case."""
    return await people(who) | {str(who.user_id): {"name": who.name, "email": who.email}}


def sheet_of(rules: list[dict[str, Any]], find: str, sheet: int) -> dict[str, Any]:
    """The rules of one sheet, of those that hold the text that is looked for; with how many there are of both."""
    wanted = find.strip().lower()
    names = ("id", "title", "principle", "when")
    found = [rule for rule in rules if not wanted or any(wanted in str(rule[name]).lower() for name in names)]
    start = (sheet - 1) * RULES
    more = len(found) > start + RULES
    shown = [rule_form.whole(rule) for rule in found[start : start + RULES]]
    return {"rules": shown, "found": len(found), "sheet": sheet, "more": more}


@router.get("/constitution/versions")
async def show_versions(
    request: Request, who: Reader, before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> Response:
    """Every version, newest first."""
    rows, members = await asyncio.gather(service.history(who.principal, before, VERSIONS + 1), colleagues(who))
    return page(
        who, "constitution_versions.html", request=request, versions=rows[:VERSIONS], more=len(rows) > VERSIONS,
        members=members, before=before,
    )  # fmt: skip


@router.get("/constitution/versions/{number:int}")
async def show_version(
    request: Request, number: Number, who: Reader, other: Other = None,
    sheet: Annotated[int, Query(ge=1, le=100)] = 1,
) -> Response:  # fmt: skip
    """One version, and what it lets happen beyond another: the one before it, unless told otherwise."""
    return await _version(request, who, number, other, sheet)


@router.post("/constitution/versions/{number:int}/restore")
async def restore(request: Request, number: Number, who: Reader, form: Sent) -> Response:
    """Drafts an older version anew; it is published like any other draft."""
    try:
        body = filled(Restoration, {"reason": form.text("reason")})
        made = (await service.restore(who.principal, number, body.reason, form.once)).result
    except Exception as error:
        return await _version(request, who, number, typed=form, problem=problem_of(error))
    return to(f"/constitution/drafts/{UUID(str(made['id']))}?done=rules_drafted")


@router.get("/constitution/library")
async def show_library(
    request: Request, who: Reader, area: Annotated[str | None, Query(max_length=40)] = None, draft: UUID | None = None
) -> Response:
    """Rules that are ready to be taken over, into one's draft when one is named."""
    ready = [each.rule.model_dump(mode="json") for each in service.list_library(area)]
    return page(who, "constitution_library.html", request=request, ready=ready, area=area, draft=draft)


async def _version(
    request: Request, who: Visitor, number: int, other: int | None = None, sheet: int = 1, *,
    typed: Form | None = None, problem: Problem | None = None,
) -> Response:  # fmt: skip
    beside = other or (number - 1 if number > 1 else None)
    shown, members, newest, compared = await asyncio.gather(
        service.get_version(who.principal, number),
        colleagues(who),
        service.history(who.principal, None, 1),
        service.compare(who.principal, number, beside) if beside and beside != number else _nothing(),
    )
    return page(
        who, "constitution_version.html", request=request, status=problem.status_code if problem else 200,
        problem=problem, typed=typed, shown=shown, members=members, newest=newest[0]["version"], compared=compared,
        beside=beside, **sheet_of(shown["rules"], "", sheet),
    )  # fmt: skip


async def _nothing() -> None:
    return None
