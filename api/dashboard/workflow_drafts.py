"""Writing workflows: a new one, the next version as JSON, and the next version with another autonomy stage."""

import asyncio
from typing import Any

from fastapi import Request, Response

from api.dashboard import json_places
from api.dashboard.forms import Form, Sent, filled
from api.dashboard.lists import titles_of
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.exceptions import service as exceptions
from api.workflows import service
from api.workflows.models import NewVersion, NewWorkflow

router = page_router()
#: Days that the record of a stage looks back.
DAYS = 30
#: How many classes of exceptions a page lists, of how many that are looked through.
CLASSES, LOOKED_THROUGH = 10, 200
#: What a person who writes a first access spec begins with: it can do nothing, and says so.
OUTLINE = {
    "purpose": "", "owner": "", "escalation_contact": "", "stage": "shadow", "connections": {}, "tools": {},
    "value_max": {}, "data_classes": ["internal"],
}  # fmt: skip


@router.get("/new-workflow")
async def show_new(request: Request, who: Reader) -> Response:
    spec = OUTLINE | {"owner": who.email, "escalation_contact": who.email}
    return _editor(request, who, json_places.written(spec))


@router.post("/new-workflow")
async def create(request: Request, who: Reader, form: Sent) -> Response:
    try:
        given = {name: form.text(name) for name in ("slug", "title", "environment")}
        body = filled(NewWorkflow, given | {"spec": json_places.read(form.text("spec"))})
        made = (await service.create_workflow(who.principal, body, form.once)).result
    except Exception as error:
        return _editor(request, who, form.text("spec"), typed=form, problem=problem_of(error))
    return to(f"/workflows/{body.slug}?version={made['version']}&done=drafted")


@router.get("/workflows/{slug}/edit")
async def show_edit(request: Request, slug: str, who: Reader, version: int | None = None) -> Response:
    """The next version, begun from the newest or from the one asked for."""
    rows = await service.list_versions(who.principal, slug, version)
    begun = next((row for row in rows if row["version"] == version), rows[0])
    return _editor(request, who, json_places.written(begun["spec"]), workflow=rows[0], begun=begun["version"])


@router.post("/workflows/{slug}/edit")
async def create_version(request: Request, slug: str, who: Reader, form: Sent) -> Response:
    try:
        body = filled(NewVersion, {"spec": json_places.read(form.text("spec"))})
        made = (await service.create_version(who.principal, slug, body, form.once)).result
    except Exception as error:
        rows = await service.list_versions(who.principal, slug)
        return _editor(request, who, form.text("spec"), workflow=rows[0], typed=form, problem=problem_of(error))
    return to(f"/workflows/{slug}?version={made['version']}&done=drafted")


@router.get("/workflows/{slug}/stage")
async def show_stage(request: Request, slug: str, who: Reader) -> Response:
    return await _stage(request, who, slug)


@router.post("/workflows/{slug}/stage")
async def change_stage(request: Request, slug: str, who: Reader, form: Sent) -> Response:
    """Drafts the live version once more with another stage; it goes live as every version does."""
    try:
        rows = await service.list_versions(who.principal, slug)
        live = next((row for row in rows if row["status"] == "live"), rows[0])
        body = filled(NewVersion, {"spec": live["spec"] | {"stage": form.text("stage")}})
        made = (await service.create_version(who.principal, slug, body, form.once)).result
    except Exception as error:
        return await _stage(request, who, slug, problem=problem_of(error))
    return to(f"/workflows/{slug}?version={made['version']}&done=drafted")


async def _stage(request: Request, who: Visitor, slug: str, *, problem: Problem | None = None) -> Response:
    rows, record, classes = await asyncio.gather(
        service.list_versions(who.principal, slug),
        service.stage_record(who.principal, slug, DAYS),
        _classes(who, slug),
    )
    names = {each["tool"] for each in record["tools"]} | {each["class"]["tool"] for each in classes}
    return page(
        who, "workflow_stage.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        row=rows[0], record=record, classes=classes, titles=await titles_of(who.principal, names),
    )  # fmt: skip


async def _classes(who: Visitor, slug: str) -> list[dict[str, Any]]:
    if not who.may("exceptions.read"):
        return []
    found = await exceptions.list_classes(who.principal, DAYS, LOOKED_THROUGH)
    return [each for each in found["items"] if each["class"].get("workflow") == slug][:CLASSES]


def _editor(
    request: Request, who: Visitor, text: str, *, workflow: dict[str, Any] | None = None, begun: int | None = None,
    typed: Form | None = None, problem: Problem | None = None,
) -> Response:  # fmt: skip
    """The form of a version. What is wrong in the spec is said with its line, what is wrong beside it at its field."""
    places: list[json_places.Place] = []
    if problem is not None and problem.code != "invalid_json":
        inside = [_into_spec(each) for each in problem.errors if not _is_beside(each)]
        places = json_places.places(text, inside) if inside else []
        problem.errors = [each for each in problem.errors if _is_beside(each)]
    return page(
        who, "workflow_edit.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        text=text, workflow=workflow, begun=begun, typed=typed, places=places,
    )  # fmt: skip


def _is_beside(error: dict[str, Any]) -> bool:
    return str(error.get("pointer")) in ("/slug", "/title", "/environment")


def _into_spec(error: dict[str, Any]) -> dict[str, Any]:
    """An error of a body points into its `spec`; one of the spec itself points into that already."""
    pointer = str(error.get("pointer", ""))
    return error | {"pointer": pointer.removeprefix("/spec") if pointer.startswith("/spec/") else pointer}
