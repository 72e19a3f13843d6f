"""Findings and verdicts in plain words."""

from collections.abc import Mapping
from typing import Any

Finding = Mapping[str, Any]


def why_stopped(decision: Mapping[str, Any]) -> list[Finding]:
    """The findings that did not allow, the most severe first."""
    stopped = [finding for finding in decision["findings"] if finding["outcome"] != "allow"]
    return sorted(stopped, key=lambda finding: str(finding["outcome"]) != "deny")


def control(finding: Finding) -> str:
    """Which check it was, which of the nine controls it serves, and the rule it rests on."""
    name = str(finding["check"]).replace("_", " ")
    source = f", rule {finding['rule_id']}" if finding.get("rule_id") else ""
    return f"{name} (control {finding['control']}{source})"
