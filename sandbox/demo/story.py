"""The demo, scene by scene. Whatever does not come out as promised ends it with one clear sentence."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.demo.agent import Agent, Proposal, settled
from sandbox.demo.autopilot import Autopilot
from sandbox.demo.count import Count
from sandbox.demo.desk import Desk
from sandbox.demo.ledger import Ledger, Snapshot
from sandbox.demo.lesson import Lesson
from sandbox.demo.mail import Letter
from sandbox.demo.matching import OUR_ACCOUNT, PAY, REFUND
from sandbox.demo.policy import STATED
from sandbox.demo.promises import expect
from sandbox.demo.proof import Proof
from sandbox.demo.screen import BULLET, Screen, clean, money
from sandbox.demo.spec import INSTRUCTION, SLUG, TITLE, access_spec
from sandbox.demo.wording import control, why_stopped
from sandbox.organisation import Organisation, found, ok, once
from sandbox.stack import Stack

MONEY = (PAY, REFUND)
VERDICT = {"authorized": "ALLOWED", "awaiting_approval": "ASKS A PERSON", "denied": "DENIED"}
STYLE = {"authorized": "green", "awaiting_approval": "yellow", "denied": "red"}


class Story:
    """Everything that happens between the start of the stack and its end."""

    def __init__(self, stack: Stack, screen: Screen, letters: list[Letter], ask: Callable[[str], str] | None) -> None:
        self.stack, self.screen, self.letters, self.ask = stack, screen, letters, ask
        self.ledger = Ledger(stack.state, stack.url["bank"])
        self.organisation: Organisation
        self.agent: Agent
        self.proposals: list[Proposal] = []

    def tell(self) -> None:
        """All scenes. Raises BrokenPromiseError, RefusedError, httpx.HTTPError."""
        self.found()
        before = self.ledger.look()
        self.propose()
        desk = self.decide()
        paid = self.execute(before)
        self.repeat(desk, paid)
        self.learn()
        self.run_alone()
        self.stop_everything()
        self.verify(paid)

    # 1. The organisation

    def found(self) -> None:
        screen = self.screen
        screen.scene("1. An organisation, two people, an agent")
        org = self.organisation = found(self.stack)
        for provider in ("sandbox_bank", "sandbox_crm"):
            for access in ("read", "write"):
                org.connect(provider, access)
        org.go_live(SLUG, TITLE, access_spec(org.owner.email, org.bindings()))
        screen.item("people", f"{org.owner.name} (owner) and {org.approver.name} (approver), each with a second factor")
        screen.item("agent", f"the service account accounts-payable-agent, with the API key {org.key[:16]}...")
        connected = "bank and CRM, a read and a write connection each, through their consent pages (OAuth 2.1, PKCE)"
        screen.item("connected", connected)
        document = ok(org.owner.api.get(f"/v1/workflows/{SLUG}/access-spec"))
        spec = document["spec"]
        screen.item("workflow", f"{SLUG}, written by {org.owner.name}, put live by {org.approver.name}")
        screen.item("may read", ", ".join(_short(tool) for tool in document["can_read"]))
        screen.item("may do", ", ".join(_short(tool) for tool in document["can_write"]))
        screen.item("waits", f"always for people: {', '.join(_short(tool) for tool in document['always_waits'])}")
        self._vouched(org)
        screen.item("limits", f"money from {OUR_ACCOUNT} only; confidence of {spec['confidence_min']} at least; up to "
                        f"{money(spec['value_max']['EUR'], 'EUR')}, beyond it a person looks")  # fmt: skip
        self._reviewed(org)

    def _vouched(self, org: Organisation) -> None:
        """A vendor in the directory, by maker and checker: whoever else claims to be it is found out."""
        account = {"type": "bank_account", "iban": "DE94000123450532013000"}
        entry = {"kind": "vendor", "name": "Northwind Paper GmbH", "details": [account]}
        body = {
            "kind": "create",
            "environment": "sandbox",
            "entry": entry,
            "reason": "Called back at the known number.",
        }
        change = ok(org.owner.api.post("/v1/directory/changes", json=body, headers=once()))
        path = f"/v1/directory/changes/{change['id']}/approve"
        ok(org.approver.api.post(path, json={"digest": change["digest"]}, headers=once()))
        self.screen.item(
            "directory",
            f"{entry['name']} with its account: {org.owner.name} proposed it, {org.approver.name} checked it; "
            "new accounts cool off for 72 hours",
        )

    def _reviewed(self, org: Organisation) -> None:
        """What whoever put it live had before him: nine controls that were looked at, and the page that says it all."""
        readiness = ok(org.owner.api.get(f"/v1/workflows/{SLUG}/readiness"))
        verified = [control for control in readiness["controls"] if control["verified"]]
        expect(len(verified) == 9, "A workflow is live without all nine controls.")
        self.screen.item("controls", f"{len(verified)} of 9 verified by looking, not by declaration; one that fails "
                                     "keeps a version from going live")  # fmt: skip
        (self.stack.state / "access-spec.html").write_text(_page(org), encoding="utf-8")
        self.screen.item("page", f"what a reviewer reads of it: {inbox(self.stack.state)}/access-spec.html")

    # 2. The agent

    def propose(self) -> None:
        screen = self.screen
        screen.scene("2. The agent reads, observes and proposes; the gate decides")
        agent = self.agent = Agent(self.organisation.agent(), SLUG, INSTRUCTION)
        for observation in agent.open_books():
            expect(observation["status"] == "succeeded", f"The bank could not be read: {observation['error']}")
            for rows in (observation["result"] or {}).values():
                screen.item("observed", f"{_short(observation['tool'])} through the gateway: {len(rows)} records, only "
                                        "the fields of the access spec")  # fmt: skip
        for letter in self.letters:
            self._read(letter)

    def _read(self, letter: Letter) -> None:
        screen = self.screen
        screen.line()
        who = f"{clean(letter.sender_name, 40)} <{clean(letter.sender_address, 60)}>"
        screen.line(f"  {screen.styled(clean(letter.file, 40), 'bold')}  {screen.styled(who, 'dim')}")
        screen.item("subject", clean(letter.subject, 160) or "none")
        for note in letter.notes:
            screen.item("note", clean(note))
        plan = self.agent.think(letter)
        if plan.silent:
            screen.item("proposes", f"nothing. {clean(plan.silent)}")
        for intent in plan.intents:
            screen.item("proposes", clean(intent.says), "bold")
            screen.item("because", clean(f"{'; '.join(intent.because)} (confidence {intent.confidence})"))
            proposal = self.agent.propose(letter, intent)
            self.proposals.append(proposal)
            self._verdict(proposal)

    def _verdict(self, proposal: Proposal) -> None:
        screen, action = self.screen, proposal.action
        if proposal.problem:
            screen.item("gate", f"NOT TAKEN: {clean(proposal.problem.get('detail', ''))}", "red", "bold")
            return
        status = action["status"]
        expect(status in VERDICT, f"A proposal came back as {status}.")
        expect(
            not (proposal.intent.tool in MONEY and status == "authorized"), "Money was about to move without a person."
        )
        screen.item("gate", VERDICT[status], STYLE[status], "bold")
        for finding in why_stopped(action["decision"]):
            screen.item(BULLET, f"{control(finding)}: {clean(finding['message'])}")
        if status == "authorized":
            done = self.agent.follow(action["id"])
            expect(done["status"] == "succeeded", f"What the gate allowed ended as {done['status']}.")
            screen.item(BULLET, "no check objects, so it was done at once: " + _receipt(done))

    # 3. The people

    def decide(self) -> Desk:
        screen = self.screen
        screen.scene("3. People countersign")
        if self.ask is None:
            screen.say(f"Nobody is asked in this run: the demo's people decide by a stated policy. {STATED}")
        else:
            screen.say("You are the people now: Amara Diallo, Olive Marsh, or both. Answer with a letter and Enter.")
        if any(p.intent.tool == PAY and p.action.get("status") == "awaiting_approval" for p in self.proposals):
            self.ledger.hang_up_once()
        desk = Desk(self.organisation, screen, self.ask)
        if not desk.clear():
            screen.say("Nothing waits for a person.")
        return desk

    # 4. The bank

    def execute(self, before: Snapshot) -> list[dict[str, Any]]:
        """Waits for what was approved and compares it with the bank's own books; answers the executed actions."""
        self.screen.scene("4. Executed once: the bank's own books, past Countersign")
        api = self.organisation.owner.api
        actions = [settled(api, p) for p in self._money_actions()]
        self.ledger.behave()
        return Count(self.screen, self.ledger, before).actions(actions)

    def _money_actions(self) -> list[str]:
        """The ids of this run's actions that move money, oldest first."""
        page = {"run_id": self.agent.run_id, "limit": "200"}
        found: list[str] = []
        while True:
            answer = ok(self.organisation.owner.api.get("/v1/actions", params=page))
            found += [action["id"] for action in answer["items"] if action["tool"] in MONEY]
            if not answer["has_more"]:
                return found[::-1]
            page["cursor"] = answer["next_cursor"]

    def repeat(self, desk: Desk, paid: list[dict[str, Any]]) -> None:
        """Sends the last approval once more, as a client does that never got the answer."""
        last = desk.approved
        if last is None or not paid:
            return
        before = self.ledger.look()
        answer = last.api.post(last.path, json=last.body, headers=last.headers)
        expect(answer.status_code == 200, f"The repeated approval was answered with {answer.status_code}.")
        expect(answer.headers.get("Idempotent-Replayed") == "true", "The repeated approval was taken for a new one.")
        expect(answer.json() == last.answer, "The repeated approval was answered with something else.")
        time.sleep(1.5)  # long enough for the scheduler's next tick to do harm, if it could
        expect(self.ledger.look() == before, "The repeated approval moved money.")
        self.screen.item("repeated", "the last approval, sent again with its Idempotency-Key: the same answer (marked "
                                     "Idempotent-Replayed), and nothing at the bank has changed")  # fmt: skip

    # 5. The rules learn

    def learn(self) -> None:
        self.screen.scene("5. The rules learn: what was decided once need not come back")
        if not Lesson(self.screen, self.organisation, self.agent, self.proposals).learn():
            self.screen.say("Nothing was approved that a rule could take over.")

    # 6. The loop

    def run_alone(self) -> None:
        self.screen.scene("6. A workflow runs by itself: on a schedule by rules, then by a language model")
        Autopilot(self.stack, self.screen, self.organisation, self.ask).fly()

    # 7. The kill switch

    def stop_everything(self) -> None:
        screen, org = self.screen, self.organisation
        screen.scene("7. The kill switch")
        before, proposal = self.ledger.look(), self.probe()
        reason = "Something looks odd; stop everything while I have a look."
        body = {"scope": "tenant", "reason": reason}
        switch = ok(org.approver.api.post("/v1/kill-switches", json=body, headers=once()))
        screen.item("engaged", f"by {org.approver.name}, for the whole tenant: {reason}", "red")
        action = ok(self.agent.api.post("/v1/actions", json=proposal, headers=once()))
        expect(action["status"] == "denied", f"A proposal was {action['status']} while everything is stopped.")
        screen.item(
            "agent", f"proposes to pay {money(proposal['args']['amount'], 'EUR')} for {proposal['args']['reference']}"
        )
        screen.item("gate", "DENIED", "red", "bold")
        for finding in why_stopped(action["decision"]):
            if finding["outcome"] == "deny":
                screen.item(BULLET, f"{control(finding)}: {clean(finding['message'])}")
        path = f"/v1/kill-switches/{switch['id']}/release"
        refused = self.agent.api.post(path, json={"reason": "let me work"}, headers=once())
        expect(refused.status_code == 403, f"The agent's release was answered with {refused.status_code}.")
        screen.item("agent", f"tries to release it: {clean(refused.json()['detail'])}")
        ok(org.owner.api.post(path, json={"reason": "All is well."}, headers=once()))
        again = ok(self.agent.api.post("/v1/gate/evaluate", json=proposal, headers=once()))["decision"]
        expect(again["outcome"] == "escalate", f"After the release the gate says {again['outcome']}.")
        screen.item("released", f"by {org.owner.name}; the same proposal would again wait for a person", "green")
        expect(self.ledger.look() == before, "Money moved while everything was stopped.")

    def probe(self) -> dict[str, Any]:
        """A harmless payment to propose: the next bill that is open, else a cent to our own reserve."""
        observation = self.agent.observe("sandbox_bank.bills.list", {"status": "open", "limit": 1})
        bills = (observation["result"] or {}).get("bills") or [
            {"iban": "NL08SAND0100200400", "vendor_name": "Brightwater", "amount": 1, "reference": "own transfer"}
        ]
        bill = bills[0]
        args = {"from_account": OUR_ACCOUNT, "to_iban": bill["iban"], "to_name": bill["vendor_name"],
                "amount": bill["amount"], "currency": "EUR", "reference": bill["reference"]}  # fmt: skip
        return {
            "workflow": SLUG, "run_id": self.agent.run_id, "tool": PAY, "args": args, "confidence": 0.9,
            "rationale": "The next open bill.", "citations": ["look-before-paying"],
            "evidence": [{"observation_id": observation["id"]}],
        }  # fmt: skip

    # 8. The proof

    def verify(self, paid: list[dict[str, Any]]) -> None:
        self.screen.scene("8. The audit log")
        proof = Proof(self.screen, self.organisation)
        events = proof.verify()
        if paid:
            proof.reconstruct(max(paid, key=lambda action: len(action["approvals"])), events)


def _page(org: Organisation) -> str:
    """The page of the access spec with its stylesheet in it, to be opened after the API is gone."""
    page = org.owner.api.get(f"/v1/workflows/{SLUG}/access-spec", headers={"Accept": "text/html"})
    expect(page.status_code == 200, f"The page of the access spec answered {page.status_code}.")
    style = org.owner.api.get("/assets/access-spec.css").text
    return re.sub(r'<link rel="stylesheet"[^>]*>', lambda _: f"<style>{style}</style>", page.text)


def _short(tool: str) -> str:
    """`bank bills.list (8 fields)` of `sandbox_bank.bills.list: /bills/*/id, ...`."""
    tool, _, fields = tool.partition(":")
    if fields:
        return f"{_short(tool)} ({fields.count(',') + 1} fields)"
    return tool.removeprefix("sandbox_").replace(".", " ", 1)


def _receipt(action: Mapping[str, Any]) -> str:
    body = ((action["attempts"] or [{}])[-1].get("response") or {}).get("body") or {}
    return f"{_short(action['tool'])} {clean(str(body.get('id', '')), 12)}".strip()


def inbox(folder: Path) -> str:
    """The folder as it is shown."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
