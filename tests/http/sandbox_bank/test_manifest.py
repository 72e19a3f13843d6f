"""The manifest `sandbox_bank` fits the bank."""

import httpx

from sandbox.bank.app import SCOPES
from sandbox.bank.seed import IBANS
from tests.http.sandbox_bank.orders import order, pay
from tests.http.sandbox_oauth.flows import Sandbox
from tests.http.sandbox_oauth.manifest_calls import check_tools, manifest


def test_every_tool_works_as_its_manifest_says(bank: Sandbox) -> None:
    provider = manifest("sandbox_bank")
    bill = {
        "to_iban": IBANS["northwind"],
        "to_name": "Northwind Paper GmbH",
        "amount": 129_900,
        "reference": "INV-1042",
    }
    with (
        bank.api(" ".join(provider.scopes("read"))) as read,
        bank.api(" ".join(provider.scopes("write"))) as write,
    ):
        earlier = pay(write, "earlier", amount=1).json()["id"]
        check_tools(
            read,
            write,
            provider,
            [
                ("accounts.list", {}),
                ("accounts.balance", {"account_id": "acc_operating"}),
                ("transactions.list", {"account_id": "acc_operating", "direction": "in", "limit": 5}),
                ("bills.list", {"status": "open", "limit": 100}),
                ("bills.get", {"bill_id": "bill_1042"}),
                ("payments.create", order(**bill)),
                ("payments.get", {"payment_id": earlier}),
                ("payments.find", {"idempotency_key": "earlier"}),
                ("refunds.create", order(to_iban=IBANS["juniper"], transaction_id="txn_0003")),
                ("refunds.find", {"idempotency_key": "refunds.create"}),
            ],
        )


def test_the_manifest_names_the_banks_own_endpoints_and_scopes(bank: Sandbox) -> None:
    provider = manifest("sandbox_bank")
    told = httpx.get(f"{bank.url}/.well-known/oauth-authorization-server").json()
    assert provider.oauth.authorize_url.replace("{api}", bank.url) == told["authorization_endpoint"]
    assert provider.oauth.token_url.replace("{api}", bank.url) == told["token_endpoint"]
    assert provider.oauth.revoke is not None
    assert provider.oauth.revoke.url.replace("{api}", bank.url) == told["revocation_endpoint"]
    assert str(provider.oauth.issuer).replace("{api}", bank.url) == told["issuer"]
    assert provider.oauth.client_authentication in told["token_endpoint_auth_methods_supported"]
    assert set(provider.scopes("write")) == set(SCOPES)
