"""Loads a slice's *.sql files. A file holds one query; its first comment says what the query answers."""

from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent


@cache
def query(name: str) -> str:
    """The text of `api/<name>.sql`, read once per process. `name` is like `runs/get_run`."""
    return (_ROOT / f"{name}.sql").read_text(encoding="utf-8")
