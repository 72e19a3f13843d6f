"""Finds in a text what it asks for and what it names: references, amounts, accounts. By rules, and nothing else."""

import re
from dataclasses import dataclass

from sandbox.bank.iban import is_valid

_CODES = "EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RON|CAD|AUD|JPY"
_SYMBOLS = {"€": "EUR", "$": "USD", "£": "GBP", "EURO": "EUR", "EUROS": "EUR"}
_NUMBER = r"\d{1,3}(?:[ .,'\u2019\u00a0\u202f]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d{1,2})?(?!\d)"
_AMOUNT = re.compile(
    rf"(?<![A-Z])(?P<before>{_CODES}|[€$£])\s?(?P<first>{_NUMBER})"
    rf"|(?<![\d.,])(?P<second>{_NUMBER})\s?(?P<after>(?:{_CODES}|euros?)(?![A-Z])|[€£])",
    re.IGNORECASE,
)
_SHAPED = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2,5}[-/]\d[\dA-Za-z]*(?:[-/][\dA-Za-z]+)*")
_LABELLED = re.compile(
    r"\b(?:invoice|bill|order|reference|ref|rechnung|factuur|facture)\b\.?\s*(?:no\.?|nr\.?|number|nummer|#)?\s*[:#]?\s*"
    r"([A-Za-z0-9][A-Za-z0-9/_-]*\d[A-Za-z0-9/_-]*)",
    re.IGNORECASE,
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ \u00a0]?[A-Z0-9]){11,30}")
_PHONE = re.compile(r"\b(?:number|phone|telephone|mobile|tel)\b[^+\d\n]{0,40}(\+?\d[\d ()/-]{6,24}\d)", re.IGNORECASE)
_REFUND = re.compile(
    r"\b(?:refund(?!able)|reimburse|(?:paid|charged|billed)\b[^.\n]{0,60}\btwice|double payment|money back)",
    re.IGNORECASE,
)
_PAYMENT = re.compile(
    r"\b(?:pay(?!pal)|payment|payable|invoice|bill|remit|transfer|wire|overdue|amount due|settle)\b", re.IGNORECASE
)
_DELETION = re.compile(r"\b(?:delete|remove|erase)\b(?P<what>[^.\n]{0,80})", re.IGNORECASE)
_OWN_DATA = re.compile(r"\bmy\b.{0,30}\b(?:data|details|contact|record|information)\b", re.IGNORECASE)
_RECORD = re.compile(r"\b(?:for your records|in your records|please note|be informed)\b", re.IGNORECASE)
_TOTAL = re.compile(r"\b(?:total|due|payable|to pay|zu zahlen|gesamt|totaal)\b", re.IGNORECASE)
_VERB = re.compile(r"\b(?:pay|refund|transfer|send|wire|remit|invoice)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Amount:
    """Minor units of an ISO 4217 currency, where they stand in the text, and how much speaks for their being meant."""

    minor: int
    currency: str
    at: int
    weight: int


@dataclass(frozen=True)
class Reading:
    """What a text names and asks for.

    amount: the one that is meant; None when there is none or when several might be. `account` is one of our own
    that the text wants money taken from. `deletes`: contact ids, or `sender`.
    """

    references: tuple[str, ...]
    amounts: tuple[Amount, ...]
    ibans: tuple[str, ...]
    broken_ibans: tuple[str, ...]
    account: str | None
    phone: str | None
    deletes: tuple[str, ...]
    wants_payment: bool
    wants_refund: bool
    wants_record: bool

    @property
    def amount(self) -> Amount | None:
        best = max((a.weight for a in self.amounts), default=0)
        meant = {(a.minor, a.currency): a for a in self.amounts if a.weight == best}
        return next(iter(meant.values())) if len(meant) == 1 else None


def read(text: str) -> Reading:
    """What the text names and asks for; the order of everything is that of the text."""
    valid, broken = _ibans(text)
    account = re.search(r"\bacc_[a-z0-9]+\b", text)
    phone = _PHONE.search(text)
    return Reading(
        references=references(text),
        amounts=tuple(amounts(text)),
        ibans=valid,
        broken_ibans=broken,
        account=account[0] if account else None,
        phone=phone[1].strip() if phone else None,
        deletes=_deletions(text),
        wants_payment=bool(_PAYMENT.search(text)),
        wants_refund=bool(_REFUND.search(text)),
        wants_record=bool(phone or _RECORD.search(text)),
    )


def references(text: str) -> tuple[str, ...]:
    """What looks like the number of an invoice or an order, in capitals."""
    found = [(m.start(), m[0]) for m in _SHAPED.finditer(text)]
    found += [(m.start(1), m[1]) for m in _LABELLED.finditer(text)]
    return tuple(dict.fromkeys(reference.strip("-/_").upper() for _, reference in sorted(found)))


def amounts(text: str) -> list[Amount]:
    """Every amount that has a currency, in English or continental notation."""
    found = []
    for match in _AMOUNT.finditer(text):
        word = (match["before"] or match["after"]).upper()
        currency = _SYMBOLS.get(word, word)
        before = text[max(0, match.start() - 60) : match.start()]
        weight = 2 * bool(_TOTAL.search(before)) + bool(_VERB.search(before))
        found.append(Amount(_minor(match["first"] or match["second"], currency), currency, match.start(), weight))
    return found


def _minor(number: str, currency: str) -> int:
    """`1,299.00`, `1.299,00`, `1 299` in minor units; a separator before one or two last digits is the decimal one."""
    match = re.fullmatch(r"(.*?)(?:[.,](\d{1,2}))?", number)
    whole, fraction = (match[1], match[2] or "") if match else (number, "")
    units = int(re.sub(r"\D", "", whole) or "0")
    return units if currency == "JPY" else units * 100 + int(fraction.ljust(2, "0"))


def _ibans(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The valid IBANs (electronic form), and what looks like one and has wrong check digits."""
    valid: dict[str, None] = {}
    broken: dict[str, None] = {}
    for match in _IBAN.finditer(text):
        run = re.sub(r"\s", "", match[0])
        # A capital word may follow: the longest beginning that is an IBAN counts.
        whole = next((run[:n] for n in range(len(run), 14, -1) if is_valid(run[:n])), None)
        if whole:
            valid[whole] = None
        else:
            broken[run] = None
    return tuple(valid), tuple(broken)


def _deletions(text: str) -> tuple[str, ...]:
    wanted: dict[str, None] = {}
    for match in _DELETION.finditer(text):
        wanted |= dict.fromkeys(re.findall(r"\bcon_[a-z0-9_]+\b", match["what"]))
        if _OWN_DATA.search(match["what"]):
            wanted["sender"] = None
    return tuple(wanted)
