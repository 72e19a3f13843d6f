"""Wraps everything that is sealed under the first key of COUNTERSIGN_KEK, and says which keys are still needed.

python -m scripts.rotate_keys     with the settings of the deployment; may run while it is in use
"""

import asyncio
import sys
from datetime import UTC, datetime

from api.config import settings
from functions import rotate_keys
from functions.runtime import AllFailedError


async def rotate() -> dict[str, int]:
    """Runs the scheduled function until it has nothing more to do."""
    while True:
        try:
            done = await rotate_keys.run(datetime.now(UTC))
        except AllFailedError as error:
            done = error.counts
        print(f"rewrapped {done['rewrapped']}, replaced meanwhile {done['beaten']}, failed {done['failed']}")
        if done["rewrapped"] + done["beaten"] == 0:
            return done


def main() -> int:
    """0 when every envelope is sealed under the first key; 1 when some are not, each key's count is printed."""
    first, *older = settings().kek
    done = asyncio.run(rotate())
    counts = {name.removeprefix("left_"): count for name, count in done.items() if name.startswith("left_")}
    for key in {**dict.fromkeys([first, *older]), **counts}:
        verdict = "seals" if key == first else "still needed" if counts.get(key) else "may be removed"
        print(f"{key}: {counts.get(key, 0)} envelopes, {verdict}")
    return 1 if any(count for key, count in counts.items() if key != first) else 0


if __name__ == "__main__":
    sys.exit(main())
