"""The router that every slice uses: strict bodies, documented problems."""

from fastapi import APIRouter

from api.body import StrictRoute
from api.errors import RESPONSES


def slice_router(tag: str) -> APIRouter:
    """A router under `/v1` whose operations document the problems that every call can answer with."""
    return APIRouter(prefix="/v1", tags=[tag], route_class=StrictRoute, responses=RESPONSES)
