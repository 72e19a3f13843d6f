"""Runs an injection corpus through the gate and reports what came of it (docs/injection-corpus.md).

    python -m scripts.corpus [FOLDER] [--only TEXT] [--list | --show] [--all] [--json] [--at-least SHARE]

Needs no database, no network and no model. Ends with 1 when an attack was carried out, when something went ahead that
has to wait for a person, or when less of the work than SHARE was done without one; with 2 when the corpus cannot be
read; with 0 else.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.corpus.cases import cases
from scripts.corpus.measure import measure
from scripts.corpus.report import document, listing, shown, text
from scripts.corpus.worlds import CorpusError, read_all

OWN = Path("tests/corpus/injection")
AT_LEAST = 0.85


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts.corpus", description="Run an injection corpus through the gate.")
    parser.add_argument("folder", type=Path, nargs="?", default=OWN, help="of world files, TOML or JSON")
    parser.add_argument("--only", default="", help="cases whose id contains this text: world/scenario/encoding")
    parser.add_argument("--list", action="store_true", help="name the cases and run nothing")
    parser.add_argument("--show", action="store_true", help="show cases in full, with every finding")
    parser.add_argument("--all", action="store_true", help="do not cut the lists of the report short")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--at-least", type=float, default=AT_LEAST, help="share of the work done without a person")
    chosen = parser.parse_args(arguments)
    try:
        found = [case for case in cases(read_all(chosen.folder)) if chosen.only in case.id]
        if chosen.list:
            print(listing(found))
            return 0
        if chosen.show:
            print("\n\n".join(shown(case) for case in found))
            return 0
        measured = measure(found)
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 2
    print(
        json.dumps(document(measured), ensure_ascii=False, indent=2)
        if chosen.json
        else text(measured, every=chosen.all)
    )
    return 0 if measured.holds(chosen.at_least) else 1


if __name__ == "__main__":
    sys.exit(main())
