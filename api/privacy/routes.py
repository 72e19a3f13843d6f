"""Erasure on request (GDPR article 17)."""

from typing import Any
from uuid import UUID

from fastapi import Response

from api.auth import Caller
from api.idempotency import Once, result_of
from api.privacy import service
from api.privacy.models import Erasure, NewErasure
from api.routing import slice_router

router = slice_router("privacy")


@router.post("/erasures", status_code=201, operation_id="create_erasure", response_model=Erasure)
async def create_erasure(body: NewErasure, caller: Caller, once: Once, response: Response) -> Any:
    """Has every run erased that is about a person, within a day or as soon as nothing in it is open."""
    return result_of(await service.request(caller, body, once), response)


@router.get("/erasures/{erasure_id}", operation_id="get_erasure", response_model=Erasure)
async def get_erasure(erasure_id: UUID, caller: Caller) -> Any:
    """A request for erasure, and how far each of its runs is."""
    return await service.get(caller, erasure_id)
