"""Orders that the tests give the bank, and what they read back."""

from typing import Any

import httpx

from sandbox.bank.app import SCOPES
from sandbox.bank.seed import IBANS

EVERYTHING = " ".join(SCOPES)


def order(**changes: Any) -> dict[str, Any]:
    """A payment of EUR 1.00 that matches no bill."""
    return {
        "from_account": "acc_operating",
        "to_iban": IBANS["kestrel"],
        "to_name": "Kestrel Software Ltd",
        "amount": 100,
        "currency": "EUR",
        "reference": "TEST",
    } | changes


def pay(api: httpx.Client, key: str, **changes: Any) -> httpx.Response:
    return api.post("/v1/payments", json=order(**changes), headers={"Idempotency-Key": key})


def balance(api: httpx.Client, account: str = "acc_operating") -> int:
    return int(api.get(f"/v1/accounts/{account}/balance").json()["balance"])


def payments(api: httpx.Client, key: str | None = None) -> list[dict[str, Any]]:
    params = {"limit": "100"} | ({} if key is None else {"idempotency_key": key})
    found: list[dict[str, Any]] = api.get("/v1/payments", params=params).json()["payments"]
    return found
