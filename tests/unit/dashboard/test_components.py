"""Every part of the pages renders, keeps to the policy of the pages, and shows what is hostile as text."""

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.dashboard import pages
from api.errors import Problem
from api.exceptions.models import Recipients
from api.gate.models import Finding, Outcome
from tests.unit.dashboard.payments import ARGS, CONTRACT, SCHEMA

DASHBOARD = Path(__file__).parents[3] / "api/dashboard"
HOSTILE = "<script>alert(1)</script>\"'\u202e"
SOON = datetime.now(UTC) + timedelta(minutes=50)
VISITOR = SimpleNamespace(csrf="token-of-the-session")
GOES_TO = Recipients([HOSTILE], [HOSTILE], [("name", HOSTILE), ("account", HOSTILE)], left=3)
FINDINGS = [
    Finding(check="scope", outcome=Outcome.ALLOW, message="Within the spec.", control=1),
    Finding(check="grounding", outcome=Outcome.ESCALATE, message=HOSTILE, control=6, pointer="/args/to_iban"),
    Finding(
        check="constitution", outcome=Outcome.DENY, message="No.", control=5, rule_id=HOSTILE, setting="limits.day"
    ),
]


@cache
def _ui() -> Any:
    return pages.environment().get_template("components.html").module


def render(part: str, *given: Any, **more: Any) -> str:
    return str(getattr(_ui(), part)(*given, **more))


def called(source: str, **context: Any) -> str:
    head = '{% import "components.html" as ui %}'
    return pages.environment().from_string(head + source).render(context)


PARTS: dict[str, str] = {
    "badge": render("badge", HOSTILE, "bad", HOSTILE),
    "status": render("status", "action", HOSTILE),
    "when": render("when", SOON),
    "at": render("at", SOON),
    "countdown": render("countdown", SOON),
    "money": render("money", 129900, "EUR"),
    "copy": render("copy", HOSTILE * 3),
    "person": render("person", {"name": HOSTILE}) + render("person", None) + render("person", {"email": "a@b.example"}),
    "untrusted": render("untrusted", HOSTILE, [(0, 3, "override")], HOSTILE),
    "said": render("said", HOSTILE, HOSTILE),
    "instruction": render("instruction", HOSTILE, "user") + render("instruction", HOSTILE, "service"),
    "tool": render("tool", HOSTILE, {HOSTILE: f"Pay {HOSTILE}"}, "/x") + render("tool", HOSTILE),
    "recipients": render("recipients", GOES_TO),
    "untrusted_line": render("untrusted_line", HOSTILE),
    "value": render("value", {HOSTILE: HOSTILE, **ARGS}, contract=CONTRACT),
    "diff": render("diff", {HOSTILE: 1}, {HOSTILE: HOSTILE}),
    "finding": render("finding", FINDINGS[1]),
    "findings": render("findings", FINDINGS),
    "finding of JSON": render("finding", {"check": "scope", "outcome": "deny", "message": "No.", "control": 1}),
    "empty": render("empty", HOSTILE, HOSTILE, "/runs", "See them"),
    "notice": render("notice", "warn", HOSTILE, HOSTILE),
    "problem": render("problem", Problem(422, "wrong", HOSTILE, [{"pointer": "/args/a", "message": HOSTILE}]), "r-1"),
    "no problem": render("problem", None),
    "pager": render("pager", {"has_more": True, "next_cursor": "a=&b"}, "/exceptions?mine=1", first=True),
    "last page": render("pager", {"has_more": False, "next_cursor": None}, "/exceptions"),
    "tabs": render("tabs", [("Mine", "/?a=1", True, 3), (HOSTILE, "/", False)]),
    "filters": render("filters", "/x", [{"name": "q", "label": "Text", "value": HOSTILE},
        {"name": "h", "type": "hidden", "value": "1"},
        {"name": "s", "label": "State", "value": "a", "options": [("a", "A"), ("b", HOSTILE)]}]),
    "form": render("form_open", "/x", VISITOR) + render("form_close", "Save", cancel="/"),
    "fields": "".join(
        render("field", "name", "Name", HOSTILE, HOSTILE, HOSTILE, type=kind, options=[("a", HOSTILE)], was=HOSTILE)
        for kind in ("text", "textarea", "select", "checkbox", "code", "range", "password", "number", "money", "search")
    ),
    "schema_fields": render("schema_fields", SCHEMA, ARGS | {"reference": HOSTILE}, [], ARGS, CONTRACT),
    "confirm": render("confirm", "Reject", HOSTILE, "/x", "Reject it", True, VISITOR, {"a": HOSTILE}),
    "step_up": render("step_up", SimpleNamespace(aal="aal1"), HOSTILE, "code"),
    "open_incident": render("open_incident", SimpleNamespace(may=lambda _: True), "action", "1"),
    "no step_up": render("step_up", SimpleNamespace(aal="aal2")),
    "meter": render("meter", 5, 10, HOSTILE),
    "code": render("code", HOSTILE),
    "event": called('{% call ui.event(at, "Done", "good") %}<p>more</p>{% endcall %}', at=SOON),
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_it_keeps_to_the_policy_and_shows_text_as_text(part: str) -> None:
    shown = PARTS[part]
    assert "<script" not in shown
    assert not re.findall(r"<[^>]*\s(?:style|on[a-z]+)=", shown)
    assert not re.findall(r'(?:href|src|action)="(?!/|#)', shown)
    ids = re.findall(r'\sid="([^"]*)"', shown)
    if part != "fields":
        assert len(ids) == len(set(ids))
    for name in re.findall(r'(?:for|aria-describedby)="([^"]*)"', shown):
        assert set(name.split()) <= set(ids)


@pytest.mark.parametrize(
    "part",
    sorted(
        set(PARTS)
        - {
            "badge",
            "empty",
            "notice",
            "confirm",
            "meter",
            "filters",
            "fields",
            "schema_fields",
            "step_up",
            "tabs",
            "status",
            "open_incident",
        }
    ),
)
def test_what_turns_text_is_named_wherever_it_may_come_from(part: str) -> None:
    assert "\u202e" not in PARTS[part]


def test_every_part_is_looked_at() -> None:
    source = (DASHBOARD / "templates/components.html").read_text(encoding="utf-8")
    macros = set(re.findall(r"macro (\w+)\(", source))
    within = {"form_open", "form_close", "submit", "field", "error_of", "schema_field", "choice"}
    assert macros - within <= set(PARTS)


def test_no_template_writes_what_the_policy_forbids() -> None:
    for path in (DASHBOARD / "templates").glob("*.html"):
        source = path.read_text(encoding="utf-8")
        assert not re.findall(r"<[^>]*\s(?:style|on(?:click|load|error|submit|change|input))=", source), path.name
        assert not re.findall(r"<script(?![^>]*\ssrc=)|<style|https?://(?!www\.w3\.org)", source), path.name
        assert "|safe" not in source.replace(" ", ""), path.name


def test_a_form_carries_what_it_needs_to_be_sent_once_and_from_here() -> None:
    first, second = render("form_open", "/x", VISITOR), render("form_open", "/x", VISITOR)
    assert 'name="csrf" value="token-of-the-session"' in first
    keys = [re.findall(r'name="once" value="([0-9a-f-]{36})"', each) for each in (first, second)]
    assert len(keys[0]) == len(keys[1]) == 1
    assert keys[0] != keys[1]
    assert "csrf" not in render("form_open", "/x", None)


def test_findings_put_first_what_stops_it() -> None:
    shown = PARTS["findings"]
    assert shown.index("Your rules") < shown.index("Where the values come from") < shown.index("1 check passed")
    assert "Control 6: Data" in shown
    assert "Field <code><bdi>To IBAN</bdi></code>" in shown


def test_a_field_tells_its_error_to_whoever_does_not_see_it() -> None:
    shown = render("field", "args/to_iban", "To IBAN", "x", error="Not an IBAN.", required=True)
    assert 'aria-invalid="true"' in shown
    assert 'aria-describedby="f-args-to_iban-error"' in shown
    assert (
        render("error_of", Problem(422, "x", "y", [{"pointer": "/reason", "message": "Say why."}]), "/reason")
        == "Say why."
    )


def test_the_module_is_small_and_needs_nothing_else() -> None:
    script = (DASHBOARD / "static/countersign.js").read_text(encoding="utf-8")
    assert len(script.encode()) < 14_000
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|https?://|\bimport\b", script
    )
    for hook in re.findall(r"dataset\.([a-z]+)", script):
        assert hook in {"ready", "zoned", "words", "live", "ago", "countdown", "copy", "poll", "preview", "into"}


def test_the_pages_use_no_class_that_has_no_look() -> None:
    css = (DASHBOARD / "static/countersign.css").read_text(encoding="utf-8")
    used = {
        name for shown in PARTS.values() for names in re.findall(r'class="([^"]*)"', shown) for name in names.split()
    }
    without = {name for name in used if not re.search(rf"\.{re.escape(name)}(?![\w-])", css)}
    plain = {"form", "same", "problem", "untrusted-line", "schema-form", "line-0", "numbers", "diff", "event-body"}
    assert without <= plain | {"badge-neutral", "notice-neutral", "event-neutral", "countdown-neutral", "meter-text"}


def test_an_instruction_is_somebodys_words_only_where_a_person_or_the_workflow_gave_it() -> None:
    """A program that starts a run may pass on whatever came in."""
    marked = {by: "Untrusted text" in render("instruction", "Pay", by) for by in ("user", "system", "service")}
    assert marked == {"user": False, "system": False, "service": True}


def test_what_the_directory_does_not_know_is_told_apart_from_what_it_does() -> None:
    """A name that only looks like a known one must not be taken for known because another text is marked."""
    name, other, account = "Northwind", ("name", "N0rthwind"), ("account", "DE94")
    for known, unknown, told in (
        ([name], [account], ">not in the directory<"),
        ([], [account], ">not in the directory<"),
        ([], [other, account], ">none of it in the directory<"),
        ([name], [other, account], ">the last 2 not in the directory<"),
    ):
        assert told in render("recipients", Recipients(known, [], unknown))
