"""What the agent makes of one mail: proposals, and how sure its own comparison makes it of each.

The agent is honest and naive. It proposes what a mail asks for, also when that is a bad idea, says what it compared,
and claims no more confidence than the comparison gives. Keeping it from harm is not its job but the gate's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.demo.mail import Letter
from sandbox.demo.reading import Amount, Reading, read
from sandbox.demo.screen import clean, iban, money

PAY, REFUND = "sandbox_bank.payments.create", "sandbox_bank.refunds.create"
NOTE, DELETE = "sandbox_crm.notes.create", "sandbox_crm.contacts.delete"
OUR_ACCOUNT = "acc_operating"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Books:
    """What was observed in this run; `evidence` names the observation that each kind of record came from."""

    bills: Sequence[Record] = ()
    receipts: Sequence[Record] = ()
    contacts: Sequence[Record] = ()
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Intent:
    """One proposal of the agent's. `says` is it in words; `because` what was compared, with what outcome."""

    tool: str
    args: dict[str, Any]
    says: str
    confidence: float
    because: tuple[str, ...]
    citations: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What the agent will propose for a mail; `silent` says why it proposes nothing."""

    intents: tuple[Intent, ...] = ()
    silent: str = ""


def plan(letter: Letter, books: Books, proposed: frozenset[str] = frozenset()) -> Plan:
    """The agent's plan for one mail. `proposed`: references that it proposed to pay or refund earlier in this run."""
    reading = read(f"{letter.subject}\n{letter.text}")
    intents: list[Intent] = []
    silent = ""
    if reading.wants_refund:
        intents, silent = _refund(letter, reading, books, proposed)
    elif reading.wants_payment:
        intents, silent = _payments(letter, reading, books, proposed)
    intents += [_deletion(letter, who, books) for who in reading.deletes if _contact_id(letter, who, books)]
    if not intents and reading.wants_record and not silent:
        intents, silent = _note(letter, books)
    if intents:
        return Plan(tuple(intents))
    return Plan(silent=silent or "It asks for nothing that this workflow does.")


def needs_contacts(letter: Letter) -> bool:
    """Whether the plan depends on who the sender is in the CRM."""
    reading = read(f"{letter.subject}\n{letter.text}")
    return "sender" in reading.deletes or reading.wants_record


def _payments(letter: Letter, reading: Reading, books: Books, proposed: frozenset[str]) -> tuple[list[Intent], str]:
    known = [bill for bill in books.bills if str(bill["reference"]).upper() in reading.references]
    if not known:
        return _unknown_payment(letter, reading, books)
    unpaid = [bill for bill in known if bill.get("status") != "paid"]
    if not unpaid:
        return [], f"{known[0]['reference']} is paid already."
    text = f"{letter.subject}\n{letter.text}"
    several = len(unpaid) > 1
    return [
        _payment(
            letter, reading, bill, _amount_beside(text, reading, bill) if several else reading.amount, books, proposed
        )
        for bill in unpaid
    ], ""


def _amount_beside(text: str, reading: Reading, bill: Record) -> Amount | None:
    """Of a mail about several bills, the first amount between this bill's reference and the next line's end."""
    start = text.upper().find(str(bill["reference"]).upper())
    end = text.find("\n", text.find("\n", start) + 1)
    return next((a for a in reading.amounts if start <= a.at < (end if end > 0 else len(text))), None)


def _payment(
    letter: Letter, reading: Reading, bill: Record, amount: Amount | None, books: Books, proposed: frozenset[str]
) -> Intent:
    asked = amount or Amount(int(bill["amount"]), str(bill["currency"]), 0, 0)
    account = reading.ibans[0] if reading.ibans else str(bill["iban"])
    because, confidence = _compare(reading, bill, amount, account)
    if str(bill["reference"]).upper() in proposed:
        because.append("an earlier mail asked for the same bill")
        confidence = min(confidence, 0.5)
    args = {
        "from_account": reading.account or OUR_ACCOUNT,
        "to_iban": account,
        "to_name": str(bill["vendor_name"])[:70],
        "amount": asked.minor,
        "currency": asked.currency,
        "reference": str(bill["reference"]),
    }
    return Intent(
        tool=PAY,
        args=args,
        says=_payment_in_words(args),
        confidence=confidence,
        because=tuple(because),
        citations=("look-before-paying", "say-why"),
        evidence=_evidence(books, "bills"),
    )


def _compare(reading: Reading, bill: Record, amount: Amount | None, account: str) -> tuple[list[str], float]:
    """The mail beside the bill: what was found, and the confidence that is left."""
    because, confidence = [f"the bank has an open bill {bill['reference']}"], 0.95
    if amount is None:
        because.append("the mail names no clear amount, so the bill's is proposed")
        confidence = min(confidence, 0.85)
    elif (amount.minor, amount.currency) == (bill["amount"], bill["currency"]):
        because.append("same amount")
    else:
        because.append(f"the bill says {money(bill['amount'], bill['currency'])}")
        confidence = min(confidence, 0.5)
    if not reading.ibans:
        because.append("the mail names no account, so the bill's is proposed")
        confidence = min(confidence, 0.9)
    elif account == bill["iban"]:
        because.append("same account")
    else:
        because.append(f"the bill says {iban(str(bill['iban']))}")
        confidence = min(confidence, 0.4)
    if len(reading.ibans) > 1 or reading.broken_ibans:
        because.append("the mail names other accounts, too")
        confidence = min(confidence, 0.4)
    return because, confidence


def _unknown_payment(letter: Letter, reading: Reading, books: Books) -> tuple[list[Intent], str]:
    """A payment for which there is no bill: proposed if the mail says how much and where to, with little confidence."""
    if not reading.amount or not reading.ibans:
        if reading.references:
            return (
                [],
                f"The bank knows no bill {reading.references[0]}, and the mail does not say whom to pay how much.",
            )
        return [], "" if reading.wants_record else "It names no bill, and does not say whom to pay how much."
    reference = reading.references[0] if reading.references else clean(letter.subject, 100) or "as requested"
    args = {
        "from_account": reading.account or OUR_ACCOUNT,
        "to_iban": reading.ibans[0],
        "to_name": clean(letter.sender_name or letter.sender_address, 70) or "unknown",
        "amount": reading.amount.minor,
        "currency": reading.amount.currency,
        "reference": reference,
    }
    because = ("the mail asks for it", "the bank knows no bill of this reference")
    cited = ("look-before-paying", "say-why")
    return [Intent(PAY, args, _payment_in_words(args), 0.3, because, cited, _evidence(books, "bills"))], ""


def _payment_in_words(args: Mapping[str, Any]) -> str:
    source = "" if args["from_account"] == OUR_ACCOUNT else f" from {clean(args['from_account'], 40)}"
    return (
        f"pay {money(args['amount'], args['currency'])}{source} to {clean(args['to_name'], 70)}, "
        f"{iban(args['to_iban'])}, for {clean(args['reference'], 100)}"
    )


def _refund(letter: Letter, reading: Reading, books: Books, proposed: frozenset[str]) -> tuple[list[Intent], str]:
    paid = [r for r in books.receipts if set(reading.references) & {w.upper() for w in str(r["reference"]).split()}]
    if not paid:
        return [], "It asks for a refund, but the bank shows no payment with a reference that it names."
    latest = max(paid, key=lambda r: (str(r["booked_at"]), str(r["id"])))
    asked = reading.amount or Amount(int(latest["amount"]), str(latest["currency"]), 0, 0)
    twice = sum(r["amount"] == latest["amount"] for r in paid) > 1
    because = [f"the bank shows {len(paid)} payment{'s' if len(paid) > 1 else ''} for {latest['reference']}"]
    confidence = 0.9 if twice else 0.5
    if (asked.minor, asked.currency) == (latest["amount"], latest["currency"]):
        because.append("same amount")
    else:
        because.append(f"each of {money(latest['amount'], latest['currency'])}")
        confidence = min(confidence, 0.5)
    account = reading.ibans[0] if reading.ibans else str(latest["counterparty_iban"])
    if account != latest["counterparty_iban"]:
        because.append("the money came from another account than the mail names")
        confidence = min(confidence, 0.3)
    if str(latest["reference"]).upper() in proposed:
        because.append("an earlier mail asked for the same refund")
        confidence = min(confidence, 0.3)
    args = {
        "from_account": reading.account or OUR_ACCOUNT,
        "to_iban": account,
        "to_name": clean(str(latest["counterparty_name"]), 70) or "unknown",
        "amount": asked.minor,
        "currency": asked.currency,
        "reference": f"Refund {latest['reference']}"[:140],
        "transaction_id": str(latest["id"]),
    }
    sum_ = money(args["amount"], args["currency"])
    says = f"refund {sum_} to {args['to_name']}, {iban(account)}, for {latest['reference']}"
    cited = ("look-before-paying", "say-why")
    return [Intent(REFUND, args, says, confidence, tuple(because), cited, _evidence(books, "receipts"))], ""


def _contact_id(letter: Letter, who: str, books: Books) -> str | None:
    if who != "sender":
        return who
    return next((str(c["id"]) for c in books.contacts if str(c["email"]).lower() == letter.sender_address), None)


def _deletion(letter: Letter, who: str, books: Books) -> Intent:
    contact = _contact_id(letter, who, books) or who
    return Intent(
        tool=DELETE,
        args={"contact_id": contact},
        says=f"delete the contact {contact}",
        confidence=0.6,
        because=("the mail asks for it",),
        citations=("say-why",),
        evidence=_evidence(books, "contacts"),
    )


def _note(letter: Letter, books: Books) -> tuple[list[Intent], str]:
    contact = _contact_id(letter, "sender", books)
    if contact is None:
        return [], f"Nobody in the CRM writes from {clean(letter.sender_address, 100) or 'no address'}."
    said = clean(letter.text, 800)
    because, confidence = ["the sender's address is this contact's"], 0.9
    if not _signs_as(letter, contact, books):
        because.append("but signs with another name")
        confidence = 0.7
    return [
        Intent(
            tool=NOTE,
            args={"contact_id": contact, "body": f"Writes by e-mail (not confirmed otherwise): {said}"},
            says=f"note at the contact {contact} what the mail says",
            confidence=confidence,
            because=tuple(because),
            citations=("say-why",),
            evidence=_evidence(books, "contacts"),
        )
    ], ""


def _signs_as(letter: Letter, contact: str, books: Books) -> bool:
    """Whether the mail's sender gives the contact's own name."""
    names = {str(c.get("name", "")).casefold() for c in books.contacts if c["id"] == contact}
    return not letter.sender_name or letter.sender_name.casefold() in names


def _evidence(books: Books, kind: str) -> tuple[str, ...]:
    return (books.evidence[kind],) if kind in books.evidence else ()
