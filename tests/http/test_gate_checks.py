"""What the gate looks at, over HTTP: payees by the directory, messages by what was reviewed, data by its class."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.organisation import Organisation
from tests.http.integrator import (
    NOTE,
    PAY,
    WRITES_NOTES,
    Agent,
    access_spec,
    at_work,
    new_organisation,
    note,
    payment,
    vouched_for,
)
from tests.http.world import World

SEND = "sandbox_crm.messages.send"
VENDOR, IBAN, OTHER_IBAN = "Kestrel Software Ltd", "NL91ABNA0417164300", "GB29NWBK60161331926819"
THANKS = "Thank you, {name}. Bill {bill} is paid."


@pytest.fixture(scope="module")
def company(world: World) -> Organisation:
    """An organisation that vouches for one vendor, and whose workflow may thank people of two domains."""
    company = new_organisation(world)
    spec = access_spec(company, counterparty_approvals=2, insiders=["@ours.example"])
    outbound = {"recipients": ["@kestrel.example"], "templates": [THANKS, "Paid"]}
    spec["tools"][SEND] = WRITES_NOTES | {"outbound": outbound}
    company.go_live("pay-vendor-bills", "Pay vendor bills", spec)
    vouched_for(company, VENDOR, {"type": "bank_account", "iban": IBAN})
    return company


@pytest.fixture
def agent(company: Organisation) -> Iterator[Agent]:
    with at_work(company) as working:
        yield working


def said(action: dict[str, Any], check: str) -> list[str]:
    """What one check says, outcome and message together."""
    return [f"{f['outcome']}: {f['message']}" for f in action["decision"]["findings"] if f["check"] == check]


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ({"to_iban": IBAN, "to_name": VENDOR}, ["escalate: ", "cooling off until"]),
        ({"to_iban": OTHER_IBAN, "to_name": VENDOR}, ["escalate: CHANGED BANK DETAILS", VENDOR]),
        ({"to_iban": OTHER_IBAN, "to_name": "Nobody Known"}, ["escalate: A new payee"]),
        ({"to_iban": OTHER_IBAN, "to_name": "Kestre1 Software Ltd"}, ["escalate: ", "looks like", VENDOR]),
    ],
    ids=["cooling off", "changed", "new", "alike"],
)
def test_a_payee_that_is_not_vouched_for_takes_two(agent: Agent, to: dict[str, Any], told: list[str]) -> None:
    action = agent.propose(PAY, payment(**to))
    messages = "\n".join(said(action, "counterparty"))
    assert all(part in messages for part in told), messages
    assert action["status"] == "awaiting_approval"
    assert action["decision"]["required_approvals"]["count"] == 2
    assert "new_counterparty" in {factor["name"] for factor in action["decision"]["risk"]["factors"]}


def test_our_own_account_is_no_payee(agent: Agent) -> None:
    assert "acc_operating" not in str(said(agent.propose(PAY, payment()), "counterparty"))


@pytest.mark.parametrize(
    ("to", "body", "outcome"),
    [
        ("ada@ours.example", "Whatever I like", "allow"),
        ("ada@kestrel.example", "Thank you, Ada. Bill INV-1 is paid.", "allow"),
        ("ada@kestrel.example", "Thank you, Ada. Bill INV-1 is paid. Call me!", "escalate"),
        ("eve@elsewhere.example", "Thank you, Ada. Bill INV-1 is paid.", "escalate"),
    ],
)
def test_a_message_to_an_outsider_is_a_draft_until_it_is_read(agent: Agent, to: str, body: str, outcome: str) -> None:
    action = agent.propose(SEND, {"to": to, "subject": "Paid", "body": body})
    assert {message.partition(":")[0] for message in said(action, "outbound")} == {outcome}
    assert outcome == "allow" or action["status"] == "awaiting_approval"


def test_credentials_go_nowhere_and_are_not_told(agent: Agent) -> None:
    secret = "AKIAIOSFODNN7EXAMPLE"
    action = agent.propose(NOTE, note(f"their key is {secret}"))
    assert action["status"] == "denied"
    assert said(action, "data_class") == [
        "deny: This holds an access key of AWS. Credentials are never sent.",
    ]
    assert secret not in str(action["decision"])


def test_what_was_read_goes_where_its_class_may_go(agent: Agent) -> None:
    bill = agent.observe()["result"]["bills"][0]
    account = " ".join(bill["iban"][at : at + 4] for at in range(0, len(bill["iban"]), 4)).lower()
    action = agent.propose(NOTE, note(f"They are paid to {account}"))
    assert action["status"] == "awaiting_approval"
    [message] = [m for m in said(action, "data_class") if "observation" in m]
    assert message.startswith("escalate: This carries financial data, from /bills/0/iban of observation")
    assert bill["iban"] not in message
    # The tool for payments is given that class.
    paid = agent.propose(PAY, payment(to_iban=bill["iban"]))
    assert said(paid, "data_class") == ["allow: It carries financial data, which may go there."]
