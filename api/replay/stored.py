"""Stored decisions as the gate reads them, and deciding them again."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import TypeAdapter

from api.gate.decide import decide
from api.gate.models import ConstitutionFacts, Decision, DirectoryAnswer, Facts, LimitState, Proposal, RunFacts
from api.privacy.run_keys import SealBrokenError
from api.privacy.sealing import opened_run

#: Why a decision cannot be made again: it is from before what it rested on was kept; what was read is erased by now;
#: what is stored cannot be read.
Obstacle = Literal["no_basis", "observations_erased", "unreadable"]
#: What a person made of the action that was decided on.
Human = Literal["approved", "rejected", "edited", "answered"]

_ANSWERS = TypeAdapter(dict[str, DirectoryAnswer])
_STATES = TypeAdapter(dict[str, LimitState])


@dataclass(frozen=True, slots=True)
class Stored:
    """One decision as it was recorded, with all that it rested on. action_id: None of an evaluation."""

    id: UUID
    action_id: UUID | None
    human: Human | None
    proposal: Proposal
    facts: Facts
    decision: Decision

    def again(self, constitution: ConstitutionFacts | None = None) -> Decision:
        """What today's code decides at the same time on the same facts; under another constitution if one is given."""
        facts = self.facts if constitution is None else self.facts.model_copy(update={"constitution": constitution})
        return decide(self.proposal, facts, self.decision.decided_at)


@dataclass(frozen=True, slots=True)
class NotReplayable:
    """A decision that cannot be made again, and why."""

    id: UUID
    obstacle: Obstacle


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a page: where it stands in the order of all, and what it is."""

    decided_at: datetime
    id: UUID
    found: Stored | NotReplayable


def rows_of(page: dict[str, Any]) -> Iterator[Row]:
    """The rows of an answer of stored_decisions_v1, in its order. Facts that several share are read once."""
    facts: dict[str, Facts] = {}
    runs: dict[str, RunFacts] = {}
    for row in page["decisions"]:
        found: Stored | NotReplayable = NotReplayable(UUID(row["id"]), row["obstacle"] or "unreadable")
        if row["obstacle"] is None:
            with suppress(KeyError, ValueError, SealBrokenError):  # which says what it is in that place
                found = _stored(row, page, facts, runs)
        yield Row(datetime.fromisoformat(row["decided_at"]), UUID(row["id"]), found)


def _stored(row: dict[str, Any], page: dict[str, Any], facts: dict[str, Facts], runs: dict[str, RunFacts]) -> Stored:
    epoch, run = row["facts"], row["run"]
    if epoch not in facts:
        facts[epoch] = Facts.model_validate(page["facts"][epoch])
    if run is not None and run not in runs:
        runs[run] = RunFacts.model_validate(opened_run(page["runs"][run]))
    rested_on = {
        "run": runs[run] if run is not None else None,
        "directory": _ANSWERS.validate_python(row["basis"].get("directory", {})),
        "limits": _STATES.validate_python(row["basis"].get("limits", {})),
    }
    return Stored(
        id=UUID(row["id"]),
        action_id=UUID(row["action_id"]) if row["action_id"] else None,
        human=row["human"],
        proposal=_proposal(row["proposal"]),
        facts=facts[epoch].model_copy(update=rested_on),
        decision=Decision.model_validate(row["document"]),
    )


def _proposal(stored: dict[str, Any]) -> Proposal:
    """A proposal as it was decided on. An action's arguments are those that its payload's bytes say."""
    payload = stored.get("payload")
    args = stored["args"] if payload is None else json.loads(payload)["args"]
    return Proposal.model_validate(stored | {"args": args})
