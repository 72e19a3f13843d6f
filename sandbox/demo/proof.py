"""The audit log, checked from outside, and one payment's life told from it alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.demo import chain
from sandbox.demo.promises import expect
from sandbox.demo.screen import Screen, clean, money
from sandbox.organisation import Organisation, ok


@dataclass
class Proof:
    """Reads the log as the owner, who holds `audit.read`."""

    screen: Screen
    organisation: Organisation

    def verify(self) -> list[dict[str, Any]]:
        """Has the API verify the chain, and recomputes it from the export; answers all events, oldest first."""
        screen, org = self.screen, self.organisation
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
        return events

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

    def reconstruct(self, action: Mapping[str, Any], events: list[dict[str, Any]]) -> None:
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


def _why(record: Mapping[str, Any]) -> str:
    """The reason that a record gives, in a few words."""
    why = record.get("why") or {}
    if isinstance(why.get("reasons"), list):
        return clean(", ".join(dict.fromkeys(str(r.get("rule_id") or r.get("check")) for r in why["reasons"])), 40)
    words = why.get("reason") or why.get("status_reason") or ""
    if not words and why.get("citations"):
        words = f"cites {', '.join(why['citations'])}"
    return clean(str(words), 32)
