"""Counts money at the bank: what Countersign says was executed, beside the bank's own books and journal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.demo.ledger import Ledger, Snapshot
from sandbox.demo.promises import expect
from sandbox.demo.screen import Screen, clean, iban, money


@dataclass
class Count:
    """Compares the bank with how it was `before` the people decided."""

    screen: Screen
    ledger: Ledger
    before: Snapshot

    def actions(self, actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Checks all of a run's settled money actions and answers those that were executed.

        Raises BrokenPromiseError when the bank shows anything else than each of them exactly once, as approved.
        """
        screen = self.screen
        paid = [action for action in actions if action["status"] == "succeeded"]
        stuck = [a for a in actions if a["status"] in ("authorized", "executing", "unknown", "dead_letter", "failed")]
        for action in stuck:
            attempts = action["attempts"]
            why = attempts[-1]["error"] if attempts else "no attempt was made"
            expect(action["status"] == "failed", f"An approved action is {action['status']}: {why}")
            screen.item("failed", f"{clean(str(action['args']))}: the bank said: {clean(str(why))}", "red")
        after = self.ledger.look()
        made = {t["idempotency_key"]: t for t in after.transfers[len(self.before.transfers) :]}
        for action in paid:
            self._booked(action, made)
        expect(len(made) == len(paid), f"The bank shows {len(made)} new transfers for {len(paid)} executed actions.")
        self._balances(after, [action["args"] for action in paid])
        if not paid:
            screen.say("No payment was approved, and no money moved.")
        return paid

    def _booked(self, action: Mapping[str, Any], made: Mapping[str, Mapping[str, Any]]) -> None:
        """One executed action beside its one transfer."""
        key, args = action["attempts"][-1]["idempotency_key"], action["args"]
        transfer = made.get(key)
        expect(transfer, f"The bank has no transfer under {key}, but the action has succeeded.")
        assert transfer is not None  # noqa: S101 - for the type checker
        column = {"transaction_id": "refunded_transaction"}
        wrong = [name for name in args if transfer[column.get(name, name)] != args[name]]
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

    def _balances(self, after: Snapshot, orders: list[Mapping[str, Any]]) -> None:
        """Every account holds what it held before, less what was approved to leave it, and no cent else."""
        for account, was in self.before.balances.items():
            out = sum(order["amount"] for order in orders if order["from_account"] == account)
            back = sum(order["amount"] for order in orders if order["to_iban"] == self.before.ibans[account])
            now, expected = after.balances[account], was - out + back
            expect(now == expected, f"{account} holds {money(now, 'EUR')} where {money(expected, 'EUR')} was expected.")
            change = f"{money(was, 'EUR')} before, {money(now, 'EUR')} after ({money(now - was, 'EUR')})"
            self.screen.item("balance", f"{account}: {change}")
        still = [reference for reference, status in after.bills.items() if status == "open"]
        self.screen.item("bills", f"still open: {', '.join(still) or 'none'}")
