"""The manifest `sandbox_crm` fits the CRM."""

from sandbox.crm.app import SCOPES
from tests.http.sandbox_oauth.flows import Sandbox
from tests.http.sandbox_oauth.manifest_calls import check_tools, manifest


def test_every_tool_works_as_its_manifest_says(crm: Sandbox) -> None:
    provider = manifest("sandbox_crm")
    assert set(provider.scopes("write")) == set(SCOPES)
    message = {
        "to": "piet@juniper.example",
        "subject": "Your refund",
        "body": "It is on its way.",
        "in_reply_to": "msg_001",
    }
    with (
        crm.api(" ".join(provider.scopes("read"))) as read,
        crm.api(" ".join(provider.scopes("write"))) as write,
    ):
        check_tools(
            read,
            write,
            provider,
            [
                ("companies.list", {"query": "juniper"}),
                ("companies.get", {"company_id": "com_juniper"}),
                ("contacts.list", {"query": "piet", "company_id": "com_juniper", "limit": 1}),
                ("contacts.get", {"contact_id": "con_piet"}),
                (
                    "contacts.update",
                    {
                        "contact_id": "con_noor",
                        "version": 1,
                        "phone": "+44 20 5550 0199",
                        "email": "n@o.example",
                    },
                ),
                (
                    "contacts.create",
                    {
                        "company_id": "com_juniper",
                        "name": "Ilse Maas",
                        "email": "ilse@juniper.example",
                        "phone": "+31 20 555 0190",
                        "title": "Planner",
                    },
                ),
                ("deals.list", {"company_id": "com_juniper", "stage": "negotiation"}),
                ("notes.create", {"contact_id": "con_piet", "body": "Asked for a refund."}),
                ("notes.find", {"idempotency_key": "notes.create"}),
                ("messages.list", {"direction": "in", "limit": 10}),
                ("messages.get", {"message_id": "msg_001"}),
                ("messages.send", message),
                ("messages.find", {"marker": "messages.send"}),
                ("contacts.delete", {"contact_id": "con_ruth"}),
            ],
        )
