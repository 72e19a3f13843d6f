"""Drafts of the constitution: written one rule at a time, handed over, and published by a person who read them."""

import asyncio
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Query, Request, Response

from api.constitution import service
from api.constitution.models import DraftStatus, NewDraft, Rejection, Verdict, Withdrawal
from api.dashboard import rule_form
from api.dashboard.constitution import colleagues, sheet_of
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.pagination import Paging

router = page_router()
DRAFTS = "/constitution/drafts"
#: What is shown of a list at once.
SHOWN = 30
RuleId = Annotated[str, Query(max_length=100)]


@router.get(DRAFTS)
async def show_drafts(request: Request, who: Reader, paging: Paging, status: DraftStatus | None = None) -> Response:
    paging.limit = min(paging.limit, SHOWN)
    listed, members = await asyncio.gather(service.list_drafts(who.principal, paging, status), colleagues(who))
    return page(who, "constitution_drafts.html", request=request, listed=listed, only=status, members=members)


@router.get(f"{DRAFTS}/new")
async def show_new(request: Request, who: Reader, rule: RuleId = "", library: RuleId = "") -> Response:
    """Asks why the rules are to change. rule, library: what is edited first."""
    return await _new(request, who, rule, library)


@router.post(DRAFTS)
async def create(request: Request, who: Reader, form: Sent) -> Response:
    """A draft of one's own that says what is in force, to be changed rule by rule."""
    rule, library = form.text("rule"), form.text("library")
    try:
        now = await service.get_version(who.principal)
        given = {"rules": now["rules"], "reason": form.text("reason"), "base_version": now["version"]}
        made = (await service.create_draft(who.principal, filled(NewDraft, given), form.once)).result
    except Exception as error:
        return await _new(request, who, rule, library, typed=form, problem=problem_of(error))
    at = f"{DRAFTS}/{made['id']}"
    if rule or library:
        return to(f"{at}/rule?{'rule' if rule else 'library'}={quote(rule or library, safe='')}")
    return to(f"{at}?done=rules_drafted")


@router.get(f"{DRAFTS}/{{draft_id:uuid}}")
async def show_draft(
    request: Request, draft_id: UUID, who: Reader, sheet: Annotated[int, Query(ge=1, le=100)] = 1
) -> Response:
    """What changes, whether it holds together, and what can be done with it."""
    return await _draft(request, who, draft_id, sheet=sheet)


@router.post(f"{DRAFTS}/{{draft_id:uuid}}/reason")
async def change_reason(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        draft = await service.get_draft(who.principal, draft_id)
        await _write(who, draft, draft["rules"], form, reason=form.text("reason"))
    except Exception as error:
        return await _draft(request, who, draft_id, typed=form, problem=problem_of(error))
    return to(f"{DRAFTS}/{draft_id}?done=rules_saved")


@router.get(f"{DRAFTS}/{{draft_id:uuid}}/rule")
async def show_rule(
    request: Request, draft_id: UUID, who: Reader, rule: RuleId = "", library: RuleId = ""
) -> Response:  # fmt: skip
    """The editor of one rule: of the draft, of the library to be added, or a new one."""
    draft = await service.get_draft(who.principal, draft_id)
    document, was = _chosen(draft, rule, library)
    return await _editor(request, who, draft, document, was)


@router.post(f"{DRAFTS}/{{draft_id:uuid}}/rule")
async def save_rule(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    """Writes one rule into the draft; only looks at it when that is the button that was pressed."""
    draft = await service.get_draft(who.principal, draft_id)
    document, was, rules = _placed(draft, form)
    try:
        checked = await service.validate(who.principal, rules)
        if form.text("go") == "check":
            return await _editor(request, who, draft, document, was, checked=checked)
        _require_sound(checked)
        await _write(who, draft, rules, form)
    except Exception as error:
        return await _editor(request, who, draft, document, was, problem=problem_of(error))
    return to(f"{DRAFTS}/{draft_id}?done=rules_saved")


@router.post(f"{DRAFTS}/{{draft_id:uuid}}/check")
async def check(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    """The fragment beside the editor: what is wrong with the rule as it is typed, and what it changes."""
    draft = await service.get_draft(who.principal, draft_id)
    document, _, rules = _placed(draft, form)
    checked = await service.validate(who.principal, rules)
    return page(who, "constitution_check.html", request=request, checked=checked, rule=document)


@router.post(f"{DRAFTS}/{{draft_id:uuid}}/remove")
async def remove(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        draft = await service.get_draft(who.principal, draft_id)
        left = [rule for rule in draft["rules"] if rule["id"] != form.text("rule")]
        await _write(who, draft, left, form)
    except Exception as error:
        return await _draft(request, who, draft_id, problem=problem_of(error))
    return to(f"{DRAFTS}/{draft_id}?done=rules_saved")


@router.post(f"{DRAFTS}/{{draft_id:uuid}}/submit")
async def submit(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        await service.submit(who.principal, draft_id, form.once)
    except Exception as error:
        return await _draft(request, who, draft_id, problem=problem_of(error))
    return to(f"{DRAFTS}/{draft_id}?done=rules_submitted")


@router.post(f"{DRAFTS}/{{draft_id:uuid}}/decision")
async def decide(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    """Publishes exactly what was read, or rejects it with a reason."""
    publish = form.text("verdict") == "publish"
    try:
        given = {"digest": form.text("digest"), "reason": form.text("reason")}
        body: Verdict | Rejection = filled(Verdict, given) if publish else filled(Rejection, given)
        who = await stepped_up(who, form, request)
        verdict = "publish" if publish else "reject"
        await service.decide(who.principal, draft_id, verdict, body.digest, body.reason, form.once)
    except Exception as error:
        return await _draft(request, who, draft_id, typed=form, problem=problem_of(error))
    return to(f"{DRAFTS}/{draft_id}?done={'rules_published' if publish else 'rules_rejected'}")


@router.post(f"{DRAFTS}/{{draft_id:uuid}}/withdraw")
async def withdraw(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        body = filled(Withdrawal, {"reason": form.text("reason")})
        await service.withdraw(who.principal, draft_id, body.reason, form.once)
    except Exception as error:
        return await _draft(request, who, draft_id, typed=form, problem=problem_of(error))
    return to(f"{DRAFTS}/{draft_id}?done=rules_withdrawn")


def _chosen(draft: dict[str, Any], rule: str, library: str) -> tuple[dict[str, Any], str]:
    """The rule to edit, and the id that it has in the draft; '' of one that is not in it. Raises Problem 404."""
    for each in draft["rules"]:
        if rule and each["id"] == rule:
            return each, rule
    for ready in service.list_library(None):
        if library and ready.rule.id == library:
            return ready.rule.model_dump(mode="json"), ""
    if rule or library:
        raise Problem(404, "not_found", "There is no such rule in this draft, or in the library.")
    return rule_form.BLANK, ""


def _placed(draft: dict[str, Any], form: Form) -> tuple[dict[str, Any], str, list[dict[str, Any]]]:
    """The rule of the form, the id that it had in the draft, and the draft's rules with it in its place, or last."""
    was = form.text("was")
    before = next((each for each in draft["rules"] if each["id"] == was), None)
    if before is None and (library := form.text("library")):
        before = _chosen(draft, "", library)[0]
    document = rule_form.document(form, before)
    if not any(each["id"] == was for each in draft["rules"]):
        return document, "", [*draft["rules"], document]
    return document, was, [document if each["id"] == was else each for each in draft["rules"]]


def _require_sound(checked: dict[str, Any]) -> None:
    if checked["errors"]:
        errors = [{"pointer": fault.pointer, "message": fault.message} for fault in checked["errors"][:20]]
        raise Problem(422, "invalid_rules", "The rule cannot be saved as it is.", errors)


async def _write(
    who: Visitor, draft: dict[str, Any], rules: list[dict[str, Any]], form: Form, reason: str | None = None
) -> None:
    """Writes the draft anew; what was changed elsewhere since the page was made is not overwritten."""
    given = {
        "rules": rules, "base_version": draft["base_version"], "reason": draft["reason"] if reason is None else reason
    }  # fmt: skip
    await service.change_draft(who.principal, draft["id"], filled(NewDraft, given), [form.text("revision")])


async def _new(
    request: Request, who: Visitor, rule: str, library: str, *, typed: Form | None = None,
    problem: Problem | None = None,
) -> Response:  # fmt: skip
    return page(
        who, "constitution_draft_new.html", request=request, status=problem.status_code if problem else 200,
        problem=problem, typed=typed, rule=rule, library=library,
    )  # fmt: skip


async def _editor(
    request: Request, who: Visitor, draft: dict[str, Any], rule: dict[str, Any], was: str, *,
    checked: dict[str, Any] | None = None, problem: Problem | None = None,
) -> Response:  # fmt: skip
    origin = rule.get("origin") or {}
    library = origin.get("ref", "") if not was and origin.get("kind") == "library" else ""
    return page(
        who, "constitution_rule.html", request=request, status=problem.status_code if problem else 200,
        problem=problem, draft=draft, rule=rule, was=was, checked=checked, library=library,
        wrong=_by_field(problem),
    )  # fmt: skip


def _by_field(problem: Problem | None) -> dict[str, str]:
    """The first thing that is wrong with each field of the editor."""
    found: dict[str, str] = {}
    for each in (problem.errors if problem else None) or []:
        parts = str(each.get("pointer", "")).split("/")
        if len(parts) > 3 and parts[1] == "rules":
            name = parts[4] if parts[3] == "bounds" and len(parts) > 4 else parts[3]
            found.setdefault(name, each["message"])
    return found


async def _draft(
    request: Request, who: Visitor, draft_id: UUID, *, sheet: int = 1, typed: Form | None = None,
    problem: Problem | None = None,
) -> Response:  # fmt: skip
    draft, newest, members = await asyncio.gather(
        service.get_draft(who.principal, draft_id), service.history(who.principal, None, 1), colleagues(who)
    )
    in_force, is_open = newest[0]["version"], draft["status"] in ("draft", "in_review")
    current = is_open and draft["base_version"] == in_force
    # What was decided, or is outdated, is shown beside what it was written against.
    checked = await (
        service.validate(who.principal, draft["rules"]) if current else service.compare_draft(who.principal, draft_id)
    )
    return page(
        who, "constitution_draft.html", request=request, status=problem.status_code if problem else 200,
        problem=problem, typed=typed, draft=draft, in_force=in_force, is_open=is_open, current=current,
        checked={"errors": [], "warnings": []} | checked, members=members, own=draft["author"] == who.user_id,
        **sheet_of(draft["rules"], "", sheet),
    )  # fmt: skip
