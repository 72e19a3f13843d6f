"""An integrator's side of the API: a workflow to run, an agent that observes and proposes, people who decide."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from sandbox.organisation import AGENT_SCOPES, Member, Organisation, admit, found, ok, once, sign_up
from tests.http.world import World

CONNECTED = (("sandbox_bank", "read"), ("sandbox_bank", "write"), ("sandbox_crm", "read"), ("sandbox_crm", "write"))
INSTRUCTION = "Pay what is due, and note on con_ada and con_piet that they were called back."
PAY, NOTE = "sandbox_bank.payments.create", "sandbox_crm.notes.create"
#: A grant to write notes alone: a note cannot be unwritten, and the spec says so.
WRITES_NOTES = {"access": "write", "data_classes": ["personal", "internal"], "irreversible_alone": True}


def access_spec(organisation: Organisation, **changes: Any) -> dict[str, Any]:
    """An access spec that reads bills, pays from one account and writes notes; with `changes` of its members."""
    bill = ("id", "iban", "amount", "currency", "reference")
    spec: dict[str, Any] = {
        "purpose": "Pay vendor bills that are due",
        "owner": organisation.owner.email,
        "escalation_contact": organisation.approver.email,
        "stage": "autonomous",
        "connections": organisation.bindings(),
        "tools": {
            "sandbox_bank.bills.list": {"access": "read", "read_fields": [f"/bills/*/{name}" for name in bill]},
            "sandbox_bank.payments.find": {"access": "read", "read_fields": ["/payments/*/id", "/payments/*/amount"]},
            "sandbox_crm.messages.list": {"access": "read", "read_fields": ["/messages/*/id", "/messages/*/body"]},
            PAY: {
                "access": "write",
                "records": {"/from_account": ["acc_operating"]},
                "data_classes": ["financial", "personal", "internal"],
            },
            NOTE: WRITES_NOTES,
        },
        "value_max": {"EUR": 500000},
        "data_classes": ["financial", "personal", "internal"],
        "retention": {"personal": 90},
        "counterparty_approvals": 1,
    }
    return spec | changes


def payment(amount: int = 1250, **changes: Any) -> dict[str, Any]:
    """Arguments of a payment to a vendor, in cents."""
    args = {
        "from_account": "acc_operating", "to_iban": "DE94000123450532013000", "to_name": "Northwind Paper GmbH",
        "amount": amount, "currency": "EUR", "reference": "INV-2001",
    }  # fmt: skip
    return args | changes


def note(body: str = "Called back", **changes: Any) -> dict[str, Any]:
    return {"contact_id": "con_ada", "body": body} | changes


@dataclass
class Agent:
    """The service account at work in one workflow."""

    api: httpx.Client
    workflow: str
    run_id: str = ""

    def start(self) -> dict[str, Any]:
        """Starts a run, in which everything that follows happens."""
        body = {"workflow": self.workflow, "instruction": INSTRUCTION}
        run: dict[str, Any] = ok(self.api.post("/v1/runs", json=body, headers=once()))
        self.run_id = run["id"]
        return run

    def observe(self, tool: str = "sandbox_bank.bills.list", **body: Any) -> dict[str, Any]:
        request = {"tool": tool, "args": {}} | body
        seen: dict[str, Any] = ok(self.api.post(f"/v1/runs/{self.run_id}/observations", json=request, headers=once()))
        return seen

    def proposal(self, tool: str, args: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The body of a proposal that no check objects to: sure of itself, with a reason."""
        body = {
            "workflow": self.workflow, "run_id": self.run_id, "tool": tool, "args": args, "confidence": 0.95,
            "rationale": "The bill is due.", "citations": ["look-before-paying"],
        }  # fmt: skip
        return body | changes

    def propose(self, tool: str, args: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Proposes an action. A payment names what was observed first, because the starter rules refuse others."""
        if tool == PAY and "evidence" not in changes:
            changes["evidence"] = [{"observation_id": self.observe()["id"]}]
        action: dict[str, Any] = ok(
            self.api.post("/v1/actions", json=self.proposal(tool, args, **changes), headers=once())
        )
        return action

    def action(self, action_id: str, wait: int = 0) -> dict[str, Any]:
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        shown: dict[str, Any] = ok(self.api.get(f"/v1/actions/{action_id}", headers=headers))
        return shown

    def settled(self, action_id: str) -> dict[str, Any]:
        """The action when nothing more happens to it by itself."""
        for _ in range(6):
            action = self.action(action_id, wait=10)
            if action["status"] not in ("authorized", "executing"):
                return action
        raise AssertionError(f"the action is still {action['status']}: {action['attempts']}")


#: What objects to a payment whose payee nobody vouches for, and whose amount nobody has named.
UNKNOWN_PAYMENT = dict.fromkeys(("hard_gate", "grounding", "counterparty", "risk"), "escalate")


def objections(action: dict[str, Any]) -> dict[str, str]:
    """Which checks did not allow, and what each of them said instead."""
    return {f["check"]: f["outcome"] for f in action["decision"]["findings"] if f["outcome"] != "allow"}


def decide(person: Member, action: dict[str, Any], verdict: str = "approve", **changes: Any) -> httpx.Response:
    """A person's verdict on an action that waits, on the digest that it was proposed with."""
    body = {
        "verdict": verdict,
        "digest": action["digest"],
        "reason": "checked" if verdict != "approve" else "",
    } | changes
    return person.api.post(f"/v1/exceptions/{action['exception']['id']}/decision", json=body, headers=once())


def new_organisation(world: World, *, connected: bool = True, name: str = "Brightwater Goods BV") -> Organisation:
    """An organisation of two people; bank and CRM are connected for reading and for writing."""
    organisation = found(world.stack, name)
    if connected:
        for provider, access in CONNECTED:
            organisation.connect(provider, access)
    return organisation


def join(organisation: Organisation, role: str, *, name: str = "Mo Adler", second_factor: bool = True) -> Member:
    """One more person in the organisation."""
    person = sign_up(organisation.stack, name, second_factor=second_factor)
    admit(organisation.owner, person, role)
    return person


@contextmanager
def at_work(organisation: Organisation, workflow: str = "pay-vendor-bills") -> Iterator[Agent]:
    """The organisation's agent in a new run of a workflow that is live."""
    with organisation.agent() as api:
        agent = Agent(api, workflow)
        agent.start()
        yield agent


def issue_key(
    organisation: Organisation, environment: str = "sandbox", scopes: list[str] | None = None, **changes: Any
) -> dict[str, Any]:
    """One more key of the organisation's service account: `id` and `secret`."""
    body = {"environment": environment, "scopes": scopes or AGENT_SCOPES} | changes
    path = f"/v1/service-accounts/{organisation.service_account_id}/keys"
    key: dict[str, Any] = ok(organisation.owner.api.post(path, json=body, headers=once()))
    return key


def proposed(person: Member, body: dict[str, Any]) -> dict[str, Any]:
    """A change of the directory, proposed by this person."""
    change: dict[str, Any] = ok(
        person.api.post("/v1/directory/changes", json={"reason": "an invoice"} | body, headers=once())
    )
    return change


def check(person: Member, change: dict[str, Any], word: str = "approve", **more: Any) -> httpx.Response:
    """This person's word on the change as it was shown."""
    path = f"/v1/directory/changes/{change['id']}/{word}"
    return person.api.post(path, json={"digest": change["digest"]} | more, headers=once())


def vouched_for(organisation: Organisation, name: str, *details: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The approved change that created an entry: the owner proposes, the approver checks."""
    entry = {"kind": "vendor", "name": name, "details": details}
    change = proposed(organisation.owner, {"kind": "create", "environment": "sandbox", "entry": entry} | more)
    approved: dict[str, Any] = ok(check(organisation.approver, change))
    return approved
