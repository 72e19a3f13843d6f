"""The corpus of recorded decisions in tests/corpus/decisions: what the gate decides, so that a change of it is seen.

    python -m scripts.record_corpus                          compare: print what is decided otherwise now, end with 1
    python -m scripts.record_corpus --accept                 make that the corpus: after a change that is meant
    python -m scripts.record_corpus --tenant ID [--limit N]  add a tenant's stored decisions, of synthetic data only

Each file holds one decision with all that it rests on, as JSON: {proposal, facts, now, decision}. `--accept` builds the
files `built-*` anew (tests/corpus/built.py) and decides the files `recorded-*` again on the facts in them. `--tenant`
reads with the settings of the deployment (DATABASE_URL) and leaves out facts that a decision does not rest on.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from pathlib import Path
from typing import Any
from uuid import UUID

from api.gate.decide import decide
from api.gate.models import Decision, Facts, Proposal

CORPUS = Path(__file__).resolve().parent.parent / "tests" / "corpus" / "decisions"
#: Lines of a difference that are printed of one decision.
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Recorded:
    """One file of the corpus."""

    name: str
    proposal: Proposal
    facts: Facts
    now: datetime
    decision: Decision

    def again(self) -> "Recorded":
        """As today's code decides it."""
        return made(self.name, self.proposal, self.facts, self.now)

    def text(self) -> str:
        """The file's content: sorted, so that the same decision is the same bytes."""
        members = {
            "proposal": self.proposal.model_dump(mode="json"),
            "facts": self.facts.model_dump(mode="json"),
            "now": self.now.isoformat(),
            "decision": self.decision.model_dump(mode="json"),
        }
        return _sorted(members)

    def difference(self) -> str | None:
        """How today's decision differs, line by line; None when its bytes do not."""
        again = self.again()
        if again.decision.model_dump_json() == self.decision.model_dump_json():
            return None
        was, now = (_lines(one.decision) for one in (self, again))
        lines = list(unified_diff(was, now, f"{self.name}: recorded", f"{self.name}: today", lineterm="", n=1))
        more = [f"... and {len(lines) - _SHOWN} lines more"] if len(lines) > _SHOWN else []
        return "\n".join([*lines[:_SHOWN], *more])


def made(name: str, proposal: Proposal, facts: Facts, now: datetime) -> Recorded:
    """A decision of today, on the facts as they are read back: findings come in the order of what they are on."""
    proposal = Proposal.model_validate_json(_sorted(proposal.model_dump(mode="json")))
    facts = Facts.model_validate_json(_sorted(facts.model_dump(mode="json")))
    return Recorded(name, proposal, facts, now, decide(proposal, facts, now))


def _sorted(members: dict[str, Any]) -> str:
    return json.dumps(members, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def read(folder: Path = CORPUS) -> Iterator[Recorded]:
    """The corpus, by name."""
    for path in sorted(folder.glob("*.json")):
        members = json.loads(path.read_text(encoding="utf-8"))
        yield Recorded(
            path.stem,
            Proposal.model_validate(members["proposal"]),
            Facts.model_validate(members["facts"]),
            datetime.fromisoformat(members["now"]),
            Decision.model_validate(members["decision"]),
        )


def write(recorded: Recorded, folder: Path = CORPUS) -> bool:
    """Writes a file unless it is the same; answers whether it did."""
    path = folder / f"{recorded.name}.json"
    same = path.exists() and path.read_text(encoding="utf-8") == recorded.text()
    if not same:
        path.write_text(recorded.text(), encoding="utf-8")
    return not same


def needed(recorded: Recorded) -> Recorded:
    """As it is, with the contracts and connections that the decision needs; whole where less decides otherwise."""
    facts, tool = recorded.facts, recorded.proposal.tool
    read = {seen.tool for seen in facts.run.observations} if facts.run else set()
    wanted = {tool, *read}
    smaller = facts.model_copy(
        update={
            "contracts": {name: held for name, held in facts.contracts.items() if name in wanted},
            "known_tools": {name: known for name, known in facts.known_tools.items() if name in wanted},
        }
    )
    less = made(recorded.name, recorded.proposal, smaller, recorded.now)
    return less if less.decision == recorded.decision else recorded


def accept() -> list[str]:
    """Makes today's decisions the corpus; answers the names of what is another file now."""
    from tests.corpus.built import built
    from tests.unit.gate.world import NOW

    kept = {recorded.name: recorded.again() for recorded in read() if not recorded.name.startswith("built-")}
    kept |= {f"built-{one.name}": made(f"built-{one.name}", one.proposal, one.facts, NOW) for one in built()}
    gone = [path for path in CORPUS.glob("*.json") if path.stem not in kept]
    for path in gone:
        path.unlink()
    return sorted([name for name, recorded in kept.items() if write(recorded)] + [path.stem for path in gone])


async def record(tenant: UUID, limit: int) -> list[str]:
    """Adds a tenant's newest decisions; a decision that today's code makes otherwise is written as it makes it."""
    from api.auth import system
    from api.db import database
    from api.replay.service import decisions
    from api.replay.stored import Stored

    written: list[str] = []
    async for row in decisions(system(tenant, "record_corpus"), None, None):
        if len(written) >= limit:
            break
        if isinstance(row.found, Stored):
            name = f"recorded-{row.found.decision.outcome.value}-{str(row.id)[-12:]}"
            stored = made(name, row.found.proposal, row.found.facts, row.found.decision.decided_at)
            write(needed(stored))
            written.append(name)
    await database().close()
    return written


def _lines(decision: Decision) -> list[str]:
    members: dict[str, Any] = decision.model_dump(mode="json")
    findings = [f"finding: {json.dumps(one, ensure_ascii=False)}" for one in members.pop("findings")]
    return [*findings, *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in members.items())]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare, accept or extend the corpus of recorded decisions.")
    parser.add_argument("--accept", action="store_true", help="make what is decided now the corpus")
    parser.add_argument("--tenant", type=UUID, help="add this tenant's stored decisions")
    parser.add_argument("--limit", type=int, default=50, help="decisions to add at most")
    chosen = parser.parse_args(arguments)
    if chosen.tenant:
        print("\n".join(asyncio.run(record(chosen.tenant, chosen.limit))))
        return 0
    if chosen.accept:
        changed = accept()
        print("\n".join([*changed, f"{len(changed)} files changed"]))
        return 0
    differences = [difference for recorded in read() if (difference := recorded.difference())]
    print("\n\n".join([*differences, f"{len(differences)} decisions are another one now"]))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
