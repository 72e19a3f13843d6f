"""Sizes, names and traces (DESIGN, sections 3 and 8)."""

import ast
import re

import pytest

from tests.architecture.sources import FOLDERS, ROOT, Source, sources

ALL = [source for folder in FOLDERS for source in sources(folder)]
TESTS = list(sources("tests"))
MAX_LINES, MAX_FUNCTION = 400, 60
VAGUE = {"util", "utils", "helper", "helpers", "manager", "managers", "base", "common", "misc", "shared", "stuff"}

#: Texts of the checkout: code, SQL, settings and documents; what a tool wrote for itself is left out.
TEXTS = [
    path
    for pattern in ("*", "*/**/*", ".ci/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
    and path.name != ".git"  # of a second work tree, it is a file that says where the first one is
    and path.suffix in {".py", ".sql", ".toml", ".md", ".json", ".lock", ".txt", ".yml", ".yaml", ".sh", ""}
    and path.relative_to(ROOT).parts[0] in {*FOLDERS, "docs", "supabase", ".ci", path.name}
]


def test_there_is_something_to_look_at() -> None:
    assert len(ALL) > 80
    assert {"pyproject.toml", "requirements.lock"} <= {path.name for path in TEXTS}
    assert any(path.suffix == ".sql" for path in TEXTS)


def test_no_file_is_too_long_to_read() -> None:
    long = {source.relative: len(source.text.splitlines()) for source in ALL}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def _functions(source: Source) -> dict[str, int]:
    return {
        f"{source.relative}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_function_is_too_long_to_hold_in_mind() -> None:
    """Routes are left out: a function that lists routes grows with them and not in complexity."""
    looked_at = [source for source in ALL if not source.path.stem.endswith("routes")]
    long = {name: lines for source in looked_at for name, lines in _functions(source).items() if lines > MAX_FUNCTION}
    assert long == {}


def test_a_module_is_named_after_what_it_does() -> None:
    vague = [
        source.relative
        for source in (*ALL, *TESTS)
        if VAGUE & {*source.path.stem.split("_"), *source.path.relative_to(ROOT).parent.parts}
    ]
    assert vague == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    left = [f"{path.relative_to(ROOT)}" for path in TEXTS if marks.search(path.read_text(encoding="utf-8"))]
    assert left == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    marks = re.compile(r"pytest\.(mark\.)?(skip|xfail|importorskip)")
    assert [
        source.relative for source in TESTS if marks.search(source.text) and source.path.name != "test_style.py"
    ] == []


@pytest.mark.parametrize("option", ["index-url", "extra-index", "trusted-host"])
def test_no_package_index_is_chosen(option: str) -> None:
    """Whoever installs chooses where from; an option in a file here would overrule them."""
    assert [str(path.relative_to(ROOT)) for path in TEXTS if option in path.read_text(encoding="utf-8").lower()] == []


def test_lock_files_name_packages_and_no_address() -> None:
    locks = [*sorted(ROOT.glob("requirements*.lock")), *sorted(ROOT.glob("tests/*/*/package-lock.json"))]
    assert len(locks) == 3
    assert "integrity" in locks[-1].read_text(encoding="utf-8")
    assert [lock.name for lock in locks if "://" in lock.read_text(encoding="utf-8")] == []


def test_no_path_of_somebodys_machine_is_named() -> None:
    homes = re.compile(r"(?<![\w.])/(home|Users|root|work)/[a-z]")
    assert [str(path.relative_to(ROOT)) for path in TEXTS if homes.search(path.read_text(encoding="utf-8"))] == []


def test_every_module_says_what_it_is() -> None:
    silent = [source.relative for source in ALL if source.text.strip() and not ast.get_docstring(source.tree)]
    assert silent == []


def test_times_are_aware() -> None:
    naive = [
        f"{source.relative}:{node.lineno}"
        for source in ALL
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and (
            getattr(node.func, "attr", "") in ("utcnow", "utcfromtimestamp")
            or (getattr(node.func, "attr", "") == "now" and not node.args and not node.keywords)
        )
    ]
    assert naive == []
