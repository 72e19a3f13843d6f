"""Every page of the dashboard, in one router."""

from fastapi import APIRouter

from api.dashboard import (
    account,
    actions,
    alerts,
    amendments,
    audit,
    connections,
    constitution,
    constitution_drafts,
    constitution_trials,
    controls,
    dead_letters,
    directory,
    exception_page,
    exceptions_inbox,
    kill_switches,
    overview,
    risk,
    runs,
    settings,
    sign_in,
    static_files,
    team,
    workflow_drafts,
    workflows,
)

router = APIRouter(include_in_schema=False)
for part in (
    account,
    actions,
    alerts,
    amendments,
    audit,
    connections,
    constitution,
    constitution_drafts,
    constitution_trials,
    dead_letters,
    controls,
    directory,
    exception_page,
    exceptions_inbox,
    overview,
    risk,
    runs,
    settings,
    team,
    kill_switches,
    sign_in,
    static_files,
    workflows,
    workflow_drafts,
):
    router.include_router(part.router)
