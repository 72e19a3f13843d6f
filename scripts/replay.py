"""Makes a tenant's stored decisions again, each on what it rested on, and reports every difference.

    python -m scripts.replay --tenant ID [--since TIME] [--limit N]

With the settings of the deployment (DATABASE_URL). Writes nothing. Ends with 1 when a decision has another outcome
today, with 0 else; decisions that cannot be made again are counted, with why.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from api.auth import system
from api.db import database
from api.replay.compare import Candidate, Tally
from api.replay.models import Difference
from api.replay.service import decisions

#: After so many decisions a line says how far it is.
PROGRESS = 500


async def replay(tenant: UUID, since: datetime | None, limit: int | None) -> Tally:
    """Makes the tenant's decisions again, newest first; prints differences as they are found, and the progress."""
    tally = Tally(Candidate(in_force=None))
    shown = 0
    async for row in decisions(system(tenant, "replay"), since, None):
        if limit is not None and tally.examined >= limit:
            break
        tally.add(row.found)
        for difference in tally.differences[shown:]:
            print(said(difference), flush=True)
        shown = len(tally.differences)
        if tally.examined % PROGRESS == 0:
            print(f"{tally.examined} decisions, back to {row.decided_at.isoformat()}", flush=True)
    await database().close()
    return tally


def said(difference: Difference) -> str:
    """One difference, for a person to read."""
    changed = difference.recorded is not difference.replayed
    outcome = f"{difference.recorded.value} -> {difference.replayed.value}" if changed else difference.recorded.value
    lines = [f"{difference.tool} {difference.action_id or difference.decision_id}: {outcome}", *difference.findings]
    if difference.members:
        lines.append(f"changed: {', '.join(difference.members)}")
    return "\n    ".join(lines)


def summary(tally: Tally) -> str:
    moved = Counter(f"{d.recorded.value} -> {d.replayed.value}" for d in tally.differences if d.recorded != d.replayed)
    again = sum(tally.outcomes["replayed"].values())
    differ = f"{len(tally.differences)} differ, {sum(moved.values())} in their outcome"
    lines = [f"{tally.examined} decisions, {again} made again, {differ}"]
    lines += [f"{what}: {count}" for what, count in sorted(moved.items())]
    lines += [f"not made again, {why}: {count}" for why, count in sorted(tally.obstacles.items())]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a tenant's stored decisions again and report differences.")
    parser.add_argument("--tenant", type=UUID, required=True)
    parser.add_argument("--since", type=datetime.fromisoformat, help="the oldest decision, like 2026-11-01T00:00:00Z")
    parser.add_argument("--limit", type=int, help="decisions at most")
    chosen = parser.parse_args(arguments)
    if chosen.since is not None and chosen.since.tzinfo is None:
        parser.error("--since needs a time zone, like 2026-11-01T00:00:00Z")
    tally = asyncio.run(replay(chosen.tenant, chosen.since, chosen.limit))
    print(summary(tally))
    return 1 if any(d.recorded is not d.replayed for d in tally.differences) else 0


if __name__ == "__main__":
    sys.exit(main())
