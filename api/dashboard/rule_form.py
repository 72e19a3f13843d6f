"""One rule as the fields of a form: what a person types becomes the document that the API takes, and back.

What is typed is never corrected: what cannot be read goes into the document as it is, so that validation names it.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from api.dashboard import format as formats
from api.dashboard.forms import Form
from api.gate.money import digits_of

#: How a list says, in a line of its own, that an action without any counterparty, or tier, is meant.
NOBODY = "(none)"
LIFTABLE = ("confidence", "value", "risk", "counterparty")
ROLES = ("owner", "admin", "approver", "operator")
#: What a new rule begins with.
BLANK: dict[str, Any] = {
    "id": "", "title": "", "principle": "", "applies_to": ["*"], "when": "", "effect": "require_approval",
    "approvals": None, "lifts": [], "bounds": {}, "expires_at": None,
}  # fmt: skip
Amounts = dict[str, list[Any]]
#: An amount as it is typed. A comma is between groups of three only: `12,50` may mean two things, and is refused.
#: Nor is a power of ten taken, which is as many digits as it says.
_AMOUNT = re.compile(r"-?(?=\.?[0-9])([0-9]{1,3}(,[0-9]{3})+|[0-9]*)(\.[0-9]*)?")
#: Characters of an amount, all of which are exact in a Decimal.
_LONGEST = 24


def document(form: Form, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The rule that the fields say. before: the rule that is edited, for its origin and the exact end of its last day.

    Approvals are read of a rule that asks people, and checks of one that lifts them; else they are left out.
    """
    effect = form.text("effect")
    told: dict[str, Any] = {
        "id": form.text("id"),
        "title": form.text("title"),
        "principle": form.text("principle"),
        "applies_to": _lines(form.text("applies_to")),
        "when": form.text("when"),
        "effect": effect,
        "approvals": _approvals(form) if effect == "require_approval" else None,
        "lifts": form.all("lifts") if effect == "allow" else [],
        "bounds": {
            "counterparties": _named(form.text("counterparties")),
            "amounts": _amounts(form.text("amounts")),
            "tiers": _named(form.text("tiers")),
            "workflows": _lines(form.text("workflows")),
        },
        "expires_at": _end(form.text("expires_at"), (before or {}).get("expires_at")),
    }
    origin = (before or {}).get("origin")
    return told | ({"origin": origin} if origin else {})


def lines(items: Any) -> str:
    """A list for a field, one in a line."""
    return "\n".join(str(item) or NOBODY for item in items or [])


def amounts(bounds: Mapping[str, Any]) -> str:
    """Amounts for a field: `EUR 0.00 to 1250.00`, one currency in a line."""
    told = []
    for currency, pair in (bounds.get("amounts") or {}).items():
        parts = pair if isinstance(pair, list | tuple) else [pair]
        told.append(f"{currency} {' to '.join(major(each, currency) for each in parts)}")
    return "\n".join(told)


def last_day(rule: Mapping[str, Any]) -> str:
    """The day of the end of a rule for a field of a date; '' without an end."""
    return formats.iso(rule.get("expires_at"))[:10] or str(rule.get("expires_at") or "")


def bounds(rule: Mapping[str, Any]) -> list[str]:
    """Where a rule ends, in plain words, one bound each; none when it reaches everybody and every amount."""
    given = rule.get("bounds") or {}
    told = []
    if given.get("counterparties"):
        told.append(f"Counterparty: {_or(given['counterparties'])}")
    for currency, pair in (given.get("amounts") or {}).items():
        if not _is_range(pair):
            told.append(f"Amount: {currency} {pair}")
            continue
        least, most = pair
        low, high = formats.money(least, currency), formats.money(most, currency)
        top = "" if most >= 2**53 - 1 else f" up to {high}"
        told.append(f"Amount: {f'from {low}' if least or not top else ''}{top}".replace(":  ", ": "))
    if given.get("tiers"):
        told.append(f"Tier of the subject: {_or(given['tiers'])}")
    if given.get("workflows"):
        told.append(f"Workflow: {_or(given['workflows'])}")
    return told


def whole(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A stored rule with what it leaves out, for a page."""
    full = BLANK | {"origin": {"kind": "written", "ref": ""}} | dict(rule)
    if full["approvals"] is not None:
        full["approvals"] = {"count": 1, "roles": ["owner", "approver"], "aal": "aal1"} | full["approvals"]
    return full


def _is_range(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(type(each) is int for each in pair)


def _or(items: list[str]) -> str:
    most = [item or "none at all" for item in items[:12]]
    return " or ".join(most) + (f" or {len(items) - 12} more" if len(items) > 12 else "")


def _lines(text: str) -> list[str]:
    return [part.strip() for line in text.splitlines() for part in line.split(",") if part.strip()]


def _named(text: str) -> list[str]:
    """Lines as they are: a name may hold a comma."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    return ["" if name == NOBODY else name for name in names]


def _approvals(form: Form) -> dict[str, Any] | None:
    count, roles = form.text("approvals_count"), form.all("approvals_roles")
    if not count and not roles and not form.text("approvals_aal"):
        return None
    told: dict[str, Any] = {"count": int(count) if count.isdecimal() and len(count) < 9 else count or 1}
    return told | ({"roles": roles} if roles else {}) | {"aal": "aal2" if form.text("approvals_aal") else "aal1"}


def _amounts(text: str) -> Amounts:
    found: Amounts = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        currency, _, rest = line.partition(" ")
        found[currency.upper()] = [minor(part, currency.upper()) for part in rest.split(" to ")]
    return found


def minor(typed: str, currency: str) -> Any:
    """The amount in minor units; what is no exact amount stays as it was typed, and is refused as that."""
    text = typed.strip()
    if len(text) > _LONGEST or not _AMOUNT.fullmatch(text):
        # So that nothing after this takes it for a whole number of minor units, as it would `+5` and `1_000`.
        return re.sub(r"[+_]", "?", text) if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    exact = Decimal(text.replace(",", "")).scaleb(digits_of(currency))
    return int(exact) if exact == exact.to_integral_value() else text


def major(amount: Any, currency: str) -> str:
    """Minor units as they are typed; what was no amount as it was typed."""
    return format(Decimal(amount).scaleb(-digits_of(currency)), "f") if type(amount) is int else str(amount)


def _end(typed: str, before: Any) -> Any:
    if not typed:
        return None
    if before and formats.iso(before)[:10] == typed:
        return before
    return f"{typed}T23:59:59Z"
