"""Who may import whom (DESIGN, section 3)."""

import ast
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, Import, Source, sources, within

API = sources("api")
FUNCTIONS = sources("functions")
GATE = sources("api/gate")

#: Slices are the folders of api/, but for the gate, which belongs to all of them.
SLICES = sorted(path.parent.name for path in (ROOT / "api").glob("*/__init__.py") if path.parent.name != "gate")

#: Modules of a slice, beside its service and models, that other slices may use, and why.
SHARED = {
    "api.providers.manifest": "what a provider is",
    "api.providers.site": "a provider as one connection sees it",
    "api.providers.client": "the one way to call a provider",
    "api.providers.content": "as much of an answer as may be read",
    "api.providers.egress": "where an address that a tenant named is reached",
    "api.providers.retry_after": "when whoever was asked wants to be asked again",
    "api.workflows.facts": "what a decision rests on, kept by epoch",
    "api.workflows.shown": "what a key is shown of a run whose workflow shows tokens",
    "api.actions.record": "what is recorded of a decision: an edited action is recorded as a proposed one",
    "api.constitution.starter": "the rules that a new tenant begins with",
    "api.connections.vault": "the error of a credential that does not open",
    "api.privacy.run_keys": "the keys that everything of a run is sealed under",
    "api.privacy.sealing": "what was read in a run, as it is kept and as it is used",
    "api.runs.loop.drafting": "what a loop says to its reviewer, and what is wrong with it",
    "api.runs.history.service": "runs as they are told to people",
    "api.runs.loop.service": "what drives the runs of a workflow's loop",
    "api.runs.minimise": "what is kept of a provider's answer, to a read or to a write",
}

#: Modules of a slice, beside its service, that talk to the database.
QUERYING = {
    "api.workflows.facts",
    # The operations of the connections' service, which each have a file.
    "api.connections.sign_in", "api.connections.refresh", "api.connections.disconnect", "api.connections.rotation",
    "api.connections.give_back",
    # And those of execution's.
    "api.execution.compensate", "api.execution.dead_letters", "api.execution.execute", "api.execution.look",
    "api.execution.premises",
    "api.execution.prepare", "api.execution.reconcile", "api.execution.repropose", "api.execution.undo_preview",
    "api.execution.undo_runs",
    # The steps of a loop, whose reads and proposals have idempotency keys of their own.
    "api.runs.loop.reading", "api.runs.loop.thinking",
    # What was read is sealed under the keys that its run has.
    "api.privacy.sealing", "api.privacy.rotation", "api.model_providers.rotation", "api.hooks.rotation",
    # What channels are told is delivered by a scheduled function, and their secrets are wrapped by another.
    "api.notifications.delivery", "api.notifications.owners", "api.notifications.rotation", "api.audit.watch",
}  # fmt: skip

#: Modules of the shared kit that know the database's types.
KIT_OF_DATABASE = {"api.db", "api.idempotency", "api.index", "api.dashboard.forms"}

#: Calls whose answer is another one the next time, or that reach out of the process; some by their plain name only.
IMPURE = {
    "now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
    "urandom", "getrandom", "uuid1", "uuid4", "token_bytes", "token_hex", "token_urlsafe", "getenv", "getpid",
    "read_text", "read_bytes", "write_text", "write_bytes", "sleep",
}  # fmt: skip
IMPURE_NAMES = IMPURE | {"open", "input", "print", "eval", "exec", "__import__", "hash", "id"}


def _impure(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in IMPURE_NAMES
    return isinstance(call.func, ast.Attribute) and call.func.attr in IMPURE


def _slice_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "api" and parts[1] in SLICES else None


def _where(source: Source, line: int) -> str:
    return f"{source.relative}:{line}"


def _targets(imported: Import) -> list[str]:
    """The modules that an import may mean: `from api.runs import service` is api.runs.service."""
    if imported.name and (ROOT / imported.full.replace(".", "/")).with_suffix(".py").exists():
        return [imported.full]
    return [imported.module]


def test_the_slices_are_found() -> None:
    assert {"actions", "connections", "execution", "runs", "tenants", "workflows"} <= set(SLICES)
    assert len(API) > 40


def test_the_gate_imports_only_what_is_pure() -> None:
    allowed = {"pydantic", "cel_expr_python", "jsonschema_rs"} | set(sys.stdlib_module_names)
    allowed |= {"stdnum", "idna", "confusable_homoglyphs"}  # accounts, domains and look-alikes: tables, no I/O of ours
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in GATE
        for i in source.imports
        if not within(i.module, "api.gate") and i.module.split(".")[0] not in allowed
    ]
    assert not broken


def test_the_gate_imports_nothing_that_reaches_outside() -> None:
    """The standard library has clocks, files and networks, too."""
    reaching = {"asyncio", "ctypes", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets"}
    reaching |= {
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
    }
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in GATE
        for i in source.imports
        if i.module.split(".")[0] in reaching
    ]
    assert not broken


def test_the_gate_asks_no_clock_and_nothing_else_that_changes() -> None:
    """`now` is an argument: whoever decides again later must get the same answer."""
    broken = []
    for source in GATE:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and _impure(node):
                broken.append(f"{_where(source, node.lineno)} calls {ast.unparse(node.func)}")
            elif isinstance(node, ast.Global | ast.Nonlocal | ast.AsyncFunctionDef | ast.Await):
                broken.append(f"{_where(source, node.lineno)} has {type(node).__name__}")
    assert not broken


@pytest.mark.parametrize("text", ["datetime.now(UTC)", "datetime.utcnow()", "time.time()", "date.today()", "open(x)"])
def test_a_clock_would_be_noticed(text: str) -> None:
    assert [_impure(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)] == [True]


def test_a_slice_uses_another_only_by_its_service_and_models() -> None:
    broken = []
    for source in API:
        own = _slice_of(source.module)
        for imported in source.imports:
            for target in _targets(imported):
                other = _slice_of(target)
                if own is None or other is None or other == own:
                    continue
                if target.split(".")[2:] not in (["service"], ["models"]) and target not in SHARED:
                    broken.append(f"{_where(source, imported.line)} imports {target}")
    assert not broken


def test_what_slices_share_is_still_shared() -> None:
    """The list of exceptions must not outlive its reasons."""
    used = {
        target
        for source in (*API, *FUNCTIONS)
        for imported in source.imports
        for target in _targets(imported)
        if _slice_of(source.module) != _slice_of(target)
    }
    assert set(SHARED) <= used
    assert not QUERYING - {source.module for source in API if any(i.module == "api.db" for i in source.imports)}


def test_nobody_imports_routes_but_the_application() -> None:
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in (*API, *FUNCTIONS)
        for i in source.imports
        if "routes" in (*_targets(i)[0].split(".")[2:], i.name) and source.module != "api.index"
    ]
    assert not broken


def test_the_shared_kit_knows_no_slice() -> None:
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in API
        if source.path.parent == ROOT / "api" and source.module != "api.index"
        for i in source.imports
        if any(_slice_of(target) for target in _targets(i))
    ]
    assert not broken


def test_only_services_talk_to_the_database() -> None:
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in API
        for i in source.imports
        if "api.db" in (i.module, i.full)
        and source.path.name != "service.py"
        and source.module not in QUERYING | KIT_OF_DATABASE
    ]
    assert not broken


def test_only_the_kit_opens_connections() -> None:
    """Services may know the driver's errors; a connection of their own would belong to no principal."""
    opening = {
        "connect",
        "Connection",
        "AsyncConnection",
        "ConnectionPool",
        "AsyncConnectionPool",
        "NullConnectionPool",
    }
    broken = [
        f"{_where(source, node.lineno)} uses {ast.unparse(node)}"
        for source in (*API, *FUNCTIONS)
        if source.module != "api.db"
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Attribute) and ast.unparse(node).startswith("psycopg") and node.attr in opening)
        or (
            isinstance(node, ast.ImportFrom)
            and "psycopg" in str(node.module)
            and opening & {a.name for a in node.names}
        )
    ]
    assert not broken


def _queries(source: Source) -> list[tuple[int, str, bool]]:
    """Each call of `query` as (line, name, whole); of a name that is put together only its beginning is known."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "query":
            [name] = node.args
            whole = isinstance(name, ast.Constant)
            start = name if whole else name.values[0] if isinstance(name, ast.JoinedStr) else None
            found.append((node.lineno, str(start.value) if isinstance(start, ast.Constant) else "", whole))
    return found


def test_a_slice_reads_only_its_own_queries() -> None:
    named = [(source, *found) for source in (*API, *FUNCTIONS) for found in _queries(source)]
    broken = [
        f"{_where(source, line)} reads {name}"
        for source, line, name, _ in named
        if not name.startswith(f"{_slice_of(source.module)}/")
    ]
    assert not broken
    assert len(named) > 5


def test_every_query_exists_and_is_read_by_somebody() -> None:
    files = {path.relative_to(ROOT / "api").with_suffix("").as_posix() for path in (ROOT / "api").rglob("*.sql")}
    read = set()
    for source in (*API, *FUNCTIONS):
        words = {str(node.value) for node in ast.walk(source.tree) if isinstance(node, ast.Constant)}
        for _, name, whole in _queries(source):
            read |= {name} if whole else {file for file in files if file.removeprefix(name) in words}
    assert files == read


@pytest.mark.parametrize("folder", ["sandbox", "tests", "scripts"])
def test_what_is_deployed_does_not_need_what_is_not(folder: str) -> None:
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in (*API, *FUNCTIONS)
        for i in source.imports
        if within(i.module, folder)
    ]
    assert not broken


def test_the_application_does_not_need_its_scheduled_functions_to_start() -> None:
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in API
        for i in source.imports
        if within(i.module, "functions") and i.at_import_time
    ]
    assert not broken


@pytest.mark.parametrize("package", ["supabase", "httpx", "cryptography", "mangum", "jwt", "sentry_sdk", "jinja2"])
def test_what_is_slow_to_import_is_imported_where_it_is_used(package: str) -> None:
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in API
        for i in source.imports
        if within(i.module, package) and i.at_import_time
    ]
    assert not broken


def test_functions_use_services_only() -> None:
    broken = [
        f"{_where(source, i.line)} imports {i.full}"
        for source in FUNCTIONS
        for i in source.imports
        for target in _targets(i)
        if _slice_of(target) and target.split(".")[2:] not in (["service"], ["models"]) and target not in SHARED
    ]
    assert not broken


def test_relative_imports_are_understood(tmp_path: Path) -> None:
    """The tests above see through `from .. import x`, `import x as y`, and imports inside of functions and classes."""
    folder = ROOT / "api/gate/checks"
    source = Source(folder / "imaginary.py")
    source.__dict__["tree"] = ast.parse(
        "from .. import models\nfrom ...runs import routes as r\nimport supabase as s\n"
        "def f():\n    import httpx\nclass C:\n    import jwt\nif True:\n    import mangum\n"
        "if TYPE_CHECKING:\n    import psycopg\ntry:\n    import cryptography.x\nexcept ImportError:\n    pass\n"
    )
    assert [(i.full, i.at_import_time) for i in source.imports] == [
        ("api.gate.models", True),
        ("api.runs.routes", True),
        ("supabase", True),
        ("httpx", False),
        ("jwt", True),
        ("mangum", True),
        ("cryptography.x", True),
    ]
    assert tmp_path.exists()
