"""How the demo's people decide when nobody is there to ask: they compare the payload with what the bank vouches for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.demo.matching import NOTE, PAY, REFUND
from sandbox.demo.screen import iban, money

STATED = (
    "They approve a payment when payee, account, amount and reference equal the bank's own bill, and a refund when the "
    "bank shows that the order was paid twice, to the account that the money came from; a wrong amount they correct. "
    "A note at the contact whose address wrote they approve. Anything else they reject."
)


@dataclass(frozen=True)
class Comparison:
    """One argument beside what the observed record says; `fits` is None where there is no record to compare with."""

    name: str
    proposed: str
    observed: str
    fits: bool | None


@dataclass(frozen=True)
class Verdict:
    """`args` with an edit: the whole new arguments."""

    verdict: Literal["approve", "reject", "edit"]
    reason: str
    args: dict[str, Any] | None = None


@dataclass(frozen=True)
class Found:
    """The record that a payload is about, among what was observed; `similar` are those with the same reference."""

    title: str = ""
    record: Mapping[str, Any] | None = None
    similar: Sequence[Mapping[str, Any]] = ()


def record_of(exception: Mapping[str, Any]) -> Found:
    """The bill or the incoming transaction that the proposal names, from the evidence shown to the reviewer."""
    args = exception["args"]
    if exception["tool"] == PAY:
        bills = _trusted(exception, "bills")
        bill = next((b for b in bills if b.get("reference") == args.get("reference")), None)
        return Found(f"the bank's bill {bill['id']}", bill) if bill else Found("the bank's bills: none")
    if exception["tool"] == REFUND:
        receipts = list(_rows(exception, "transactions"))
        paid = next((r for r, _ in receipts if r["id"] == args.get("transaction_id")), None)
        if paid is None:
            return Found("the bank's bookings: none")
        similar = [r for r, _ in receipts if (r["reference"], r["amount"]) == (paid["reference"], paid["amount"])]
        return Found(f"the bank's booking {str(paid['id'])[:12]}", paid, similar)
    return Found()


def compare(exception: Mapping[str, Any], found: Found) -> list[Comparison]:
    """The payload, argument by argument, beside the record."""
    rows = []
    names = {"to_name": "vendor_name", "to_iban": "iban", "amount": "amount", "reference": "reference"}
    if exception["tool"] == REFUND:
        names = {"to_name": "counterparty_name", "to_iban": "counterparty_iban", "amount": "amount"}
    args, record = exception["args"], found.record
    for name, value in in_order(args):
        proposed = _shown(name, value, args.get("currency"))
        source = names.get(name)
        if name == "currency":
            continue
        if source is None or record is None or source not in record:
            rows.append(Comparison(name, proposed, "", None))
            continue
        observed = _shown(name, record[source], record.get("currency"))
        same = value == record[source] and (name != "amount" or args.get("currency") == record.get("currency"))
        rows.append(Comparison(name, proposed, observed, same))
    return rows


def in_order(args: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The arguments as people read them: to whom, how much, what for, and the rest."""
    order = ("to_name", "to_iban", "amount", "currency", "reference")
    return sorted(args.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))


def decide(exception: Mapping[str, Any], done: frozenset[str]) -> Verdict:
    """The verdict on one exception. `done`: what was approved before, as `subject_of` names it."""
    found = record_of(exception)
    rows = {row.name: row for row in compare(exception, found)}
    wrong = {name: row for name, row in rows.items() if row.fits is False}
    if exception["tool"] == NOTE and any(
        contact["id"] == exception["args"].get("contact_id") for contact, _ in _rows(exception, "contacts")
    ):
        return Verdict("approve", "The address is the contact's; a note harms nobody.")
    if exception["tool"] not in (PAY, REFUND):
        return Verdict("reject", "Nobody asked for this; it is not what this workflow is for.")
    if found.record is None:
        return Verdict("reject", "There is no bill and no booking at the bank that this would belong to.")
    if subject_of(exception) in done:
        return Verdict("reject", "This was approved already; once is enough.")
    if "to_iban" in wrong or "to_name" in wrong:
        return Verdict(
            "reject", f"The bank knows another account for this: {_known(wrong)}. To be cleared by telephone."
        )
    if exception["tool"] == REFUND and len(found.similar) < 2:
        return Verdict("reject", "The bank shows one payment, not two.")
    if "amount" in wrong:
        args = {**exception["args"], "amount": found.record["amount"], "currency": found.record["currency"]}
        right = money(args["amount"], args["currency"])
        return Verdict("edit", f"{right} is what the bank shows, not {wrong['amount'].proposed}.", args)
    unproven = [name for name in ("to_name", "to_iban", "amount") if name not in rows or not rows[name].fits]
    if wrong or unproven:
        return Verdict("reject", f"The bank's record does not bear it out: {', '.join([*wrong, *unproven])}.")
    return Verdict("approve", f"Account and amount are those of {found.title}.")


def subject_of(exception: Mapping[str, Any]) -> str:
    """What an exception is about, so that the same thing is not approved twice."""
    args = exception["args"]
    return json.dumps([exception["tool"], args.get("transaction_id") or args.get("reference")])


def _known(wrong: Mapping[str, Comparison]) -> str:
    return (wrong.get("to_iban") or wrong["to_name"]).observed


def _shown(name: str, value: Any, currency: Any) -> str:
    if name == "amount":
        return money(value, currency)
    return iban(str(value)) if name == "to_iban" else str(value)


def _rows(exception: Mapping[str, Any], name: str) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    """The rows that were observed under `name`, each with the trust labels of its fields."""
    for observation in exception["observations"]:
        labels = observation.get("labels") or {}
        for row in (observation.get("result") or {}).get(name) or []:
            yield row, {field: labels.get(f"/{name}/*/{field}", {}).get("trust") for field in row}


def _trusted(exception: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows with only those fields that the tool's contract vouches for."""
    return [
        {field: value for field, value in row.items() if trust[field] == "trusted"}
        for row, trust in _rows(exception, name)
    ]
