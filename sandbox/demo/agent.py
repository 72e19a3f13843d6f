"""The agent: reads mails, observes through the gateway, proposes over HTTP. An API key is all that it holds."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.demo.mail import Letter
from sandbox.demo.matching import Books, Intent, Plan, needs_contacts, plan
from sandbox.demo.screen import clean
from sandbox.organisation import ok, once

SETTLED = frozenset(
    {"succeeded", "failed", "rejected", "expired", "superseded", "cancelled", "denied", "dead_letter", "unknown"}
)
WAIT_SECONDS = 20


@dataclass(frozen=True)
class Proposal:
    """What the agent proposed for a mail, and what the API answered: an action, or a problem that refused it."""

    letter: Letter
    intent: Intent
    action: dict[str, Any] = field(default_factory=dict)
    problem: dict[str, Any] = field(default_factory=dict)


class Agent:
    """One run of a workflow, from its start to its last proposal."""

    def __init__(self, api: httpx.Client, workflow: str, instruction: str) -> None:
        self.api, self.workflow = api, workflow
        body = {"workflow": workflow, "trigger": "schedule", "instruction": instruction}
        self.run_id: str = ok(api.post("/v1/runs", json=body, headers=once()))["id"]
        self._books = Books()
        self._proposed: set[str] = set()

    def observe(self, tool: str, args: dict[str, Any]) -> dict[str, Any]:
        """A read through the gateway: the observation, with only what the workflow may see."""
        body = {"tool": tool, "args": args}
        observation: dict[str, Any] = ok(
            self.api.post(f"/v1/runs/{self.run_id}/observations", json=body, headers=once())
        )
        return observation

    def open_books(self) -> list[dict[str, Any]]:
        """Observes the bank's bills and what was paid in; answers the observations."""
        bills = self.observe("sandbox_bank.bills.list", {"limit": 100})
        receipts = self.observe("sandbox_bank.transactions.list", {"direction": "in", "limit": 100})
        self._books = Books(
            bills=_records(bills, "bills"),
            receipts=_records(receipts, "transactions"),
            evidence={"bills": bills["id"], "receipts": receipts["id"]},
        )
        return [bills, receipts]

    def think(self, letter: Letter) -> Plan:
        """What to propose for a mail; looks the sender up in the CRM where that matters."""
        books = self._books
        if needs_contacts(letter) and letter.sender_address:
            seen = self.observe("sandbox_crm.contacts.list", {"query": letter.sender_address[:100]})
            evidence = {**books.evidence, "contacts": seen["id"]}
            books = Books(books.bills, books.receipts, _records(seen, "contacts"), evidence)
        return plan(letter, books, frozenset(self._proposed))

    def propose(self, letter: Letter, intent: Intent) -> Proposal:
        """Proposes one action; what the API refuses to take at all comes back as a problem."""
        answer = self.api.post("/v1/actions", json=self.body(letter, intent), headers=once())
        self._proposed.add(str(intent.args.get("reference", "")).upper().removeprefix("REFUND "))
        if answer.status_code in (400, 413, 422):
            return Proposal(letter, intent, problem=answer.json())
        return Proposal(letter, intent, action=ok(answer))

    def body(self, letter: Letter, intent: Intent) -> dict[str, Any]:
        """The proposal as the API takes it. The mail is named and quoted, so that a person can judge it."""
        who = f"{letter.sender_name} <{letter.sender_address}>" if letter.sender_name else letter.sender_address
        quote = clean(letter.text, 400)
        return {
            "workflow": self.workflow,
            "run_id": self.run_id,
            "tool": intent.tool,
            "args": intent.args,
            "confidence": intent.confidence,
            "rationale": f"{'; '.join(intent.because)}. {clean(who, 200)} wrote ({letter.file}): {quote!r}",
            "citations": list(intent.citations),
            "evidence": [{"observation_id": observation} for observation in intent.evidence],
            "subject": {"type": "email", "id": letter.file[:200]},
        }

    def follow(self, action_id: str) -> dict[str, Any]:
        """The action once it has settled, or when nothing more happened for a while."""
        return settled(self.api, action_id)


def settled(api: httpx.Client, action_id: str) -> dict[str, Any]:
    """Waits (`Prefer: wait`, RFC 7240) until an action has settled or waits for a person; four minutes at most."""
    deadline = time.monotonic() + 240
    action: dict[str, Any] = ok(api.get(f"/v1/actions/{action_id}"))
    while action["status"] not in (*SETTLED, "awaiting_approval") and time.monotonic() < deadline:
        action = ok(api.get(f"/v1/actions/{action_id}", headers={"Prefer": f"wait={WAIT_SECONDS}"}))
    return action


def _records(observation: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of an observation; none when the read failed or nothing was kept of it."""
    result = observation.get("result") or {}
    return list(result.get(name) or [])
