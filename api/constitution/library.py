"""Rules that are ready to be taken over, by area. A tenant adds them to its own, and changes what it likes.

Each looks before it reads (`"x" in args`), so that it errs on no tool that takes other arguments. Where an amount
decides, it is the rule's bounds that say so: tools count in cents or in whole units, and the bounds know which.
"""

from functools import cache
from typing import Any, Literal

from api.gate.models import Approvals, Origin, Rule, Strict

Area = Literal["finance", "crm", "support", "outbound"]

TWO = Approvals(count=2, roles=["owner", "approver"], aal="aal2")
ONE = Approvals(count=1, roles=["owner", "approver"], aal="aal2")
MOST = 2**53 - 1
_MONEY = 'action.effect == "money_movement"'
_SENDS = 'action.effect in ["outbound_message", "mass_outbound"]'
#: Where the words of a message are, of a note, and of a ticket.
_MESSAGES, _NOTES, _TICKETS = ("body", "text"), ("body", "content"), ("body",)


class Ready(Strict):
    """One rule of the library."""

    area: Area
    rule: Rule


@cache
def library() -> tuple[Ready, ...]:
    """Every rule, by area; their ids are unique and fit beside a tenant's own."""
    return (*_finance(), *_crm(), *_support(), *_outbound())


def _from(least: int) -> dict[str, tuple[int, int]]:
    return dict.fromkeys(("EUR", "USD", "GBP", "CHF"), (least, MOST))


def _says(*words: str, within: tuple[str, ...]) -> str:
    """Whether any text of a message holds one of the words; as they are written here, or with a capital."""
    forms = [form for word in words for form in dict.fromkeys((word, word[0].upper() + word[1:]))]
    found = " || ".join(
        f'"{name}" in args && ({" || ".join(f"args.{name}.contains({form!r})" for form in forms)})' for name in within
    )
    return found.replace("'", '"')


def _ready(area: Area, identity: str, title: str, principle: str, when: str, effect: str, **more: Any) -> Ready:
    identity = f"{area}-{identity}"
    origin = Origin(kind="library", ref=identity)
    written = {"id": identity, "title": title, "principle": principle, "when": when, "effect": effect, "origin": origin}
    return Ready(area=area, rule=Rule.model_validate(written | more))


def _finance() -> tuple[Ready, ...]:
    def rule(identity: str, title: str, principle: str, when: str, effect: str, **more: Any) -> Ready:
        return _ready("finance", identity, title, principle, when, effect, **more)

    ask, deny = "require_approval", "deny"
    return (
        rule("look-before-paying", "Look before paying",
             "Money moves only for what was read in the same run; a payment out of nowhere is refused.",
             f"{_MONEY} && action.evidence == 0", deny),
        rule("two-above-10000", "Two people from 10,000.00 on",
             "Whatever moves 10,000.00 or more is approved by two people, each with a second factor.",
             _MONEY, ask, approvals=TWO, bounds={"amounts": _from(1_000_000)}),
        rule("nothing-above-100000", "Nothing from 100,000.00 on",
             "Sums of 100,000.00 or more are paid by people at the bank, not by an agent.",
             _MONEY, deny, bounds={"amounts": _from(10_000_000)}),
        rule("office-hours", "Money moves in office hours",
             "Outside of 7:00 to 19:00 two people approve: frauds prefer the hours when nobody looks.",
             f'{_MONEY} && (now.getHours("Europe/Berlin") < 7 || now.getHours("Europe/Berlin") >= 19)', ask,
             approvals=TWO),
        rule("no-weekends", "No money at weekends",
             "On Saturdays and Sundays two people approve what moves money.",
             f'{_MONEY} && now.getDayOfWeek("Europe/Berlin") in [0, 6]', ask, approvals=TWO),
        rule("usual-currencies", "Only usual currencies",
             "Money in another currency than those that we work in is looked at by two people.",
             f'{_MONEY} && "currency" in args && !(args.currency in ["EUR", "USD", "GBP", "CHF"])', ask,
             approvals=TWO),
        rule("with-a-reference", "Payments say what for",
             "A payment whose reference is empty cannot be matched later; it is refused.",
             f'{_MONEY} && "reference" in args && args.reference == ""', deny),
        rule("refund-of-a-charge", "A refund names its charge",
             "Money goes back only for a payment that is named; a refund of nothing in particular is refused.",
             '!("payment_intent" in args) && !("transaction_id" in args)', deny,
             applies_to=["*.refunds.create"]),
        rule("large-refunds", "Two people for large refunds",
             "A refund of 1,000.00 or more is approved by two people.",
             "true", ask, applies_to=["*.refunds.*"], approvals=TWO, bounds={"amounts": _from(100_000)}),
        rule("new-accounts-by-two", "Two people for a new account to pay to",
             "Who adds an account to pay to could be paying himself; two people approve it.",
             "true", ask, applies_to=["*.recipients.create*", "*.beneficiaries.*", "*.payees.*"], approvals=TWO),
        rule("prices-by-people", "Prices are people's",
             "A changed price or a new invoice is approved with a second factor, with the reason at hand.",
             'action.effect == "pricing"', ask, approvals=ONE),
        rule("voids-by-two", "Two people void an invoice",
             "To void an invoice is to forgo money; two people approve it.",
             "true", ask, applies_to=["*.invoices.void"], approvals=TWO),
        rule("budget-nearly-used", "Look when the budget is nearly used",
             "When less than 1,000.00 of the limit `monthly` is left, a person decides what it goes to.",
             '"monthly" in limits && "remaining" in limits["monthly"] && limits["monthly"].remaining < 100000', ask),
    )  # fmt: skip


def _crm() -> tuple[Ready, ...]:
    def rule(identity: str, title: str, principle: str, when: str, effect: str, **more: Any) -> Ready:
        return _ready("crm", identity, title, principle, when, effect, **more)

    ask, deny = "require_approval", "deny"
    people = ["*.contacts.update", "*.persons.update"]
    return (
        rule("people-delete-people", "Only people delete people",
             "An agent may ask for a contact to be deleted by telling somebody; it does not propose it.",
             'principal.kind != "user" && action.effect == "destructive"', deny,
             applies_to=["*.contacts.*", "*.persons.*", "*.customers.*"]),
        rule("email-changes", "A changed e-mail address is looked at",
             "Whoever takes over an address takes over the account; a person asks the customer first.",
             '"email" in args', ask, applies_to=people),
        rule("phone-changes", "A changed telephone number is looked at",
             "It is by this number that we call back; a person asks the customer first.",
             '"phone" in args', ask, applies_to=people),
        rule("won-by-people", "People call a deal won",
             "What counts as won counts for forecasts and commissions.",
             '"status" in args && args.status == "won"', ask, applies_to=["*.deals.update"]),
        rule("lost-with-a-reason", "A lost deal says why",
             "A deal that is called lost without its reason teaches nobody anything; it is refused.",
             '"status" in args && args.status == "lost" && !("lost_reason" in args)', deny,
             applies_to=["*.deals.update"]),
        rule("key-accounts", "Key accounts are people's",
             "What concerns a key account is looked at by whoever looks after it.",
             '"tier" in subject && subject.tier in ["key", "enterprise", "gold"]', ask,
             applies_to=["*.contacts.*", "*.persons.*", "*.deals.*", "*.opportunities.*"]),
        rule("no-bank-details-in-notes", "No bank details in notes",
             "Bank details belong into the directory, where two people vouch for them, not into notes.",
             _says("IBAN", "bank details", "account number", "sort code", within=_NOTES), ask,
             applies_to=["*.notes.create"]),
        rule("notes-need-no-confidence", "A note needs no certainty",
             "A note that is wrong is corrected by another note; it need not wait because the agent is in doubt.",
             "true", "allow", applies_to=["*.notes.create"], lifts=["confidence"]),
    )  # fmt: skip


def _support() -> tuple[Ready, ...]:
    def rule(identity: str, title: str, principle: str, when: str, effect: str, **more: Any) -> Ready:
        return _ready("support", identity, title, principle, when, effect, **more)

    ask = "require_approval"
    replies = ["*.tickets.reply", "*.tickets.create_public"]
    return (
        rule("no-promises", "No promises of money",
             "A refund, a credit or a discount is promised by a person.",
             _says("refund", "compensation", "discount", "credit note", within=_TICKETS), ask, applies_to=replies),
        rule("law-to-people", "What sounds of law goes to people",
             "Whoever mentions a lawyer, a court or the data protection law is answered by a person.",
             _says("lawyer", "legal action", "court", "GDPR", within=_TICKETS), ask, applies_to=replies),
        rule("solved-by-what-was-read", "Solved only by what was read",
             "A ticket is closed for a reason that was read in the same run.",
             '"status" in args && args.status in ["solved", "closed"] && action.evidence == 0', ask,
             applies_to=["*.tickets.set_status", "*.tickets.update"]),
        rule("urgent-is-urgent", "People call a ticket urgent",
             "What is urgent wakes somebody; a person says so.",
             '"priority" in args && args.priority in ["urgent", "critical"]', ask, applies_to=["*.tickets.*"]),
        rule("best-customers", "The best customers hear from people",
             "A reply to a key customer is read before it goes.",
             '"tier" in subject && subject.tier in ["key", "enterprise", "gold"]', ask, applies_to=replies),
        rule("comments-need-no-confidence", "An internal comment needs no certainty",
             "A comment that only colleagues read need not wait because the agent is in doubt.",
             'action.effect == "write"', "allow", applies_to=["*.tickets.comment"], lifts=["confidence"]),
    )  # fmt: skip


def _outbound() -> tuple[Ready, ...]:
    def rule(identity: str, title: str, principle: str, when: str, effect: str, **more: Any) -> Ready:
        return _ready("outbound", identity, title, principle, when, effect, **more)

    ask, deny = "require_approval", "deny"
    return (
        rule("no-passwords", "No passwords by message",
             "No message asks for a password or sends one.",
             f"{_SENDS} && ({_says('password', 'passcode', 'one-time code', within=_MESSAGES)})", deny),
        rule("only-safe-links", "Only encrypted links",
             "A link in a message begins with https; any other is refused.",
             f"{_SENDS} && ({_says('http://', within=_MESSAGES)})", deny),
        rule("quiet-hours", "Quiet hours",
             "Between 20:00 and 8:00 nobody outside hears from us without a person.",
             f'{_SENDS} && (now.getHours("Europe/Berlin") < 8 || now.getHours("Europe/Berlin") >= 20)', ask),
        rule("quiet-weekends", "Quiet weekends",
             "On Saturdays and Sundays nobody outside hears from us without a person.",
             f'{_SENDS} && now.getDayOfWeek("Europe/Berlin") in [0, 6]', ask),
        rule("many-by-two", "Two people for a message to many",
             "What goes to many cannot be taken back from any; two people read it.",
             'action.effect == "mass_outbound"', ask, approvals=Approvals(count=2)),
        rule("copies", "Copies are looked at",
             "A message with copies goes to more people than the conversation had.",
             f'{_SENDS} && "cc" in args', ask),
        rule("long-messages", "Long messages are read first",
             "A message of more than 4,000 characters is read before it goes.",
             " || ".join(f'"{name}" in args && size(args.{name}) > 4000' for name in _MESSAGES), ask,
             applies_to=["*.messages.*", "*.tickets.reply", "*.tickets.create_public"]),
        rule("unsure", "Doubt does not go out",
             "What the agent is less than nine tenths sure of is read before it goes.",
             f"{_SENDS} && action.confidence < 0.9", ask),
        rule("say-why", "Messages say by which rule",
             "A message goes out because of a rule that the agent cites; without one a person decides.",
             f"{_SENDS} && size(action.citations) == 0", ask),
    )  # fmt: skip
