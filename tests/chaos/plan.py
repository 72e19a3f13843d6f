"""What a campaign does and what goes wrong in it: all of it follows from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["payment", "note", "message"]
#: By kind: how often it is proposed, and at which provider by which operation it is done.
KINDS: dict[Kind, tuple[float, str, str]] = {
    "payment": (0.6, "bank", "payments.create"),
    "note": (0.2, "crm", "notes.create"),
    "message": (0.2, "crm", "messages.send"),
}
#: Every fault that the sandbox providers know (sandbox/faults.py), with what it may be given.
FAULTS: dict[str, dict[str, Any]] = {
    "rate_limit": {"retry_after": 1},
    "error": {"status": 503},
    "error_after": {"status": 502},
    "hang": {"seconds": 2.5},
    "drop_after": {},
    "duplicate": {},
}
#: Where else something goes wrong: reads, and the exchange of tokens.
ELSEWHERE = (
    ("bank", "oauth.token"),
    ("bank", "payments.list"),
    ("crm", "oauth.token"),
    ("crm", "notes.list"),
    ("crm", "messages.list"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Once so many actions were authorized, the next call of the operation goes wrong."""

    at: int
    provider: str
    operation: str
    kind: str
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Blow:
    """Once so many actions were authorized, a process dies."""

    at: int
    what: Literal["worker", "api", "postgres", "bank", "crm"]


@dataclass(frozen=True, slots=True)
class Plan:
    """skews: seconds by which the clock of each worker is off."""

    seed: int
    kinds: list[Kind]
    amounts: list[int]
    faults: list[Fault]
    blows: list[Blow]
    skews: list[float]


def made_from(seed: int, actions: int, workers: int = 3) -> Plan:
    """The plan of a campaign. The same seed and size give the same plan."""
    rng = random.Random(seed)
    kinds = rng.choices(list(KINDS), [share for share, _, _ in KINDS.values()], k=actions)
    faults = [_fault(rng, rng.randrange(actions)) for _ in range(max(len(FAULTS) * 4, actions // 3))]
    blows = [Blow(rng.randrange(actions), "worker") for _ in range(max(4, actions // 40))]
    blows += [Blow(actions * (2 * n + 1) // 4, "postgres") for n in range(2)]
    blows += [Blow(rng.randrange(actions), what) for what in ("api", "api", "bank", "crm")]
    skews = [0.0, *(rng.choice((-1, 1)) * rng.uniform(20, 120) for _ in range(workers - 1))]
    return Plan(
        seed,
        kinds,
        [rng.randint(1, 900) for _ in range(actions)],
        sorted(faults, key=lambda fault: fault.at),
        sorted(blows, key=lambda blow: blow.at),
        skews,
    )


def _fault(rng: random.Random, at: int) -> Fault:
    if rng.random() < 0.15:
        provider, operation = rng.choice(ELSEWHERE)
        return Fault(at, provider, operation, rng.choice(("error", "rate_limit")), {"retry_after": 1})
    _, provider, operation = KINDS[rng.choices(list(KINDS), [share for share, _, _ in KINDS.values()])[0]]
    kind = rng.choice(list(FAULTS))
    more = dict(FAULTS[kind])
    if kind == "hang":
        more["after"] = rng.random() < 0.5
    return Fault(at, provider, operation, kind, more)
