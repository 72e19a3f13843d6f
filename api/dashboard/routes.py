"""Every page of the dashboard, in one router."""

from fastapi import APIRouter

from api.dashboard import (
    account,
    amendments,
    connections,
    constitution,
    constitution_drafts,
    constitution_trials,
    exception_page,
    exceptions_inbox,
    risk,
    settings,
    sign_in,
    static_files,
    team,
)

router = APIRouter(include_in_schema=False)
for part in (
    account,
    amendments,
    connections,
    constitution,
    constitution_drafts,
    constitution_trials,
    exception_page,
    exceptions_inbox,
    risk,
    settings,
    team,
    sign_in,
    static_files,
):
    router.include_router(part.router)
