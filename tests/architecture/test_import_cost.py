"""A cold start loads what every request needs, and nothing else."""

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LIST = """
import json, sys
before = set(sys.modules)
import {module}
print(json.dumps(sorted({{name.split(".")[0] for name in set(sys.modules) - before}})))
"""

#: What only some requests, or only the tests, need; seconds of a cold start if every request paid for it.
DEFERRED = [
    "supabase", "supabase_auth", "storage3", "postgrest", "realtime", "httpx", "httpcore", "cryptography", "jwt",
    "mangum", "sentry_sdk", "jsonschema", "jinja2", "uvicorn", "numpy", "yaml", "requests", "aiohttp",
    "stdnum", "email_validator", "dns", "idna", "confusable_homoglyphs",
    "sandbox", "scripts", "tests", "functions", "hypothesis", "pytest",
]  # fmt: skip


@lru_cache
def _loaded(module: str) -> frozenset[str]:
    """The top-level packages that importing a module loads, in a process of its own, without any setting."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "VIRTUAL_ENV") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, "-c", LIST.format(module=module)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=kept | {"PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, f"{module} cannot be imported without settings:\n{ran.stderr[-2000:]}"
    return frozenset(json.loads(ran.stdout))


@pytest.mark.parametrize("package", DEFERRED)
def test_the_application_starts_without(package: str) -> None:
    assert package not in _loaded("api.index")


def test_the_application_does_load() -> None:
    assert {"api", "fastapi", "psycopg", "pydantic", "cel_expr_python"} <= _loaded("api.index")


def test_the_gate_needs_no_web_and_no_database() -> None:
    loaded = _loaded("api.gate.decide")
    assert {"api", "pydantic", "cel_expr_python", "jsonschema_rs"} <= loaded
    assert not {"fastapi", "starlette", "psycopg", "anyio", "rfc8785", *DEFERRED} & loaded


def test_what_was_loaded_is_not_looked_through_for_garbage_and_what_comes_later_is() -> None:
    look = "import gc, api.index; print(gc.isenabled(), gc.get_freeze_count() > 50_000)"
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")} | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, cwd=ROOT, env=kept, check=True)
    assert ran.stdout.split() == ["True", "True"]
