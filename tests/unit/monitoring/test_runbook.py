"""Whoever is called finds what to do: every kind of alert has its line in docs/runbook.md, and no line is left over."""

import re

from api.dashboard.wordlist import WORDS
from api.monitoring.heartbeats import FUNCTIONS
from tests.architecture.sources import ROOT


def test_every_alert_has_its_line() -> None:
    page = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| ([^|]+) \| ([^|]{20,}) \| ([^|]+) \|$", page, re.MULTILINE)
    assert sorted(kind for kind, *_ in lines) == sorted(WORDS["alert_kind"])


def test_every_heartbeat_has_its_line() -> None:
    page = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    assert {name for name in FUNCTIONS if f"`{name}`" not in page} == set()
