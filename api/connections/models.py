"""Connections as the API shows them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from api.gate.models import Access, Environment, Strict


class NewConnection(Strict):
    provider: str
    environment: Environment
    access: Access


class ConnectionStarted(BaseModel):
    """Send the person to `authorize_url`, in the browser that keeps this answer's cookie."""

    id: UUID
    status: str
    authorize_url: str


class Connection(BaseModel):
    id: UUID
    provider: str
    environment: Environment
    access: Access
    status: str
    status_reason: str | None
    scopes_requested: list[str]
    scopes_granted: list[str]
    account: dict[str, Any]
    created_at: datetime
