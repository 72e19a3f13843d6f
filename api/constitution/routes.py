"""The constitution."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Response

from api.auth import Caller
from api.constitution import service
from api.constitution.library import Area, Ready
from api.constitution.models import (
    Constitution,
    ConstitutionSummary,
    Difference,
    Draft,
    DraftStatus,
    NewConstitution,
    NewDraft,
    Rebase,
    Rebasing,
    Rejection,
    Restoration,
    RuleAge,
    Simulated,
    Simulation,
    Unchecked,
    Validation,
    Verdict,
    Withdrawal,
)
from api.errors import documented
from api.etag import IfMatch, tagged
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("constitution")
DRAFTS = "/constitution/drafts"
Number = Annotated[int, Path(ge=1)]


@router.get("/constitution", operation_id="get_constitution", response_model=Constitution)
async def get_constitution(caller: Caller) -> Any:
    """The constitution in force."""
    return await service.get_version(caller)


@router.get("/constitution/history", operation_id="list_constitution_history", response_model=Page[ConstitutionSummary])
async def list_history(caller: Caller, page: Paging) -> Any:
    """Every version without its rules, newest first: who wrote and published it, why, and whether it widened."""
    return page.page(await service.history(caller, page.before(), page.limit + 1), "version")


@router.get("/constitution/since", operation_id="list_constitution_rule_ages", response_model=list[RuleAge])
async def list_rule_ages(caller: Caller) -> Any:
    """Since which version each rule in force says what it says."""
    return list((await service.since(caller)).values())


@router.get("/constitution/versions", operation_id="list_constitution_versions", response_model=list[Constitution])
async def list_versions(caller: Caller) -> Any:
    """The versions of the constitution, newest first."""
    return await service.list_versions(caller, 200)


@router.post(
    "/constitution/versions",
    status_code=201,
    operation_id="publish_constitution",
    response_model=Constitution,
    responses=documented(412),
)
async def publish(body: NewConstitution, caller: Caller, once: Once, response: Response) -> Any:
    """Publishes the next version, which is in force at once and never changes; 412 when another came first.

    Only what lets nothing more happen without a person than the version in force: anything else answers 409
    `second_person_needed`, and goes by a draft that somebody else publishes.
    """
    return result_of(await service.publish(caller, body, once), response)


@router.get("/constitution/versions/{number}", operation_id="get_constitution_version", response_model=Constitution)
async def get_version(number: Number, caller: Caller) -> Any:
    """One version."""
    return await service.get_version(caller, number)


@router.get(
    "/constitution/versions/{number}/diff", operation_id="compare_constitution_versions", response_model=Difference
)
async def compare(
    number: Number, caller: Caller, other: Annotated[int | None, Query(alias="with", ge=1)] = None
) -> Any:
    """What a version lets happen beyond another one, rule by rule: beyond the one in force, unless told otherwise."""
    return await service.compare(caller, number, other)


@router.post(
    "/constitution/versions/{number}/restore",
    status_code=201,
    operation_id="restore_constitution_version",
    response_model=Draft,
)
async def restore(number: Number, body: Restoration, caller: Caller, once: Once, response: Response) -> Any:
    """Drafts an older version anew; it is submitted and published like any other draft."""
    return result_of(await service.restore(caller, number, body.reason, once), response)


@router.post("/constitution/validate", operation_id="validate_constitution", response_model=Validation)
async def validate(body: Unchecked, caller: Caller) -> Any:
    """What is wrong with rules, what is odd about them, and what they let happen beyond those in force."""
    return await service.validate(caller, body.rules)


@router.post("/constitution/simulate", operation_id="simulate_constitution", response_model=Simulated)
async def simulate(body: Simulation, caller: Caller) -> Any:
    """The decision on a proposal under the rules in force and under others: those given, or a draft's.

    On the same facts, at the same moment; nothing is recorded, and nothing happens.
    """
    return await service.simulate(caller, body)


@router.get("/constitution/library", operation_id="list_constitution_library", response_model=list[Ready])
async def list_library(caller: Caller, area: Area | None = None) -> Any:
    """Rules that are ready to be taken over, each with the principle that it stands for."""
    return service.list_library(area)


@router.get(DRAFTS, operation_id="list_constitution_drafts", response_model=Page[Draft])
async def list_drafts(caller: Caller, page: Paging, status: DraftStatus | None = None) -> Any:
    """Drafts and what became of them, newest first."""
    return await service.list_drafts(caller, page, status)


@router.post(
    DRAFTS,
    status_code=201,
    operation_id="create_constitution_draft",
    response_model=Draft,
    responses=documented(412),
)
async def create_draft(body: NewDraft, caller: Caller, once: Once, response: Response) -> Any:
    """Writes the whole of a next version as a draft; 412 unless it is written against the version in force."""
    answer = await service.create_draft(caller, body, once)
    tagged(str(answer.result["revision"]), response)
    return result_of(answer, response)


@router.get(f"{DRAFTS}/{{draft_id}}", operation_id="get_constitution_draft", response_model=Draft)
async def get_draft(draft_id: UUID, caller: Caller, response: Response) -> Any:
    """A draft, with the digest that its publisher names and the ETag that its author changes it by."""
    draft = await service.get_draft(caller, draft_id)
    tagged(str(draft["revision"]), response)
    return draft


@router.put(
    f"{DRAFTS}/{{draft_id}}",
    operation_id="change_constitution_draft",
    response_model=Draft,
    responses=documented(412, 428),
)
async def change_draft(draft_id: UUID, body: NewDraft, caller: Caller, if_match: IfMatch, response: Response) -> Any:
    """Writes one's own draft anew, until it is submitted."""
    draft = await service.change_draft(caller, draft_id, body, if_match)
    tagged(str(draft["revision"]), response)
    return draft


@router.get(f"{DRAFTS}/{{draft_id}}/diff", operation_id="compare_constitution_draft", response_model=Difference)
async def compare_draft(draft_id: UUID, caller: Caller) -> Any:
    """What a draft lets happen beyond the version that it was written against, rule by rule."""
    return await service.compare_draft(caller, draft_id)


@router.get(f"{DRAFTS}/{{draft_id}}/rebase", operation_id="preview_constitution_rebase", response_model=Rebase)
async def preview_rebase(draft_id: UUID, caller: Caller) -> Any:
    """What an overtaken draft would say on top of the version in force, and which rules both have changed."""
    return await service.preview_rebase(caller, draft_id)


@router.post(
    f"{DRAFTS}/{{draft_id}}/rebase",
    operation_id="rebase_constitution_draft",
    response_model=Draft,
    responses=documented(412),
)
async def rebase(draft_id: UUID, body: Rebasing, caller: Caller, once: Once, response: Response) -> Any:
    """Brings one's own overtaken draft up to the version in force; 409 `conflicts` until each is decided in `keep`.

    One that was submitted does not change: a new draft takes its place, and it is withdrawn.
    """
    answer = await service.rebase(caller, draft_id, body, once)
    tagged(str(answer.result["revision"]), response)
    return result_of(answer, response)


@router.post(f"{DRAFTS}/{{draft_id}}/submit", operation_id="submit_constitution_draft", response_model=Draft)
async def submit(draft_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Hands one's own draft to whoever publishes it; from here on it does not change."""
    return result_of(await service.submit(caller, draft_id, once), response)


@router.post(
    f"{DRAFTS}/{{draft_id}}/publish",
    operation_id="publish_constitution_draft",
    response_model=Draft,
    responses=documented(412),
)
async def publish_draft(draft_id: UUID, body: Verdict, caller: Caller, once: Once, response: Response) -> Any:
    """Publishes exactly the draft that was read: the next version, in force at once.

    A person with a second factor does, and somebody else than its author where it widens.
    """
    answer = await service.decide(caller, draft_id, "publish", body.digest, body.reason, once)
    return result_of(answer, response)


@router.post(f"{DRAFTS}/{{draft_id}}/reject", operation_id="reject_constitution_draft", response_model=Draft)
async def reject(draft_id: UUID, body: Rejection, caller: Caller, once: Once, response: Response) -> Any:
    """Refuses a draft in review, and says why: somebody other than its author."""
    return result_of(await service.decide(caller, draft_id, "reject", body.digest, body.reason, once), response)


@router.post(f"{DRAFTS}/{{draft_id}}/withdraw", operation_id="withdraw_constitution_draft", response_model=Draft)
async def withdraw(draft_id: UUID, body: Withdrawal, caller: Caller, once: Once, response: Response) -> Any:
    """Takes one's own draft back for good."""
    return result_of(await service.withdraw(caller, draft_id, body.reason, once), response)
