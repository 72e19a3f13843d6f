"""Writes the table of roles and permissions in docs/security.md from the one that SQL checks, `private.permissions`.

    python -m scripts.permissions_table [--url postgresql://postgres@...] [--check]

Without an address it migrates a Postgres of its own, which is gone afterwards. `--check` changes nothing and fails
when the page and the migrations disagree.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

PAGE = Path(__file__).parents[1] / "docs/security.md"
ROLES = ("owner", "admin", "approver", "operator", "developer", "auditor")
BEGIN, END = "<!-- permissions: begin -->\n", "<!-- permissions: end -->\n"


def table(url: str) -> str:
    """The permissions of a migrated database as a Markdown table, in alphabetical order."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        rows = connection.execute('select * from private.permissions order by permission collate "C"').fetchall()
    heads = ["permission", *ROLES, "API key", "function", "`aal2`", "meaning"]
    lines = [heads, ["---"] * len(heads), *(_line(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def _line(row: dict[str, Any]) -> list[str]:
    held = [*(role in row["roles"] for role in ROLES), row["service"], row["system"], row["aal2"]]
    return [f"`{row['permission']}`", *("x" if one else "" for one in held), row["meaning"]]


def written(page: str, made: str) -> str:
    """The page with this table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{made}{END}{after}"


@contextmanager
def _migrated(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    from sandbox.bootstrap import bootstrap
    from sandbox.postgres import ephemeral
    from scripts.migrate import migrate

    with ephemeral(durable=False) as server:
        bootstrap(server)
        own = server.url(user="postgres")
        migrate(own, log=lambda _: None)
        yield own


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the table of permissions into docs/security.md.")
    parser.add_argument("--url", help="a migrated database, as the owner of its tables")
    parser.add_argument("--check", action="store_true", help="only say whether the page is as it should be")
    options = parser.parse_args(arguments)
    page = PAGE.read_text(encoding="utf-8")
    with _migrated(options.url) as url:
        wanted = written(page, table(url))
    if options.check and wanted != page:
        print(f"{PAGE.name} does not show the permissions of the migrations: python -m scripts.permissions_table")
        return 1
    if not options.check:
        PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
