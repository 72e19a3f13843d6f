"""What a person decided once becomes a rule: proposed, tried on every decision so far, and adopted by somebody else."""

from collections.abc import Mapping
from typing import Any

from sandbox.demo.agent import Agent, Proposal
from sandbox.demo.matching import NOTE
from sandbox.demo.promises import expect
from sandbox.demo.screen import BULLET, Screen, clean
from sandbox.demo.wording import control, why_stopped
from sandbox.organisation import Organisation, ok, once


class Lesson:
    """One exception that was approved and could be a rule, and a fraud that no rule lets through."""

    def __init__(self, screen: Screen, organisation: Organisation, agent: Agent, proposals: list[Proposal]) -> None:
        self.screen, self.organisation, self.agent, self.proposals = screen, organisation, agent, proposals

    def learn(self) -> bool:
        """Tells it, if a person approved a note that the agent was not sure of; whether there was one."""
        decided = next((p for p in self.proposals if self._approved_note(p)), None)
        if decided is None:
            return False
        amendment = self._propose(decided)
        self._adopt(amendment)
        self._again(decided)
        self._fraud()
        self._proof(decided)
        return True

    def _approved_note(self, proposal: Proposal) -> bool:
        if proposal.intent.tool != NOTE or proposal.action.get("status") != "awaiting_approval":
            return False
        if {str(finding["check"]) for finding in why_stopped(proposal.action["decision"])} != {"confidence"}:
            return False  # no rule lifts the rest
        action = ok(self.organisation.owner.api.get(f"/v1/actions/{proposal.action['id']}"))
        return bool(action["exception"]["status"] == "approved")

    def _propose(self, decided: Proposal) -> dict[str, Any]:
        person, exception = self.organisation.approver, decided.action["exception"]["id"]
        for finding in why_stopped(decided.action["decision"]):
            self.screen.item("stopped", f"{control(finding)}: {clean(finding['message'])}")
        body = {"reason": "The address is the contact's. Who signs there may differ; a note harms nobody."}
        amendment: dict[str, Any] = ok(
            person.api.post(f"/v1/exceptions/{exception}/amendment", json=body, headers=once())
        )
        rule = amendment["rule"]
        self.screen.item("amendment", f"{person.name} makes a rule of her verdict, the narrowest that covers it")
        self.screen.item("rule", f"{rule['id']}: {clean(rule['principle'], 300)}")
        self.screen.item("lifts", f"{', '.join(rule['lifts'])}, of {', '.join(rule['applies_to'])}, until "
                                  f"{str(rule['expires_at'])[:10]}; and nothing else")  # fmt: skip
        return amendment

    def _adopt(self, amendment: dict[str, Any]) -> None:
        tried = amendment["backtest"]
        self.screen.item(
            "backtest",
            f"{tried['examined']} decisions made again under it: {tried['flips_to']['allow']} would now be allowed, "
            f"{tried['contradictions_to_allow']} of them against a person's verdict",
        )
        expect(tried["contradictions_to_allow"] == 0, "The amendment contradicts what a person decided.")
        path = f"/v1/amendments/{amendment['id']}/adopt"
        body = {"digest": amendment["digest"]}
        alone = self.organisation.approver.api.post(path, json=body, headers=once())
        expect(alone.status_code == 403, f"Who proposed it adopted it: {alone.status_code}.")
        adopted = ok(self.organisation.owner.api.post(path, json=body, headers=once()))
        self.screen.item("adopted", f"by {self.organisation.owner.name}, as version {adopted['constitution_version']}; "
                                    f"{self.organisation.approver.name} alone was refused", "green")  # fmt: skip

    def _again(self, decided: Proposal) -> None:
        again = self.agent.propose(decided.letter, decided.intent).action
        expect(again.get("status") == "authorized", f"The same class came back: {again.get('status')}.")
        done = self.agent.follow(again["id"])
        expect(done["status"] == "succeeded", f"What the rule allows ended as {done['status']}.")
        self.screen.item("again", f"the agent proposes the same kind of note, as unsure as before "
                                  f"(confidence {decided.intent.confidence})")  # fmt: skip
        self.screen.item("gate", "ALLOWED", "green", "bold")
        lifted = [f for f in again["decision"]["findings"] if f.get("rule_id") and f["check"] == "confidence"]
        for finding in lifted:
            self.screen.item(BULLET, f"{control(finding)}: {clean(finding['message'])}")

    def _fraud(self) -> None:
        """The payment to the changed account, once more: what always waits for people still does."""
        fraud = next((p for p in self.proposals if _changed_details(p.action)), None)
        if fraud is None:
            return
        api = self.agent.api
        body = self.agent.body(fraud.letter, fraud.intent) | {"confidence": 1.0}
        decision = ok(api.post("/v1/gate/evaluate", json=body, headers=once()))["decision"]
        expect(decision["outcome"] != "allow", "The changed bank details went through.")
        self.screen.item("fraud", f"{clean(fraud.letter.file, 60)}, once more under the new rules, as sure as can be:")
        self.screen.item("gate", "ASKS A PERSON" if decision["outcome"] == "escalate" else "DENIED", "yellow", "bold")
        for finding in why_stopped(decision):
            self.screen.item(BULLET, f"{control(finding)}: {clean(finding['message'], 400)}")

    def _proof(self, decided: Proposal) -> None:
        """Whether the class came back: counted, before the rule and since."""
        person = self.organisation.approver.api
        key = ok(person.get(f"/v1/exceptions/{decided.action['exception']['id']}"))["class_key"]
        classes = ok(person.get("/v1/exceptions/classes"))["items"]
        [covered] = [one["amendment"] for one in classes if one["class"]["key"] == key]
        before, after = covered["before"]["count"], covered["after"]["count"]
        expect(after == 0, f"The class came back: {after} times.")
        self.screen.item("class", f"came {before} time{'s' if before > 1 else ''} before the rule, and not since")


def _changed_details(action: Mapping[str, Any]) -> bool:
    findings = (action.get("decision") or {}).get("findings", [])
    return any(str(finding["message"]).startswith("CHANGED BANK DETAILS") for finding in findings)
