"""The directory of counterparties."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response

from api.auth import Caller
from api.directory import service
from api.directory.models import (
    Change,
    ChangeDetail,
    ChangeStatus,
    Checked,
    Entry,
    EntryDetail,
    Kind,
    Match,
    NewChange,
    Refused,
    Settings,
    Withdrawal,
)
from api.gate.models import Environment
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("directory")

Looked = Annotated[str | None, Query(min_length=1, max_length=320)]


@router.get("/directory", operation_id="list_directory", response_model=Page[Entry])
async def list_entries(
    caller: Caller,
    page: Paging,
    search: Looked = None,
    environment: Environment | None = None,
    kind: Kind | None = None,
    status: Literal["active", "removed"] = "active",
) -> Any:
    """Entries, newest first: by part of a name, or by an account, address, domain, number or id in full."""
    return await service.list_entries(caller, page, search, environment, kind, status)


@router.get("/directory/match", operation_id="match_directory", response_model=Match)
async def match(
    caller: Caller,
    environment: Environment,
    account: Looked = None,
    email: Looked = None,
    domain: Looked = None,
    name: Looked = None,
) -> Any:
    """What the tenant vouches for, exactly, and its state; and what looks like something known and is not.

    Everything given must belong to one entry. An account is an IBAN, `routing/account` or `other:bank code/account`.
    """
    return await service.match(caller, environment, account=account, email=email, domain=domain, name=name)


@router.get("/directory/settings", operation_id="get_directory_settings", response_model=Settings)
async def get_settings(caller: Caller) -> Any:
    """For how long new bank details cool off before they are trusted."""
    return await service.get_settings(caller)


@router.get("/directory/changes", operation_id="list_directory_changes", response_model=Page[Change])
async def list_changes(caller: Caller, page: Paging, status: ChangeStatus | None = None) -> Any:
    """Proposals and what became of them, newest first."""
    return await service.list_changes(caller, page, status)


@router.post("/directory/changes", status_code=201, operation_id="propose_directory_change", response_model=Change)
async def propose(body: NewChange, caller: Caller, once: Once, response: Response) -> Any:
    """Proposes a change of the directory. Nothing changes until another person approves exactly this."""
    return result_of(await service.propose(caller, body, once), response)


@router.get("/directory/changes/{change_id}", operation_id="get_directory_change", response_model=ChangeDetail)
async def get_change(change_id: UUID, caller: Caller) -> Any:
    """A proposal with its digest, what is there now, and what a checker should look at twice."""
    return await service.get_change(caller, change_id)


@router.post("/directory/changes/{change_id}/approve", operation_id="approve_directory_change", response_model=Change)
async def approve(change_id: UUID, body: Checked, caller: Caller, once: Once, response: Response) -> Any:
    """Does what was proposed: by a person other than its maker, with a second factor, who names the digest they saw."""
    answer = await service.decide(caller, change_id, "approve", body.digest, body.reason, once)
    return result_of(answer, response)


@router.post("/directory/changes/{change_id}/reject", operation_id="reject_directory_change", response_model=Change)
async def reject(change_id: UUID, body: Refused, caller: Caller, once: Once, response: Response) -> Any:
    """Refuses a proposal, and says why."""
    return result_of(await service.decide(caller, change_id, "reject", body.digest, body.reason, once), response)


@router.post("/directory/changes/{change_id}/withdraw", operation_id="withdraw_directory_change", response_model=Change)
async def withdraw(change_id: UUID, body: Withdrawal, caller: Caller, once: Once, response: Response) -> Any:
    """Takes one's own proposal back."""
    return result_of(await service.withdraw(caller, change_id, body.reason, once), response)


@router.get("/directory/{entry_id}", operation_id="get_directory_entry", response_model=EntryDetail)
async def get_entry(entry_id: UUID, caller: Caller) -> Any:
    """An entry, its details and since when each is trusted, and every change that made it what it is."""
    return await service.get_entry(caller, entry_id)
