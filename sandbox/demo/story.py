"""The demo, scene by scene. Whatever does not come out as promised ends it with one clear sentence."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.demo import chain
from sandbox.demo.agent import Agent, Proposal, settled
from sandbox.demo.desk import Desk
from sandbox.demo.ledger import Ledger, Snapshot
from sandbox.demo.mail import Letter
from sandbox.demo.matching import OUR_ACCOUNT, PAY, REFUND
from sandbox.demo.policy import STATED
from sandbox.demo.screen import BULLET, Screen, clean, iban, money
from sandbox.demo.spec import INSTRUCTION, SLUG, TITLE, access_spec
from sandbox.demo.wording import control, why_stopped
from sandbox.organisation import Organisation, found, ok, once
from sandbox.stack import Stack

MONEY = (PAY, REFUND)
VERDICT = {"authorized": "ALLOWED", "awaiting_approval": "ASKS A PERSON", "denied": "DENIED"}
STYLE = {"authorized": "green", "awaiting_approval": "yellow", "denied": "red"}


class BrokenPromiseError(RuntimeError):
    """Something did not come out as this demo promises; the message says what."""


def expect(holds: object, otherwise: str) -> None:
    """Raises BrokenPromiseError unless it holds."""
    if not holds:
        raise BrokenPromiseError(otherwise)


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
        screen.item("limits", f"money from {OUR_ACCOUNT} only; confidence of {spec['confidence_min']} at least; up to "
                        f"{money(spec['value_max']['EUR'], 'EUR')}, beyond it a person looks")  # fmt: skip

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
            screen.say("You are the people. An answer may be given by its first letter.")
        if any(p.intent.tool == PAY and p.action.get("status") == "awaiting_approval" for p in self.proposals):
            self.ledger.hang_up_once()
        desk = Desk(self.organisation, screen, self.ask)
        if not desk.clear():
            screen.say("Nothing waits for a person.")
        return desk

    # 4. The bank

    def execute(self, before: Snapshot) -> list[dict[str, Any]]:
        """Waits for what was approved and compares it with the bank's own books; answers the executed money actions."""
        screen = self.screen
        screen.scene("4. Executed once: the bank's own books, past Countersign")
        api = self.organisation.owner.api
        listed = ok(api.get("/v1/actions", params={"run_id": self.agent.run_id, "limit": 200}))["items"]
        actions = [settled(api, action["id"]) for action in reversed(listed) if action["tool"] in MONEY]
        self.ledger.behave()
        paid = [action for action in actions if action["status"] == "succeeded"]
        stuck = [a for a in actions if a["status"] in ("authorized", "executing", "unknown", "dead_letter", "failed")]
        for action in stuck:
            attempts = action["attempts"]
            why = attempts[-1]["error"] if attempts else "no attempt was made"
            expect(action["status"] == "failed", f"An approved action is {action['status']}: {why}")
            screen.item("failed", f"{clean(str(action['args']))}: the bank said: {clean(str(why))}", "red")
        after = self.ledger.look()
        made = {t["idempotency_key"]: t for t in after.transfers[len(before.transfers) :]}
        for action in paid:
            self._booked(action, made)
        expect(len(made) == len(paid), f"The bank shows {len(made)} new transfers for {len(paid)} executed actions.")
        moved = sum(action["args"]["amount"] for action in paid)
        self._balances(before, after, moved)
        if not paid:
            screen.say("No payment was approved, and no money moved.")
        return paid

    def _booked(self, action: Mapping[str, Any], made: Mapping[str, Mapping[str, Any]]) -> None:
        """One executed action beside its one transfer."""
        key, args = action["attempts"][-1]["idempotency_key"], action["args"]
        transfer = made.get(key)
        expect(transfer, f"The bank has no transfer under {key}, but the action has succeeded.")
        assert transfer is not None  # noqa: S101 - for the type checker
        wrong = [n for n in args if n != "transaction_id" and transfer[n] != args[n]]
        expect(not wrong, f"The bank's transfer {transfer['id']} differs from what was approved in {', '.join(wrong)}.")
        deliveries = self.ledger.deliveries(key)
        worked = [d for d in deliveries if d["outcome"] == "done"]
        expect(len(worked) == 1, f"The bank worked {len(worked)} times on {key}.")
        attempts = len(action["attempts"])
        screen = self.screen
        where = f"{clean(args['to_name'])}, {iban(args['to_iban'])}, for {clean(args['reference'])}"
        screen.item("paid", f"{money(args['amount'], args['currency'])} to {where}", "bold")
        story = "one attempt, one delivery, one transfer"
        if attempts > 1:
            fault = next((d["fault"] for d in deliveries if d["fault"]), None)
            cut = "the bank did the work and hung up without an answer; " if fault else ""
            story = (
                f"{cut}{attempts} attempts under one idempotency key, {len(deliveries)} deliveries, still one transfer"
            )
        screen.item("", story)

    def _balances(self, before: Snapshot, after: Snapshot, moved: int) -> None:
        screen = self.screen
        for account, was in before.balances.items():
            now = after.balances[account]
            expected = was - moved if account == OUR_ACCOUNT else was
            expect(now == expected, f"{account} holds {money(now, 'EUR')} where {money(expected, 'EUR')} was expected.")
            screen.item("balance", f"{account}: {money(was, 'EUR')} before, {money(now, 'EUR')} after"
                                   f" ({money(now - was, 'EUR')})")  # fmt: skip
        still = [reference for reference, status in after.bills.items() if status == "open"]
        screen.item("bills", f"still open: {', '.join(still) or 'none'}")

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

    # 5. The kill switch

    def stop_everything(self) -> None:
        screen, org = self.screen, self.organisation
        screen.scene("5. The kill switch")
        before, proposal = self.ledger.look(), self._probe()
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

    def _probe(self) -> dict[str, Any]:
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

    # 6. The proof

    def verify(self, paid: list[dict[str, Any]]) -> None:
        screen, org = self.screen, self.organisation
        screen.scene("6. The audit log")
        said = ok(org.owner.api.get("/v1/audit/verify"))
        expect(said["ok"], f"The API finds the audit chain broken at event {said['broken_at']}.")
        events = self._export()
        own = chain.verify(org.tenant_id, events)
        expect(
            own.broken_at is None, f"Recomputed from the export, the audit chain is broken at event {own.broken_at}."
        )
        expect(
            (own.events, own.head) == (said["events"], said["head"]), "The API and the export disagree on the chain."
        )
        screen.item("verified", f"{own.events} events. The API says the chain holds; recomputed here from the exported "
                                f"records (SHA-256), it ends in the same {own.head[:16]}...", "green")  # fmt: skip
        at, forged = chain.forged(events)
        broken = chain.verify(org.tenant_id, forged).broken_at
        expect(broken == at, "A forged record was not noticed.")
        screen.item("forged", f"with one digit of event {at} changed in a copy, the check fails at event {broken}")
        if paid:
            self._reconstruct(max(paid, key=lambda action: len(action["approvals"])), events)

    def _export(self) -> list[dict[str, Any]]:
        """All events, oldest first."""
        events: list[dict[str, Any]] = []
        page: dict[str, Any] = {"limit": 200}
        while True:
            answer = ok(self.organisation.owner.api.get("/v1/audit/events", params=page))
            events += answer["items"]
            if not answer["has_more"]:
                return events[::-1]
            page["cursor"] = answer["next_cursor"]

    def _reconstruct(self, action: Mapping[str, Any], events: list[dict[str, Any]]) -> None:
        """One payment's life, from the audit log alone."""
        screen, args = self.screen, action["args"]
        screen.line()
        amount = money(args["amount"], args["currency"])
        screen.say(f"How {amount} came to leave for {clean(args['to_name'])}, from the audit log:")
        records = [event["event"] for event in events if event["event"].get("action_id") == action["id"]]
        screen.table(
            [
                (str(r["seq"]), str(r["at"])[11:23], self._who(r["principal"]), clean(r["type"], 24), _why(r))
                for r in records
            ],
            indent=4,
        )
        digests = {r["what"]["digest"] for r in records if "digest" in (r.get("what") or {})}
        expect(digests == {action["digest"]}, "The audit log names another payload than the one that was executed.")
        screen.say(f"Every record that names the payload names the same: {action['digest'][:30]}...", indent=4)

    def _who(self, principal: Mapping[str, Any]) -> str:
        org = self.organisation
        known = {org.owner.user_id: org.owner.name, org.approver.user_id: org.approver.name,
                 org.service_account_id: "the agent"}  # fmt: skip
        return known.get(str(principal.get("id")), f"{principal.get('kind')} {principal.get('id')}")


def _short(tool: str) -> str:
    """`bank bills.list (8 fields)` of `sandbox_bank.bills.list: /bills/*/id, ...`."""
    tool, _, fields = tool.partition(":")
    if fields:
        return f"{_short(tool)} ({fields.count(',') + 1} fields)"
    return tool.removeprefix("sandbox_").replace(".", " ", 1)


def _receipt(action: Mapping[str, Any]) -> str:
    body = ((action["attempts"] or [{}])[-1].get("response") or {}).get("body") or {}
    return f"{_short(action['tool'])} {clean(str(body.get('id', '')), 12)}".strip()


def _why(record: Mapping[str, Any]) -> str:
    """The reason that a record gives, in a few words."""
    why = record.get("why") or {}
    if isinstance(why.get("reasons"), list):
        return clean(", ".join(dict.fromkeys(str(r.get("rule_id") or r.get("check")) for r in why["reasons"])), 40)
    words = why.get("reason") or why.get("status_reason") or ""
    if not words and record["type"] == "action.proposed":
        words = why.get("rationale") or ""
    return clean(str(words), 32)


def inbox(folder: Path) -> str:
    """The folder as it is shown."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
