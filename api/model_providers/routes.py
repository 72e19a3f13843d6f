"""Model providers: whom a tenant's workflows may ask to think."""

from typing import Any
from uuid import UUID

from fastapi import Response

from api.auth import Caller
from api.idempotency import Once, result_of
from api.model_providers import service
from api.model_providers.models import ModelProvider, ModelProviderChange, NewModelProvider
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("model providers")


@router.post("/model-providers", status_code=201, operation_id="register_model_provider", response_model=ModelProvider)
async def register_model_provider(body: NewModelProvider, caller: Caller, once: Once, response: Response) -> Any:
    """Registers a provider with its key, which is sealed and never shown: a person, with a second factor.

    A provider that trains on what it is sent is refused.
    """
    return result_of(await service.register(caller, body, once), response)


@router.get("/model-providers", operation_id="list_model_providers", response_model=Page[ModelProvider])
async def list_model_providers(caller: Caller, page: Paging) -> Any:
    """Every provider, newest first, the revoked ones too."""
    return await service.list_all(caller, page)


@router.get("/model-providers/{provider_id}", operation_id="get_model_provider", response_model=ModelProvider)
async def get_model_provider(provider_id: UUID, caller: Caller) -> Any:
    """One provider."""
    return await service.get(caller, provider_id)


@router.patch("/model-providers/{provider_id}", operation_id="change_model_provider", response_model=ModelProvider)
async def change_model_provider(
    provider_id: UUID, body: ModelProviderChange, caller: Caller, once: Once, response: Response
) -> Any:
    """Changes what is named, or takes a new key in the place of the old one, which is destroyed at once."""
    return result_of(await service.change(caller, provider_id, body, once), response)


@router.delete("/model-providers/{provider_id}", operation_id="revoke_model_provider", response_model=ModelProvider)
async def revoke_model_provider(provider_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Ends a provider at once: its key is destroyed, and no call of it begins any more."""
    return result_of(await service.revoke(caller, provider_id, once), response)
