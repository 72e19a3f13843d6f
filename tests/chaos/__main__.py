"""make chaos: the whole fault campaign.

python -m tests.chaos [--actions 2000] [--seed 20261128] [--workers 3] [--report FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.chaos.campaign import Campaign
from tests.chaos.ground import standing
from tests.chaos.plan import made_from
from tests.chaos.report import disagreements, written


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description="Everything goes wrong, and the books agree.")
    parser.add_argument("--actions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20261128)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--report", type=Path, default=Path("build/chaos.txt"))
    options = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    say("starting Postgres, Supabase Auth, the bank, the CRM and the API")
    with standing() as world:
        campaign = Campaign(world, made_from(options.seed, options.actions, options.workers), say)
        campaign.run()
        wrong = disagreements(campaign)
        text = written(campaign, wrong)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(text, encoding="utf-8")
    print(f"\n{text}\nwritten to {options.report}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
