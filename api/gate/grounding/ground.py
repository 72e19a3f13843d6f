"""Grounds one case: every value of its arguments, what it does and what it does it to."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from api.gate import normalise, worth
from api.gate.accounts import composites
from api.gate.contracts import ArgumentRole
from api.gate.decisions import Ground, Source
from api.gate.grounding import derived, keys, lexicon, match, schema
from api.gate.grounding.addresses import MAX_FOUND, Address, across, scan
from api.gate.grounding.explain import Miss, miss
from api.gate.grounding.instruction import stem, words_of
from api.gate.grounding.match import Found, Sought
from api.gate.grounding.sinks import Sink, TooMuchError, sinks
from api.gate.grounding.sources import Sources, sources_of
from api.gate.lookups import directory_keys
from api.gate.money import digits_of
from api.gate.outbound import EFFECTS as MESSAGES

if TYPE_CHECKING:
    from api.gate.case import Case
    from api.gate.contracts import Contract
    from api.gate.facts import RunFacts


@dataclass
class Grounding:
    """Where each value was found, in the order of the arguments, and what is missing of those that were not found.

    nothing: why no value could be looked at. whole: pointers of texts that some source has as a whole.
    """

    grounds: list[Ground] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)


def ground(case: Case) -> Grounding:
    """Never raises for a well-formed proposal. Without a run or a contract, nothing is grounded."""
    run, contract = case.facts.run, case.contract
    found = Grounding()
    if run is None:
        found.misses.append(Miss(None, "What the run was asked and has read is not known, so no value is grounded."))
    elif contract is None:
        found.misses.append(Miss(None, "The tool's contract is not known, so no value is grounded."))
    else:
        _Grounder(case, run, contract, found).all()
    return found


class _Grounder:
    def __init__(self, case: Case, run: RunFacts, contract: Contract, found: Grounding) -> None:
        self.case, self.contract, self.found = case, contract, found
        self.sources: Sources = sources_of(run)
        self.pairs: dict[str, list[str]] = {}
        self.worth: dict[str, worth.Amount] = {}

    def all(self) -> None:
        try:
            given = list(sinks(self.contract, self.case.proposal.args))
        except TooMuchError as error:
            text = f"The arguments have {error}, which is more than can be looked through, so no value is grounded."
            self.found.misses.append(Miss("/args", text))
            return
        for account in composites(self.case.proposal.args):
            for pointer in (account.code, account.number):
                self.pairs.setdefault(pointer, []).append(account.key)
        self.worth = {amount.pointer: amount for amount in worth.amounts(self.contract, self.case.proposal.args)}
        before: Sink | None = None
        for sink in given:
            if sink.role == "free_text":
                self._text(sink, before)
                before = sink
            else:
                self._value(sink)

    def _value(self, sink: Sink) -> None:
        want = match.sought(sink.role, sink.value, sink.name, self.pairs.get(sink.pointer))
        if sink.role == "recipient" and not self._speaks_of_senders():
            found = self._listed(sink) or self._anywhere(sink.role, want, ("metadata",))
        else:
            found = self._listed(sink) or self._by_role(sink, want)
        if found is not None and found.source == "metadata" and self._is_stranger(sink):
            found = None
        self._keep(sink.pointer, sink.role, found, want, sink.value)

    def _text(self, sink: Sink, before: Sink | None) -> None:
        addresses = scan(sink.value)
        if before is not None:
            addresses = (*across(before.value, sink.value), *addresses)
        if len(addresses) > MAX_FOUND:
            told = f"The text has more than {MAX_FOUND} addresses, which is more than can be looked at."
            self.found.misses.append(Miss(f"/args{sink.pointer}", told))
        for address in addresses[:MAX_FOUND]:
            want = Sought(
                address.role, address.text, keys.equal(address.keys), list(directory_keys(address.keys)), True
            )
            found = None if address.disguised else self._listed_address(address) or self._anywhere(address.role, want)
            self._keep(sink.pointer, address.role, found, want, address.text, disguised=address.disguised)
        whole = match.sought("setting", sink.value)
        if len(sink.value) <= keys.MAX_VALUE and self._anywhere("setting", whole):
            self.found.whole.add(sink.pointer)

    def _keep(
        self, pointer: str, role: ArgumentRole, found: Found | None, want: Sought, value: Any, disguised: bool = False
    ) -> None:
        at = f"/args{pointer}"
        if found is None:
            self.found.grounds.append(Ground(pointer=at, role=role, source="none"))
            self.found.misses.append(miss(self.case, self.sources, at, role, want, value, disguised))
        else:
            self.found.grounds.append(Ground(pointer=at, role=role, source=found.source, where=found.where))

    def _listed(self, sink: Sink) -> Found | None:
        """What a person wrote into the workflow for this argument, who read it when it was approved."""
        grant = self.case.grant
        if grant is None:
            return None
        tool = f"tools.{self.case.proposal.tool}"
        for pattern, listed in grant.records.items():
            same = any(type(value) is type(sink.value) and value == sink.value for value in listed)
            if same and match.is_at(pattern, sink.pointer):
                return Found("trusted_record", f"listed in the workflow, {tool}.records")
        if sink.role == "recipient" and grant.outbound and _among(str(sink.value), grant.outbound.recipients):
            return Found("trusted_record", f"listed in the workflow, {tool}.outbound.recipients")
        return None

    def _listed_address(self, address: Address) -> Found | None:
        """A text may say where our own people and reviewed recipients are reached."""
        grant, spec = self.case.grant, self.case.spec
        reviewed = [*spec.insiders, *(grant.outbound.recipients if grant and grant.outbound else [])]
        kind, _, value = address.keys[0].partition(":")
        if kind == "email" and _among(value, reviewed):
            return Found("trusted_record", "listed in the workflow")
        if kind == "domain" and f"@{value.removeprefix('www.')}" in reviewed:
            return Found("trusted_record", "listed in the workflow")
        return None

    def _by_role(self, sink: Sink, want: Sought) -> Found | None:
        if sink.role in ("amount", "quantity"):
            return self._number(sink)
        if sink.role == "setting":
            return self._setting(sink, want)
        return self._anywhere(sink.role, want)

    def _is_stranger(self, sink: Sink) -> bool:
        """Whether an address is an outsider's, for whom a write would open something.

        Of messages `outbound` asks that; nothing else does of what merely adds somebody, and "her" may be anybody.
        """
        address = sink.role == "recipient" and "@" in str(sink.value) and not self.case.effects & MESSAGES
        return address and bool(self.case.spec.insiders) and not _among(str(sink.value), self.case.spec.insiders)

    def _speaks_of_senders(self) -> bool:
        """Whoever wrote is whom an answer goes to. What else is done to them has to be asked for."""
        return bool(self.case.effects & MESSAGES) or self.sources.reading.says(lexicon.SENDERS)

    def _anywhere(self, role: ArgumentRole, want: Sought, but: tuple[Source, ...] = ()) -> Found | None:
        for source in match.ALLOWED[role]:
            if source in but:
                continue
            where: str | None = None
            if source == "instruction":
                where = match.in_instruction(self.sources.reading, self.sources.subject, want)
            elif source == "trusted_record":
                where = match.in_records(self.sources, want)
            elif source == "directory":
                where = match.in_directory(self.case.facts.directory, want, self.case.now)[0]
            elif source == "metadata":
                where = match.in_metadata(self.sources, want)
            if where is not None:
                return Found(source, where)
        return None

    def _setting(self, sink: Sink, want: Sought) -> Found | None:
        described = schema.part(self.contract.input_schema, sink.pointer)
        if why := schema.settled(described, sink.value):
            return Found("trusted_record", why)
        reading = self.sources.reading
        if isinstance(sink.value, bool):
            told = [word for word in keys.words_of_name(sink.name) if word not in lexicon.STOP]
            return Found("instruction", "named there") if reading.switches(told, sink.value) else None
        number = keys.decimal(sink.value)
        if number is not None and match.numbers_in_instruction(reading, number):
            return Found("instruction", "named there")
        if isinstance(sink.value, str):
            if reading.rules_out(sink.value):
                return self._anywhere("setting", want, ("instruction",))
            if match.date_in_instruction(reading, sink.value, self.case.now):
                return Found("instruction", "the date that it names")
            parts = words_of(sink.value.replace("_", " "))
            if "enum" in described and parts and all(stem(word) in reading.stems for word in parts):
                return Found("instruction", "named there")
        if number is not None and (where := self.sources.trusted([keys.of_number(number)])):
            return Found("trusted_record", where)
        return self._anywhere("setting", want)

    def _number(self, sink: Sink) -> Found | None:
        number = keys.decimal(sink.value)
        if number is None:
            return self._anywhere("setting", match.sought("setting", sink.value)) if sink.role == "quantity" else None
        if sink.role == "amount":
            return self._amount(sink, abs(number))
        described = schema.part(self.contract.input_schema, sink.pointer)
        usual = described.get("default")
        if isinstance(usual, int | float) and not isinstance(usual, bool) and abs(number) <= usual:
            return Found("trusted_record", "no more than the contract's default")
        if schema.settled(described, sink.value):
            return Found("trusted_record", "the only value that the contract allows")
        if match.numbers_in_instruction(self.sources.reading, number):
            return Found("instruction", "named there")
        where = self.sources.trusted([keys.of_number(number)])
        if (
            where is None
            and number == int(number)
            and (how := derived.derive(self.sources, int(number), _counts, None))
        ):
            return Found("derived", how)
        return Found("trusted_record", where) if where else None

    def _amount(self, sink: Sink, number: Decimal) -> Found | None:
        known = self.worth.get(sink.pointer)
        currency = known.currency if known else None
        digits = digits_of(currency or "EUR")
        exact = number.scaleb(digits) if sink.argument.unit == "major" else number
        if exact != exact.to_integral_value() or exact >= 2**63:
            return None
        minor, major = int(exact), exact.scaleb(-digits)
        written = self.sources.reading.written
        # Where amounts are written with their currency, a bare number beside them is none.
        marked = [one for one in written if one.currencies]
        if any(one.is_amount(major, currency) for one in marked or written):
            return Found("instruction", "named there")

        def units(tool: str) -> Literal["minor", "major"] | None:
            return self._unit(tool, sink)

        for seen in self.sources.observations:
            for value in (major, exact):
                for money in seen.by_value.get(value, ()):
                    if derived.minor_of(money, units(seen.tool), currency) == minor:
                        return Found("trusted_record", seen.where(money.pointer))
        how = derived.derive(self.sources, minor, units, currency)
        return Found("derived", how) if how else None

    def _unit(self, tool: str, sink: Sink) -> Literal["minor", "major"] | None:
        """In which unit a tool that was read with counts: that of its provider's other tools, where it is one.

        Between two providers, 50 may be half a euro or fifty; from the same one it is what the argument says.
        """
        provider = tool.partition(".")[0]
        if provider == self.case.proposal.tool.partition(".")[0]:
            return sink.argument.unit
        contracts = (c for name, c in self.case.facts.contracts.items() if name.partition(".")[0] == provider)
        units = {a.unit for contract in contracts for a in contract.arguments.values() if a.role == "amount"}
        return units.pop() if len(units) == 1 else None


def _counts(tool: str) -> Literal["minor", "major"] | None:
    """Numbers that are no money count what they say."""
    return "minor"


def _among(value: str, listed: list[str]) -> bool:
    """Whether a recipient is one of those listed: an address, everybody of a domain, or a channel by its name."""
    said = (keys.email(value) or "").removeprefix("email:") if "@" in value else normalise.words(value.lstrip("#"))
    if not said:
        return False
    return any(
        said == normalise.words(one.lstrip("#")) or ("@" in said and one.lower() == f"@{said.rpartition('@')[2]}")
        for one in listed
    )
