"""What axe-core finds on a page, and the report of a whole run: build/accessibility.json."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sandbox.state import CHECKOUT

if TYPE_CHECKING:
    from playwright.sync_api import Page

REPORT = CHECKOUT / "build" / "accessibility.json"
#: WCAG 2.2 at level AA with everything below, and what axe-core's makers add.
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
BAD = ("serious", "critical")
#: What a narrower window or other colours can change.
RULES_OF_COLOUR, RULES_OF_WIDTH = ("color-contrast",), ("color-contrast", "target-size", "scrollable-region-focusable")
#: How a record of one check is named among the properties of a test.
PROPERTY = "accessibility"


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def looked_at(page: Page, rules: tuple[str, ...] = ()) -> dict[str, Any]:
    """What axe-core says of a page as it is shown now: all rules, or only those that are named.

    `findings` with their `impact` and the elements, and in `undecided` the rules that a person would have to look at.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())  # not as a script of the page, which its policy forbids
    only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": TAGS}
    options = {"runOnly": only, "resultTypes": ["violations"]}
    told = page.evaluate("options => axe.run(document, options)", options)
    size = page.viewport_size
    return {
        "page": urlsplit(page.url).path,
        "title": page.title(),
        "width": size["width"] if size else 0,
        "dark": page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches"),
        "passed": sorted(rule["id"] for rule in told["passes"]),
        "undecided": sorted(rule["id"] for rule in told["incomplete"]),
        "findings": [_finding(rule) for rule in told["violations"]],
    }


def _finding(rule: dict[str, Any]) -> dict[str, Any]:
    nodes = [{"element": " ".join(map(str, node["target"])), "why": node["failureSummary"]} for node in rule["nodes"]]
    return {"rule": rule["id"], "impact": rule["impact"], "help": rule["help"], "nodes": nodes}


def bad(report: dict[str, Any]) -> str:
    """The serious and critical findings of a page as text for a person; '' when there is none."""
    where = f"{report['page']} at {report['width']} px{', dark' if report['dark'] else ''}"
    return "\n".join(
        f"{where}: {finding['impact']}: {finding['help']}: {node['element']}\n    {node['why']}"
        for finding in report["findings"]
        if finding["impact"] in BAD
        for node in finding["nodes"][:5]
    )


def write_report(terminalreporter: Any) -> None:
    """Writes what all tests of a run looked at, and says how many findings there are."""
    reports = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in report.user_properties
        if name == PROPERTY and report.when == "call"
    ]
    if not reports:
        return
    impacts = [finding["impact"] for report in reports for finding in report["findings"]]
    counts = {impact: impacts.count(impact) for impact in ("critical", "serious", "moderate", "minor")}
    pages = sorted({report["page"] for report in reports})
    document = {"pages": len(pages), "checks": len(reports), "findings": counts, "details": reports}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    told = ", ".join(f"{count} {impact}" for impact, count in counts.items())
    terminalreporter.write_line(
        f"accessibility: {len(pages)} pages looked at {len(reports)} times: {told} ({REPORT.relative_to(CHECKOUT)})"
    )
