"""Lists that Python and SQL both hold are the same lists: the newest definition in the migrations counts."""

import re
from pathlib import Path
from typing import get_args

import pytest

from api.gate import models
from api.gate.models import HARD_GATES, Access, Effect, Environment, KillSwitchFacts, Role

MIGRATIONS = Path(__file__).parents[3] / "supabase/migrations"


def _statements() -> str:
    """All migrations in their order, without comments."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(MIGRATIONS.glob("*.sql"))]
    return re.sub(r"--[^\n]*", "", "\n".join(texts))


SQL = _statements()


def _words(text: str) -> list[str]:
    return re.findall(r"'([a-z_0-9]+)'", text)


def _last(pattern: str) -> list[str]:
    """The words of the last match: a later migration replaces an earlier one."""
    found = re.findall(pattern, SQL, re.DOTALL)
    assert found, f"no migration has {pattern}"
    return _words(found[-1])


def test_the_hard_gates() -> None:
    words = _last(r"function private\.is_hard_gate\(.*?\$\$(.*?)\$\$")
    assert len(words) == len(set(words))
    assert set(words) == HARD_GATES
    assert set(get_args(Effect)) > HARD_GATES


def test_is_hard_gate_is_nothing_but_that_list() -> None:
    [body] = re.findall(r"function private\.is_hard_gate\(.*?\$\$(.*?)\$\$", SQL, re.DOTALL)[-1:]
    assert re.fullmatch(r"\s*select p_effect in \(['a-z_,\s]+\)\s*", body)


def test_the_effects_of_tools() -> None:
    words = _last(r"create table private\.tool_catalog \(.*?effect in \((.*?)\)")
    assert len(words) == len(set(words))
    assert set(words) == set(get_args(Effect))
    assert set(_last(r"create table app\.tenant_tools \(.*?effect in \((.*?)\)")) == set(words)


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        (r"create table private\.tool_catalog \(.*?access in \((.*?)\)", Access),
        (r"create table app\.actions \(.*?environment in \((.*?)\)", Environment),
        (r"create table app\.kill_switches \(.*?scope in \((.*?)\)", KillSwitchFacts.model_fields["scope"].annotation),
        (r"create table app\.members \(.*?role in \((.*?)\)", Role),
        (r"create table app\.actions \(.*?required_aal in \((.*?)\)", models.Approvals.model_fields["aal"].annotation),
    ],
    ids=["access", "environment", "kill switch scopes", "roles", "assurance levels"],
)
def test_other_lists(pattern: str, literal: object) -> None:
    assert set(_last(pattern)) == set(get_args(literal))


def test_the_verdicts() -> None:
    assert set(_last(r"create table app\.decisions \(.*?outcome in \((.*?)\)")) == {o.value for o in models.Outcome}


def test_no_later_migration_loosens_a_list_by_altering_a_constraint() -> None:
    """Were a CHECK replaced by `alter table`, the patterns above would read the old one."""
    assert not re.findall(r"alter table private\.tool_catalog\s+(?:drop|add) constraint", SQL)
