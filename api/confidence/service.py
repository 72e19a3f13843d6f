"""What claimed confidence turned out to be worth, and the thresholds that follow: raised on drift, lowered by people.

Queries run one by one: whatever changes between them is caught by the version that a change was made against.
"""

from collections import defaultdict
from dataclasses import asdict
from datetime import datetime
from typing import Any

from api.auth import Principal, system
from api.confidence import calibration
from api.confidence.calibration import Claims
from api.confidence.models import NewThreshold
from api.db import Answer, Idempotency, Row, database
from api.errors import Problem
from api.gate.checks.confidence import in_spec
from api.gate.models import AccessSpec
from api.pagination import PageRequest
from api.sql import query

#: Days whose verdicts the scheduled function goes by.
WINDOW = 90


async def calibrate(principal: Principal, workflow: str, tool: str | None, days: int) -> Row:
    """The calibration of a workflow's tools by what was decided within so many days. Raises Problem 404."""
    found, spec = await _workflow(principal, slug=workflow)
    in_force = await _in_force(principal, found["id"], tool)
    judged, unclaimed = await _judged(principal, found["id"], tool, days)
    granted = {name for name, grant in spec.tools.items() if grant.access == "write"} if spec else set()
    names = sorted(name for name in granted | {*judged, *unclaimed, *in_force} if tool in (None, name))
    tools = [_calibration(name, spec, in_force.get(name), judged[name], unclaimed[name]) for name in names]
    return {"workflow": found["slug"], "days": days, "tools": tools}


async def list_thresholds(principal: Principal, page: PageRequest, workflow: str | None, tool: str | None) -> Row:
    """Every threshold that was set, newest first."""
    parameters = page.key() | {"workflow": workflow, "tool": tool}
    rows = await _rows(principal, "list_thresholds", parameters)
    return page.page(rows, "created_at", "id")


async def set_threshold(principal: Principal, body: NewThreshold, once: Idempotency) -> Answer:
    """Sets what is asked for: a person, at aal2. Raises 412 when another version is in force than was looked at."""
    return await database().call(principal, "set_confidence_threshold_v1", body.model_dump(mode="json"), once)


async def tighten(tenant_id: str, workflow_id: str, tool: str) -> bool:
    """Asks for more where claims that reach the threshold are worth clearly less; whether it did. Never asks for less.

    Goes by what was decided within WINDOW days and since a person last set the threshold: that person has seen the
    rest. Once a day at most, which the database sees to. What no threshold can help is told by an alert.
    """
    by = system(tenant_id, "calibrate")
    _, spec = await _workflow(by, workflow_id=workflow_id)
    last = (await _in_force(by, workflow_id, tool)).get(tool)
    since = last["person_at"] if last else None
    judged, _ = await _judged(by, workflow_id, tool, WINDOW, since)
    if spec is None or tool not in spec.tools:
        return False
    claims, asked = judged[tool], _asked_for(spec, last, tool)
    over = calibration.overconfidence(claims, asked)
    if over is None:
        return False
    measured = calibration.scores(claims)
    evidence = {
        "days": WINDOW,
        "since": since,
        "threshold": asked,
        "at_or_above": asdict(over),
        "all": asdict(measured) if measured else None,
        "suggested": calibration.suggested(claims, above=asked),
    }
    reason = (
        f"Of {over.judged} judged actions at {asked} or above, {over.share_approved:.0%} were approved"
        f" ({over.upper:.0%} at the most), while {over.mean_claimed:.0%} was claimed on average."
    )
    args = {
        "workflow_id": workflow_id,
        "tool": tool,
        "threshold": calibration.tightened(claims, asked),
        "reason": reason,
        "evidence": evidence,
        "seen_version": last["version"] if last else 0,
    }
    return bool((await database().call(by, "tighten_confidence_v1", args)).result["recorded"])


def _calibration(
    tool: str, spec: AccessSpec | None, last: Row | None, claims: list[Claims], unclaimed: tuple[int, int]
) -> Row:
    measured = calibration.scores(claims)
    granted = spec is not None and tool in spec.tools
    return {
        "tool": tool,
        "in_spec": in_spec(spec, tool)[0] if spec and granted else None,
        "in_force": last,
        "asked_for": _asked_for(spec, last, tool) if spec and granted else None,
        "suggested": calibration.suggested(claims),
        "scores": asdict(measured) if measured else None,
        "bins": [asdict(one) for one in calibration.bins(claims)],
        "unclaimed": {"judged": unclaimed[0], "approved": unclaimed[1]},
    }


def _asked_for(spec: AccessSpec, last: Row | None, tool: str) -> float:
    """The larger of what the access spec asks for and of what was set."""
    set_last = last["threshold"] if last else None
    return max(in_spec(spec, tool)[0], float(set_last or 0))


async def _workflow(
    principal: Principal, *, slug: str | None = None, workflow_id: str | None = None
) -> tuple[Row, AccessSpec | None]:
    """The workflow with its live access spec."""
    found = await _rows(principal, "find_workflow", {"slug": slug, "id": workflow_id})
    if not found:
        raise Problem(404, "not_found", "There is no such workflow.")
    spec = found[0]["spec"]
    return found[0], AccessSpec.model_validate(spec) if spec else None


async def _in_force(principal: Principal, workflow_id: Any, tool: str | None) -> dict[str, Row]:
    """What was set last, by tool."""
    rows = await _rows(principal, "in_force", {"workflow_id": workflow_id, "tool": tool})
    return {row["tool"]: row for row in rows}


async def _judged(
    principal: Principal, workflow_id: Any, tool: str | None, days: int, since: datetime | None = None
) -> tuple[defaultdict[str, list[Claims]], defaultdict[str, tuple[int, int]]]:
    """What was judged, by tool: of each claimed confidence; and (judged, approved) of what claimed none."""
    parameters = {"workflow_id": workflow_id, "tool": tool, "days": days, "since": since}
    claims: defaultdict[str, list[Claims]] = defaultdict(list)
    unclaimed: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in await _rows(principal, "judged", parameters):
        if row["claimed"] is None:
            unclaimed[row["tool"]] = (row["judged"], row["approved"])
        else:
            claims[row["tool"]].append(Claims(float(row["claimed"]), row["judged"], row["approved"]))
    return claims, unclaimed


async def _rows(principal: Principal, name: str, parameters: Row) -> list[Row]:
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        return await (await connection.execute(query(f"confidence/{name}"), parameters)).fetchall()
