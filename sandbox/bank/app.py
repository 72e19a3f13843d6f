"""The sandbox bank's application."""

from pathlib import Path

from fastapi import FastAPI

from sandbox.bank import accounts, transfers
from sandbox.bank.seed import ACCOUNT_ID, ACCOUNT_NAME, SCHEMA, seed
from sandbox.oauth.server import Kind, build

SCOPES = {
    "accounts:read": "See your accounts and their balances",
    "transactions:read": "See what was booked on your accounts",
    "bills:read": "See your vendors' bills",
    "payments:read": "See payments and refunds you have made",
    "payments:write": "Pay money from your accounts",
    "refunds:write": "Pay money back to your customers",
}

KIND = Kind(
    name="bank",
    title="Sandbox Bank",
    account_id=ACCOUNT_ID,
    account_name=ACCOUNT_NAME,
    scopes=SCOPES,
    schema=SCHEMA,
    routers=(accounts.router, transfers.router),
    seed=seed,
)


def create_app(state: Path, public_url: str, redirect_uris: list[str], *, access_seconds: int = 300) -> FastAPI:
    """The bank over `<state>/sandbox_bank.sqlite3`, seeded if new; `public_url` is its address and issuer."""
    return build(KIND, state, public_url, redirect_uris, access_seconds=access_seconds)
