"""What a decision costs, by the number of rules and of observations: `make bench`.

One warm decision of a bill that is paid, with its instruction, directory and a limit: the pure part of a proposal,
without HTTP and database. Times of one run are compared with each other only; machines differ.
"""

import statistics
import sys
import time
from typing import Any
from uuid import UUID

from api.gate.decide import decide
from api.gate.models import DirectoryAnswer, Facts, KnownCounterparty, RunFacts
from tests.unit.gate.world import NOW, contract, facts, proposal, spec

RULES, OBSERVATIONS = (0, 10, 50, 200), (0, 10, 30, 100)
ROUNDS, TARGET_MS = 200, 1.0
IBAN = "DE89370400440532013000"


def bill(number: int) -> dict[str, Any]:
    """A bill as a bank answers it: trusted, but for what its sender wrote."""
    return {
        "id": f"bill_{number}",
        "iban": IBAN if number == 0 else f"DE{number:020}",
        "amount": 5_000 + number,
        "currency": "EUR",
        "reference": f"INV-{number}",
        "memo": "Thank you for your business. Please note that our office is closed on Friday. " * 4,
    }


def observation(number: int) -> dict[str, Any]:
    labels = {f"/bills/*/{name}": {"trust": "trusted"} for name in ("id", "iban", "amount", "currency", "reference")}
    labels["/bills/*/iban"]["data_class"] = "financial"
    labels["/bills/*/memo"] = {"trust": "untrusted"}
    return {
        "id": UUID(int=100 + number),
        "tool": "acme.bills.list",
        "source": "gateway",
        "result": {"bills": [bill(number * 5 + i) for i in range(5)]},
        "labels": labels,
    }


def world(rules: int, observations: int) -> Facts:
    """A workflow of so many rules, in a run that has read so often."""
    written = [
        {
            "id": f"rule-{n}",
            "when": f'action.effect == "money_movement" && "amount" in args && args.amount > {1_000_000 + n}',
        }
        for n in range(rules)
    ]
    access = spec(
        {"data_classes": ["financial"]},
        limits=[{"name": "spend", "window_hours": 24, "currency": "EUR", "max_amount": 10_000_000}],
    )
    held = facts(access, contract(), written)
    run = RunFacts.model_validate(
        {
            "id": UUID(int=5),
            "instruction": f"Pay the bill INV-0 of 50.00 EUR to {IBAN}.",
            "observed": observations,
            "observations": [observation(n) for n in range(observations)],
        }
    )
    vendor = KnownCounterparty(id=UUID(int=7), name="Acme Ltd", kind="vendor", trusted_from=NOW)
    known = {f"account:iban:{IBAN}": DirectoryAnswer(entries=[vendor])}
    return held.model_copy(update={"run": run, "directory": known})


def milliseconds(held: Facts) -> tuple[float, float]:
    """Of one decision: the first, which indexes what was read and compiles the rules, and the median of warm ones."""
    args = {"to": IBAN, "amount": 5_000, "currency": "EUR", "note": "INV-0"}
    times = []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        decide(proposal(args), held, NOW)
        times.append((time.perf_counter() - begun) * 1000)
    return times[0], statistics.median(times[1:])


def main() -> int:
    print(f"decide, milliseconds: median of {ROUNDS} warm decisions (the first one), and as a multiple of the smallest")
    print(f"{'rules':>8}" + "".join(f"{f'{count} observations':>28}" for count in OBSERVATIONS))
    smallest: float | None = None
    measured = 0.0
    for rules in RULES:
        row = f"{rules:>8}"
        for observations in OBSERVATIONS:
            first, warm = milliseconds(world(rules, observations))
            smallest = smallest or warm
            row += f"{f'{warm:.3f} ({first:.1f})  x{warm / smallest:.2f}':>28}"
            if (rules, observations) == (50, 30):
                measured = warm
        print(row, flush=True)
    print(f"50 rules, 30 observations: {measured:.3f} ms; the target is {TARGET_MS:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
