"""Whom an action goes to, and what the directory says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from api.gate import normalise
from api.gate.accounts import composites
from api.gate.facts import DirectoryAnswer, KnownCounterparty
from api.gate.lookups import keys_of_value
from api.gate.pointer import covers, leaves, resolve

if TYPE_CHECKING:
    from api.gate.case import Case

#: Effects that go to somebody who has to be known: who is paid, and who may do something from now on.
EFFECTS = frozenset({"money_movement", "permission_change", "credential_change"})

#: Values that name nobody.
NOBODY: tuple[Any, ...] = (None, "", [], {})

State = Literal["known", "new", "cooling_off", "other_account", "look_alike"]


@dataclass(frozen=True, slots=True)
class Payee:
    """One value that says whom an action goes to, with its keys of the directory, the most telling first.

    account: the value is an account, so that what else is said of its owner has to agree. near: which of an action's
    several payees it belongs to: the pointer of the item that it is a part of, or nothing.
    """

    pointer: str
    value: str
    keys: list[str]
    account: bool
    near: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the directory says of one payee. message: for the reviewer; entries: who it is."""

    state: State
    pointer: str
    message: str
    entries: list[KnownCounterparty] = field(default_factory=list)


def payees(case: Case) -> list[Payee]:
    """Every argument of the roles account and recipient that is not one of our own, in the contract's order.

    Our own is what a reviewer listed: an argument whose values the grant pins (`records`), and, for whatever moves no
    money, the workflow's insiders. A bank's code and an account's number beside it are one account.
    """
    if case.contract is None:
        return []
    codes: set[str] = set()
    joined: dict[str, list[str]] = {}
    for account in composites(case.proposal.args):
        codes.add(account.code)
        joined.setdefault(account.number, []).append(account.key)
    found = []
    for pattern, pointer, value in _named(case):
        if pointer not in codes:
            keys = joined.get(pointer) or keys_of_value(value)
            accounts = [key for key in keys if key.startswith("account:")]
            found.append(Payee(pointer, str(value), accounts or keys, bool(accounts), _item(pattern, pointer)))
    return found


def counterparties(case: Case) -> list[str]:
    """Every key of the directory of every payee and recipient, without doubles, sorted."""
    return sorted({key for payee in case.payees for key in [*payee.keys, *keys_of_value(payee.value)]})


def standings(case: Case) -> list[Standing]:
    """What the directory says of each payee, where the action's effect asks for it."""
    if not case.effects & EFFECTS:
        return []
    groups: dict[str, list[Payee]] = {}
    for payee in case.payees:
        groups.setdefault(payee.near, []).append(payee)
    shared = groups.pop("", [])
    together = [shared + group for group in groups.values()] or ([shared] if shared else [])
    return list({(s.pointer, s.state, s.message): s for group in together for s in _of_one(case, group)}.values())


def _named(case: Case) -> Iterator[tuple[str, str, Any]]:
    assert case.contract is not None  # noqa: S101 - for the type checker; payees() has looked
    pinned = case.grant.records if case.grant else {}
    insiders = set() if "money_movement" in case.effects else {normalise.words(one) for one in case.spec.insiders}
    for pattern, argument in case.contract.arguments.items():
        if argument.role not in ("account", "recipient"):
            continue
        for at, given in resolve(case.proposal.args, pattern):
            for below, value in leaves(given):
                pointer = f"{at}{below}"
                if value in NOBODY or any(_is(own, pointer) for own in pinned):
                    continue
                if isinstance(value, str) and _inside(value, insiders):
                    continue
                yield pattern, pointer, value


def _is(pattern: str, pointer: str) -> bool:
    """Whether the grant pins exactly this argument: a pinned object says nothing of each part of it."""
    return covers(pattern, pointer) and pattern.count("/") == pointer.count("/")


def _inside(value: str, insiders: set[str]) -> bool:
    said = normalise.words(value)
    return said in insiders or ("@" in said and f"@{said.rpartition('@')[2]}" in insiders)


def _item(pattern: str, pointer: str) -> str:
    """The pointer of the innermost item that the argument is a part of; nothing for what is there once."""
    parts = pattern.split("/")
    deepest = max((n for n, part in enumerate(parts) if part == "*"), default=0)
    return "/".join(pointer.split("/")[: deepest + 1]) if deepest else ""


def _of_one(case: Case, group: list[Payee]) -> Iterator[Standing]:
    """Of the values that say whom one payment goes to: all of them, together, are one entry of the directory."""
    answers = [(payee, _answer(case, payee)) for payee in group]
    accounts = [(payee, answer) for payee, answer in answers if payee.account]
    others = [(payee, answer) for payee, answer in answers if not payee.account]
    named = _unique(entry for _, answer in others for entry in answer.entries)
    for payee, answer in accounts:
        if answer.entries:
            yield _of_account(case, payee, answer, others)
        elif named:
            yield Standing(
                "other_account",
                payee.pointer,
                f"CHANGED BANK DETAILS: {_names(named)} is known, but not with the account {payee.value[:60]}. "
                "Ask them, by a number that you had before, whether it is theirs.",
                named,
            )
        else:
            yield Standing(
                "new", payee.pointer, f"A new payee: nobody in the directory has the account {payee.value[:60]}."
            )
    owners = _unique(entry for _, answer in accounts for entry in answer.entries)
    for payee, answer in others:
        if found := _of_name(case, payee, answer, owners, bool(accounts)):
            yield found


def _of_account(
    case: Case, payee: Payee, answer: DirectoryAnswer, others: list[tuple[Payee, DirectoryAnswer]]
) -> Standing:
    owners = answer.entries
    for other, told in others:
        if told.entries and not {e.id for e in told.entries} & {e.id for e in owners}:
            return Standing(
                "other_account",
                payee.pointer,
                f"THE ACCOUNT IS ANOTHER'S: {payee.value[:60]} belongs to {_names(owners)}, and {other.value[:60]!r} "
                f"is {_names(told.entries)}.",
                owners,
            )
    return _known_since(case, payee, owners, f"The account is that of {_names(owners)}")


def _of_name(
    case: Case, payee: Payee, answer: DirectoryAnswer, owners: list[KnownCounterparty], beside_an_account: bool
) -> Standing | None:
    """What is said of a name, an address or another mark; None where the account's finding has said it."""
    if answer.entries:
        return None if beside_an_account else _known_since(case, payee, answer.entries, f"{_names(answer.entries)}")
    if any(_written_differently(payee.value, entry.name) for entry in owners):
        return None
    if answer.alike:
        alike = ", ".join(answer.alike[:5])
        return Standing("look_alike", payee.pointer, f"{payee.value[:60]!r} is not known, and looks like {alike}.")
    if owners:
        return Standing(
            "new",
            payee.pointer,
            f"The account is that of {_names(owners)}, and nobody in the directory is called {payee.value[:60]!r}.",
        )
    return Standing("new", payee.pointer, f"A new payee: {payee.value[:60]!r} is not in the directory.")


def _known_since(case: Case, payee: Payee, entries: list[KnownCounterparty], told: str) -> Standing:
    since = min(entry.trusted_from for entry in entries)
    if since <= case.now:
        return Standing("known", payee.pointer, f"{told}, in the directory and trusted.", entries)
    until = since.isoformat(timespec="minutes")
    return Standing(
        "cooling_off", payee.pointer, f"{told}, in the directory, and new there: cooling off until {until}.", entries
    )


def _answer(case: Case, payee: Payee) -> DirectoryAnswer:
    """What is known under the most telling key under which anything is known; and whom it resembles, if nobody is."""
    told = [case.facts.directory[key] for key in payee.keys if key in case.facts.directory]
    for answer in told:
        if answer.entries:
            return answer
    return DirectoryAnswer(alike=sorted({name for answer in told for name in answer.alike}))


def _written_differently(text: str, name: str) -> bool:
    """Whether a name is that of an account's owner, but for how it is written; the account itself is vouched for."""
    return normalise.alike(normalise.looks(text), normalise.looks(name))


def _unique(entries: Iterable[KnownCounterparty]) -> list[KnownCounterparty]:
    return list({entry.id: entry for entry in entries}.values())


def _names(entries: list[KnownCounterparty]) -> str:
    return " or ".join(sorted({entry.name[:80] for entry in entries}))
