"""A workflow that runs by itself: on a schedule by written rules, and then, asked by a call, by a language model."""

import re
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.demo.agent import settled
from sandbox.demo.desk import Desk
from sandbox.demo.matching import OUR_ACCOUNT, PAY
from sandbox.demo.promises import expect
from sandbox.demo.screen import Screen, clean, iban, money
from sandbox.models.app import MODEL, api_key
from sandbox.organisation import Organisation, ok, once
from sandbox.stack import MODELS_URL, Stack

SLUG, TITLE = "pay-small-bills", "Pay small bills"
#: What the written rules pay, in cents.
SMALL = 30_000
INSTRUCTION = f"Pay the open bills from {OUR_ACCOUNT}."
RULES: dict[str, Any] = {
    "kind": "rules",
    "rules": [
        {
            "when": f"item.status == 'open' && item.amount <= {SMALL}",
            "for_each": {"observation": "bills", "pointer": "/bills"},
            "once_per": "/id",
            "propose": {
                "tool": PAY,
                "args": {
                    "from_account": OUR_ACCOUNT, "to_iban": "{item/iban}", "to_name": "{item/vendor_name}",
                    "amount": "{item/amount}", "currency": "{item/currency}", "reference": "{item/reference}",
                },
                "confidence": 0.97,
                "rationale": "The bank holds the open bill {item/id}, due on {item/due_on}.",
                "citations": ["look-before-paying"],
                "evidence": ["bills"],
                "subject": {"type": "bill", "id": "{item/id}"},
            },
        }
    ],
}  # fmt: skip
PROVIDER = "local-models"
BY_MODEL: dict[str, Any] = {
    "kind": "anthropic", "provider": PROVIDER, "model": MODEL, "max_tokens": 1024,
    "budget": {
        "tokens_per_run": 100_000, "tokens_per_day": 1_000_000,
        "cost_per_run": 1_000_000, "cost_per_day": 10_000_000, "currency": "EUR",
    },
}  # fmt: skip
PATIENCE = 240


class Autopilot:
    """Runs of a workflow that nobody drives; people decide what comes of them as of everything else."""

    def __init__(
        self, stack: Stack, screen: Screen, organisation: Organisation, ask: Callable[[str], str] | None
    ) -> None:
        self.stack, self.screen, self.organisation, self.ask = stack, screen, organisation, ask

    def fly(self) -> None:
        """Both kinds of run, one after the other; raises BrokenPromiseError when one does not come out as promised."""
        if self._on_schedule():
            self._by_model()
        else:
            self.screen.say("That run waits for its person, and until then no second one of its workflow begins.")

    # By rules, on a schedule

    def _on_schedule(self) -> bool:
        screen, org = self.screen, self.organisation
        schedule = {"kind": "schedule", "cron": "* * * * *", "time_zone": "Europe/Amsterdam"}
        org.go_live(SLUG, TITLE, self._spec([schedule], {"limit": 100}, RULES))
        screen.item("workflow", f"{SLUG}, live: every minute it reads the bank's open bills; written rules propose to "
                                f"pay what is at most {money(SMALL, 'EUR')}")  # fmt: skip
        slot = (datetime.now(UTC) + timedelta(minutes=1)).replace(second=0, microsecond=0)
        screen.item("waits", f"for its schedule, {slot:%H:%M:%S} UTC")
        run = self._found(lambda: self._runs("schedule"), "The schedule has started no run.")
        return self._follow(run)

    # By a model, asked by a call

    def _by_model(self) -> None:
        screen, org = self.screen, self.organisation
        bills = self._open_bills()
        if not bills:
            screen.say("The bank has no open bill left for a model to look at.")
            return
        self._register()
        spec = self._spec([{"kind": "call"}], {"reference": "{subject/id}"}, BY_MODEL) | {"pseudonyms": True}
        path = f"/v1/workflows/{SLUG}/versions"
        version = ok(org.owner.api.post(path, json={"spec": spec}, headers=once()))["version"]
        ok(org.owner.api.post(f"{path}/{version}/submit", headers=once()))
        ok(org.approver.api.post(f"{path}/{version}/approve", json={"reason": "read"}, headers=once()))
        screen.line()
        screen.item("workflow", f"the same, version {version}: asked by a call, and a language model thinks (a local "
                                "server that speaks the Anthropic Messages API)")  # fmt: skip
        bill = max(bills, key=lambda one: int(one["amount"]))
        body = {"workflow": SLUG, "drive": "loop", "subject": {"type": "bill", "id": bill["reference"]}}
        with org.agent() as api:
            run = ok(api.post("/v1/runs", json=body, headers=once()))
        self._follow(run)
        self._saw(bill)

    def _saw(self, bill: dict[str, Any]) -> None:
        """What the model was sent, by the model server's own journal."""
        file = (self.stack.state / "sandbox_models.sqlite3").resolve()
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            sent = "\n".join(body for (body,) in connection.execute("select body from journal order by id"))
        finally:
            connection.close()
        expect(bill["reference"] in sent, "The model was not asked about the bill.")
        expect(bill["iban"] not in sent, "The model saw an account number.")
        token = re.search(r"<IBAN_[0-9]+_[0-9]+>", sent)
        expect(token, "The model saw no token in the account's place.")
        shown = f"{token[0] if token else ''} and not {iban(bill['iban'])}"
        self.screen.item(
            "it saw", f"{shown}, by the model server's own journal; the gate put the account back before it decided"
        )

    def _register(self) -> None:
        promise = {"trains_on_data": False, "retention_days": 0, "basis": "It runs on this machine and forgets."}
        body = {
            "name": PROVIDER, "kind": "anthropic", "environment": "sandbox", "base_url": f"{MODELS_URL}/v1",
            "currency": "EUR", "models": {MODEL: {"input_price": 3_000_000, "output_price": 15_000_000}},
            "declares": promise, "api_key": api_key(self.stack.state),
        }  # fmt: skip
        body_trains = body | {"name": "curious-models", "declares": promise | {"trains_on_data": True}}
        owner = self.organisation.owner.api
        refused = owner.post("/v1/model-providers", json=body_trains, headers=once())
        expect(refused.status_code == 422, f"Who trains on our data was answered with {refused.status_code}.")
        ok(owner.post("/v1/model-providers", json=body, headers=once()))

    # What both show

    def _follow(self, run: dict[str, Any]) -> bool:
        """Tells a run from its trace: its steps, what was thought, what people decided. Whether it came to its end."""
        found = self._found(lambda: self._waiting_or_over(run["id"]), f"The run {run['id']} does not get on.")
        self._steps(found)
        for call in found["model_calls"]:
            counted = f"{call['input_tokens']} tokens in, {call['output_tokens']} out"
            cost = f"{call['currency']} {call['cost'] / 1_000_000:.4f}"
            self.screen.item("model", f"{call['model']}: {counted}, {cost}; {clean(call['prompt_digest'], 24)}...")
        expect(found["status"] != "failed", f"The run failed: {found['status_reason']}")
        Desk(self.organisation, self.screen, self.ask, run["id"]).clear()
        actions = [settled(self.organisation.owner.api, action["id"]) for action in found["actions"]]
        for action in actions:
            self._told(action)
        if any(action["status"] == "awaiting_approval" for action in actions):
            return False
        ended = self._found(lambda: self._over(run["id"]), f"The run {run['id']} does not end.")
        expect(ended["status"] == "completed", f"The run ended as {ended['status']}.")
        self.screen.item(
            "run", f"{ended['status']}: {ended['audit']['events']} events in the audit log tell it", "green"
        )
        return True

    def _steps(self, found: dict[str, Any]) -> None:
        by = {"schedule": "started by its schedule", "call": "started by a call"}[found["trigger"]]
        done = ", ".join(f"{step['name']} ({step['seconds']:.2f} s)" for step in found["steps"])
        self.screen.item("run", f"{by}; {done}")

    def _told(self, action: dict[str, Any]) -> None:
        args = action["args"]
        what = f"{money(args['amount'], args['currency'])} to {clean(args['to_name'], 40)}, {iban(args['to_iban'])}"
        if action["status"] == "succeeded":
            self.screen.item("paid", f"{what}, for {clean(args['reference'], 40)}", "green")
        else:
            self.screen.item(action["status"], what)

    def _waiting_or_over(self, run_id: str) -> dict[str, Any] | None:
        found = self._trace(run_id)
        return None if found["status"] in ("queued", "running") else found

    def _over(self, run_id: str) -> dict[str, Any] | None:
        found = self._trace(run_id)
        return None if found["status"] in ("queued", "running", "waiting") else found

    def _trace(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = ok(self.organisation.owner.api.get(f"/v1/runs/{run_id}"))
        return found

    def _runs(self, trigger: str) -> dict[str, Any] | None:
        query = {"workflow": SLUG, "trigger": trigger, "limit": "1"}
        items = ok(self.organisation.owner.api.get("/v1/runs", params=query))["items"]
        return items[0] if items else None

    def _open_bills(self) -> list[dict[str, Any]]:
        """The bank's open bills, read through the gateway as everything is."""
        with self.organisation.agent() as api:
            body = {"workflow": "pay-vendor-bills", "instruction": "See which bills are open."}
            run = ok(api.post("/v1/runs", json=body, headers=once()))
            read = {"tool": "sandbox_bank.bills.list", "args": {"status": "open", "limit": 100}}
            seen = ok(api.post(f"/v1/runs/{run['id']}/observations", json=read, headers=once()))
            ok(api.post(f"/v1/runs/{run['id']}/complete", headers=once()))
        found: list[dict[str, Any]] = (seen["result"] or {}).get("bills") or []
        return found

    def _found(self, look: Callable[[], dict[str, Any] | None], otherwise: str) -> dict[str, Any]:
        """What is looked for, once it is there; asks every half second, for as long as a schedule may take."""
        deadline = time.monotonic() + PATIENCE
        while (found := look()) is None:
            expect(time.monotonic() < deadline, otherwise)
            time.sleep(0.5)
        return found

    def _spec(self, triggers: list[dict[str, Any]], args: dict[str, Any], reasoner: dict[str, Any]) -> dict[str, Any]:
        known = ["financial", "personal", "internal"]
        bill = ("id", "vendor_name", "iban", "amount", "currency", "reference", "status", "due_on")
        owner = self.organisation.owner.email
        return {
            "purpose": "Pay the small bills that the bank holds for us.",
            "owner": owner,
            "escalation_contact": owner,
            "stage": "autonomous",
            "connections": {"sandbox_bank": self.organisation.bindings()["sandbox_bank"]},
            "tools": {
                "sandbox_bank.bills.list": {"access": "read", "read_fields": [f"/bills/*/{name}" for name in bill]},
                "sandbox_bank.payments.find": {"access": "read", "read_fields": ["/payments/*/id"]},
                PAY: {"access": "write", "records": {"/from_account": [OUR_ACCOUNT]}, "data_classes": known},
            },
            "confidence_min": 0.8,
            "value_max": {"EUR": 2_000_000},
            "data_classes": known,
            "retention_days": 365,
            "counterparty_approvals": 1,
            "limits": [{"name": "a-day", "window_hours": 24, "currency": "EUR", "max_amount": 2_500_000}],
            "loop": {
                "triggers": triggers,
                "instruction": INSTRUCTION,
                "observe": [{"name": "bills", "tool": "sandbox_bank.bills.list", "args": args}],
                "reasoner": reasoner,
                "max_actions": 3,
            },
        }
