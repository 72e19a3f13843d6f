"""Nothing that the system names is shown by the name that it has in the code."""

import re
from pathlib import Path
from typing import get_args

import pytest

from api.amendments import models as amendments
from api.constitution import models as constitution
from api.dashboard import words
from api.dashboard.wordlist import WORDS
from api.directory import models as directory
from api.gate import contracts, decisions, injection_patterns, vocabulary
from api.gate import risk as gate_risk
from api.gate.decide import CHECKS
from api.monitoring import models as monitoring
from api.risk import models as risk
from api.workflows.readiness import CONTROLS

ROOT = Path(__file__).parents[3]
SQL = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "supabase/migrations").glob("*.sql")))
PYTHON = "\n".join(
    p.read_text(encoding="utf-8") for f in ("api", "functions") for p in sorted((ROOT / f).rglob("*.py"))
)
_NAME = re.compile(r"'([a-z][a-z_0-9]*)'")


def in_sql(column: str, containing: str) -> set[str]:
    """Every value that a check constraint allows in a column, of the constraints that allow `containing`, too."""
    lists = re.findall(rf"check \(\(?{column} in \(([^)]*)\)", SQL)
    return {name for found in lists if f"'{containing}'" in found for name in _NAME.findall(found)}


CATALOG: list[tuple[str, set[str]]] = [
    ("action", in_sql("status", "awaiting_approval")),
    ("attempt", in_sql("outcome", "dead_letter") | in_sql("status", "unknown") & {"executing", "succeeded", "failed"}),
    ("exception", in_sql("status", "edited")),
    ("exception_kind", in_sql("kind", "manual")),
    ("run", {"queued", "running", "waiting", "completed", "failed", "cancelled", "active"}),
    ("workflow", in_sql("status", "live")),
    ("connection", in_sql("status", "degraded")),
    ("invitation", in_sql("status", "accepted") | {"void"}),
    ("kill_switch", in_sql("status", "engaged")),
    ("kill_switch_stage", in_sql("stage", "one_at_a_time")),
    ("kill_switch_scope", in_sql("scope", "service_account")),
    ("severity", in_sql("severity", "high") | set(get_args(monitoring.Severity))),
    ("step", in_sql("outcome", "skipped")),
    ("driven_by", in_sql("driven_by", "loop")),
    ("undo", in_sql("status", "running") & {"running", "finished"}),
    ("undo_step", in_sql("status", "settled")),
    ("observation", in_sql("status", "reading")),
    ("source", in_sql("source", "gateway")),
    ("model_outcome", in_sql("outcome", "suggested")),
    ("directory_change_kind", in_sql("kind", "settings")),
    ("alert", set(get_args(monitoring.AlertStatus))),
    ("draft", set(get_args(constitution.DraftStatus))),
    ("amendment", set(get_args(amendments.Status))),
    ("effect", set(get_args(vocabulary.Effect))),
    ("role", set(get_args(vocabulary.Role))),
    ("environment", set(get_args(vocabulary.Environment))),
    ("access", set(get_args(vocabulary.Access))),
    ("outcome", {each.value for each in vocabulary.Outcome}),
    ("argument", set(get_args(contracts.ArgumentRole))),
    ("trust", set(get_args(contracts.Trust))),
    ("ground", set(get_args(decisions.Source))),
    ("stage", set(get_args(risk.Autonomy))),
    ("sensitivity", set(get_args(risk.Sensitivity)) | set(gate_risk.SENSITIVITY)),
    ("amount_band", set(get_args(risk.AmountBand))),
    ("risk_verdict", set(get_args(risk.Verdict))),
    ("directory_kind", set(get_args(directory.Kind))),
    ("directory_state", set(get_args(directory.State))),
    ("directory_change", set(get_args(directory.ChangeStatus))),
    ("check", {check.__name__.rpartition(".")[2] for check in CHECKS} | {"constitution"}),
    ("control", {str(number) for number in CONTROLS}),
    ("signal", {*injection_patterns.SPOKEN, *injection_patterns.TURNED, "hidden_text", "look_alike"}),
    ("risk_factor", set(re.findall(r'RiskFactor\(\s*name="([a-z_]+)"', PYTHON)) | set(gate_risk.MITIGATIONS)),
]


@pytest.mark.parametrize(("kind", "names"), CATALOG, ids=[kind for kind, _ in CATALOG])
def test_everything_of_a_kind_has_a_word(kind: str, names: set[str]) -> None:
    assert len(names) >= 2, "nothing was found to compare with"
    assert {name for name in names if not words.word(kind, name).known} == set()


def test_a_check_that_is_in_the_folder_has_words() -> None:
    files = {path.stem for path in (ROOT / "api/gate/checks").glob("*.py")} - {"__init__"}
    assert files == set(WORDS["check"])


def test_the_controls_are_called_what_readiness_calls_them() -> None:
    assert {int(number): told[0] for number, told in WORDS["control"].items()} == {n: c[0] for n, c in CONTROLS.items()}


def test_every_permission_has_words() -> None:
    """docs/security.md lists them as the database has them, which a test of its own compares."""
    listed = (ROOT / "docs/security.md").read_text(encoding="utf-8").partition("permissions: begin")[2]
    granted = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", listed.partition("permissions: end")[0], re.MULTILINE))
    assert len(granted) > 40
    assert {name for name in granted if not words.word("permission", name).known} == set()


def test_every_alert_has_words() -> None:
    raised = set(re.findall(r"raise_alert\([^;]*?'([a-z]+(?:_[a-z]+)*\.[a-z_]+[a-z])'", SQL))
    raised |= set(re.findall(r'"([a-z_]+\.[a-z_]+)",\s+severity', PYTHON))
    raised |= {"action.unknown", "action.dead_letter", "connection.scopes_wider", "connection.scopes_narrower"}
    raised |= {"confidence.exhausted", "confidence.tightened"}
    assert len(raised) > 10
    assert {name for name in raised if not words.word("alert_kind", name).known} == set()


def test_every_noun_of_the_audit_log_has_words() -> None:
    nouns = set(re.findall(r"audit_table\('app\.[a-z_]+', '([a-z_]+)'", SQL))
    assert len(nouns) > 30
    assert {noun for noun in nouns if words.event(f"{noun}.made").startswith("Not a listed")} == set()


def test_every_word_is_whole() -> None:
    for kind, listed in WORDS.items():
        for name, (text, tone, *meaning) in listed.items():
            assert text, (kind, name)
            assert text[0].isupper(), (kind, name)
            assert "_" not in text, (kind, name)
            assert tone in words.TONES, (kind, name)
            assert len(meaning) <= 1, (kind, name)
            assert all(each.endswith(".") for each in meaning), (kind, name)


def test_what_is_not_listed_says_so() -> None:
    told = words.word("action", "levitating")
    assert (told.text, told.tone, told.known) == ("Not a listed action: levitating", "warn", False)
    assert words.word("nonsense", "x").text == "Not a listed nonsense: x"
    assert words.event("levitation.begun") == "Not a listed event: levitation.begun"


def test_enumerations_and_nothing_are_taken_too() -> None:
    assert words.text("outcome", vocabulary.Outcome.ESCALATE) == "Asks a person"
    assert words.text("control", 9) == "Hard gates"
    assert words.text("action", None) == "—"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("to_iban", "To IBAN"),
        ("createdAt", "Created at"),
        ("/args/amount", "Amount"),
        ("/lines/0/amount", "Lines 1, amount"),
        ("/lines/*/to_iban", "Lines, each, to IBAN"),
        ("", "(no name)"),
        ("/", "(no name)"),
    ],
)
def test_a_field_is_named_as_people_name_it(name: str, label: str) -> None:
    assert words.field(name) == label


def test_counts_and_lists_read_as_sentences() -> None:
    assert [words.count(n, "action") for n in (0, 1, 1200)] == ["0 actions", "1 action", "1,200 actions"]
    assert words.count(2, "entry", "entries") == "2 entries"
    assert words.sentence(["a", "b", "c"]) == "a, b and c"
    assert words.sentence([]) == "none"
