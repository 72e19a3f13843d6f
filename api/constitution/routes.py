"""The constitution."""

from typing import Any

from fastapi import Response

from api.auth import Caller
from api.constitution import service
from api.constitution.models import Constitution, NewConstitution
from api.errors import documented
from api.idempotency import Once, result_of
from api.routing import slice_router

router = slice_router("constitution")


@router.get("/constitution", operation_id="get_constitution", response_model=Constitution)
async def get_constitution(caller: Caller) -> Any:
    """The constitution in force."""
    return (await service.list_versions(caller, 1))[0]


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
    """Publishes the next version, which is in force at once and never changes; 412 when another came first."""
    return result_of(await service.publish(caller, body, once), response)
