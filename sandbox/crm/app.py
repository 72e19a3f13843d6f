"""The sandbox CRM's application."""

from pathlib import Path

from fastapi import FastAPI

from sandbox.crm import contacts, messages, records, webhooks
from sandbox.crm.seed import ACCOUNT_ID, ACCOUNT_NAME, SCHEMA, seed
from sandbox.oauth.files import admin_token
from sandbox.oauth.server import Kind, build

SCOPES = {
    "companies:read": "See the companies you do business with",
    "contacts:read": "See your contacts and their addresses",
    "deals:read": "See your deals",
    "notes:read": "See the notes on your contacts",
    "messages:read": "Read your inbox and what was sent from it",
    "contacts:write": "Change and delete contacts",
    "notes:write": "Add notes to contacts",
    "messages:send": "Send messages to customers in your name",
}

KIND = Kind(
    name="crm",
    title="Sandbox CRM",
    account_id=ACCOUNT_ID,
    account_name=ACCOUNT_NAME,
    scopes=SCOPES,
    schema=SCHEMA + webhooks.SCHEMA,
    routers=(records.router, contacts.router, messages.router),
    seed=seed,
    working=webhooks.sending,
)


def create_app(state: Path, public_url: str, redirect_uris: list[str], *, access_seconds: int = 300) -> FastAPI:
    """The CRM over `<state>/sandbox_crm.sqlite3`, seeded if new; `public_url` is its address and issuer."""
    app = build(KIND, state, public_url, redirect_uris, access_seconds=access_seconds)
    app.include_router(webhooks.admin_routes(admin_token(state, KIND.name)))
    return app
