"""One proposal with the facts that it is decided on, and what several checks need to know of it, worked out once."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from api.gate import limits, outbound, payees, provenance, risk
from api.gate.access_spec import AccessSpec, ToolGrant
from api.gate.contracts import Argument, Contract
from api.gate.decisions import Ground, LimitClaim, Risk, Signal
from api.gate.facts import Facts
from api.gate.grounding.ground import Grounding, ground
from api.gate.injection import signals_of
from api.gate.outbound import Review
from api.gate.payees import Payee, Standing
from api.gate.pointer import resolve
from api.gate.proposals import Proposal
from api.gate.provenance import Carried


@dataclass(frozen=True, slots=True)
class RoledArgument:
    """One argument that the proposal gives, at its exact pointer (without `/args`), with the role it plays."""

    pointer: str
    value: Any
    argument: Argument


@dataclass(frozen=True)
class Case:
    """What every check is given. `now` is the time of the decision, which nothing here asks a clock for."""

    proposal: Proposal
    facts: Facts
    now: datetime

    @property
    def spec(self) -> AccessSpec:
        return self.facts.workflow.spec

    @property
    def grant(self) -> ToolGrant | None:
        """What the workflow may do with the tool."""
        return self.spec.tools.get(self.proposal.tool)

    @property
    def contract(self) -> Contract | None:
        """The contract of a tool that the workflow names."""
        return self.facts.contracts.get(self.proposal.tool)

    @cached_property
    def effects(self) -> frozenset[str]:
        """What the tool does, by its contract and by the catalogue; empty when nobody knows."""
        return frozenset(self.facts.effects_of(self.proposal.tool))

    @cached_property
    def limits(self) -> list[LimitClaim]:
        """What the action takes of each limit that counts it."""
        return limits.claims(self)

    @cached_property
    def risk(self) -> Risk:
        """The risk score, with what it is the sum of."""
        return risk.assess(self)

    @cached_property
    def roled(self) -> list[RoledArgument]:
        """Every argument that the contract gives a role, in the contract's order."""
        if self.contract is None:
            return []
        return [
            RoledArgument(pointer, value, argument)
            for pattern, argument in self.contract.arguments.items()
            for pointer, value in resolve(self.proposal.args, pattern)
        ]

    @cached_property
    def grounding(self) -> Grounding:
        """Where every value was found, and what is missing of those that were not."""
        return ground(self)

    @cached_property
    def grounds(self) -> list[Ground]:
        """Where every value that has to be grounded was found; `none` for what was found nowhere that counts."""
        return self.grounding.grounds

    @cached_property
    def signals(self) -> list[Signal]:
        """Passages of untrusted text that read like instructions; never the only reason for anything."""
        return signals_of(self.facts.run) if self.facts.run is not None else []

    @cached_property
    def payees(self) -> list[Payee]:
        """Whom the action goes to: every account and recipient that is not one of our own."""
        return payees.payees(self)

    @cached_property
    def review(self) -> Review:
        """What a reviewer has read of a message, and what nobody has."""
        return outbound.review(self)

    @cached_property
    def carried(self) -> list[Carried]:
        """What the action carries away of what was read in the run, where its class is neither public nor internal."""
        return provenance.carried(self)

    @cached_property
    def counterparties(self) -> list[str]:
        """Whom the action goes to, as keys of the directory: every payee and recipient, without doubles, sorted."""
        return payees.counterparties(self)

    @cached_property
    def standings(self) -> list[Standing]:
        """What the directory says of whom the action goes to, where its effect asks for it."""
        return payees.standings(self)
