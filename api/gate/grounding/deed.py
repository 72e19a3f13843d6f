"""Whether the instruction asks for what the tool does, and names what it does it to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from api.gate.grounding.explain import Miss
from api.gate.grounding.instruction import words_of
from api.gate.grounding.lexicon import BOOKING, BY_EFFECT, DEEDS, EITHER, STOP
from api.gate.grounding.sources import sources_of

if TYPE_CHECKING:
    from api.gate.case import Case
    from api.gate.contracts import Contract

_SHOWN = 8
_REACHING = frozenset({"recipient", "account", "amount", "object_id", "url"})


def unasked(case: Case) -> Iterator[Miss]:
    """One miss for each effect of the tool that the instruction does not ask for. Only the instruction can ask."""
    run, contract = case.facts.run, case.contract
    if run is None or contract is None:
        return
    reading = sources_of(run).reading
    own = [intent.lower() for intent in contract.intents]
    for effect in sorted(case.effects):
        named = set(words_of(contract.name.rpartition(".")[2])) - STOP if effect == "write" else set()
        # Of `reserve_hotel` the deed asks, not the thing: "find hotel reviews" is no reservation.
        named = named & (DEEDS["write"] | EITHER) or named
        if effect == "money_movement" and any(one.currencies for one in reading.written):
            named |= {"send", "give"}  # "Send Bob 50 euros": of money, these are deeds too
        # A write that reaches nobody and moves nothing is not asked for by "send Bob a mail".
        known = "kept_write" if effect == "write" and not _reaches(contract) else effect
        if not reading.asks_for(known, [*own, *named]):
            deeds = [*own, *sorted(named), *BY_EFFECT.get(known, ())]
            words = ", ".join(dict.fromkeys(deed.replace("_", " ") for deed in deeds[:_SHOWN]))
            yield Miss(
                "/tool",
                f"The instruction does not ask for this ({effect.replace('_', ' ')}). It would with words such as: "
                f"{words or 'none that are known'}. Whatever else was read in the run cannot ask.",
            )


def _reaches(contract: Contract) -> bool:
    """Whether the tool takes somebody to reach, an object or money, so that messages and payments may be its deeds."""
    return any(argument.role in _REACHING for argument in contract.arguments.values())


def unnamed(case: Case) -> Iterator[Miss]:
    """What is done to one certain thing, and that thing is named by nobody who may: see docs/grounding.md."""
    contract = case.contract
    if contract is None or case.facts.run is None:
        return
    destructive, books = "destructive" in case.effects, books_or_cancels(contract)
    has_object = any(argument.role == "object_id" for argument in contract.arguments.values())
    if not destructive and not books and (contract.reversible or not has_object):
        return
    grounds = case.grounding.grounds
    objects = [ground for ground in grounds if ground.role == "object_id"]
    for ground in objects:
        if ground.source == "metadata":
            yield Miss(
                ground.pointer,
                "This cannot be taken back as if it had not been, so what it is done to has to be named in the "
                f"instruction or a trusted record. It was found in {ground.where}, which is metadata.",
            )
    if objects:
        return
    if destructive:
        yield Miss("/args", "This destroys something, and the action does not say what: no argument names an object.")
    elif books and not case.grounding.whole and not any(g.source in ("instruction", "trusted_record") for g in grounds):
        yield Miss(
            "/args",
            "This books, orders or cancels something that neither the instruction nor a trusted record names.",
        )


def books_or_cancels(contract: Contract) -> bool:
    """Whether the tool's own name or title says that it books, orders, cancels or the like."""
    said = words_of(f"{contract.name.rpartition('.')[2].replace('_', ' ')} {contract.title}")
    return not BOOKING.isdisjoint(said)
