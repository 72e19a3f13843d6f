"""Prints recall and precision of the detectors by kind, on the sample that they were made with and on one held out.

    python -m scripts.detectors

Ends with 1 where they find less than the tests demand (tests/unit/privacy/test_detectors.py).
"""

import sys

from scripts.detectors.measure import at_least, measure, table
from scripts.detectors.sample import generated, written


def main() -> int:
    tuned = measure([*generated(), *written("negatives.txt")])
    held_out = measure(list(written("held_out.txt")))
    print("Made from a seed, and look-alikes written by hand:\n")
    print(table(tuned))
    print("\nHeld out (written by hand, not tuned on):\n")
    print(table(held_out))
    return 0 if at_least(tuned) else 1


if __name__ == "__main__":
    sys.exit(main())
