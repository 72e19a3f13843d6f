"""The nine controls over the whole organisation: what was looked at in every live workflow, and what the log shows."""

from typing import Any

from api.auth import Principal
from api.db import database
from api.workflows import service as workflows

#: Of each control, the events that show it at work, with what one of them means.
EVENTS: dict[int, dict[str, str]] = {
    1: {"workflow_version.live": "access specs put live", "action.denied": "actions refused by the gate"},
    2: {"approval.recorded": "verdicts of people on exact payloads", "member.added": "people added"},
    3: {"decision.made": "decisions with their reasons", "attempt.started": "attempts recorded"},
    4: {"credential.released": "credentials released, each for one purpose", "key.revoked": "keys revoked"},
    5: {"exception.opened": "exceptions put to people", "exception.expired": "exceptions that ended by themselves"},
    6: {"run_key.made": "runs sealed under a key of their own", "erasure.requested": "erasures asked for"},
    7: {"kill_switch.engaged": "kill switches engaged", "undo_plan.requested": "runs that were undone"},
    8: {
        "alert.raised": "alerts raised",
        "alert.acknowledged": "alerts that a person took on",
        "incident.opened": "incidents opened",
        "incident.reviewed": "incidents reviewed by somebody else",
    },
    9: {"exception.approved": "exceptions approved by people", "exception.rejected": "exceptions rejected by people"},
}
#: How far the database counts.
CAP = 1000


async def controls(principal: Principal) -> dict[str, Any]:
    """All nine, looked at now, for whoever may read workflows. psycopg CS403 for others."""
    types = [name for events in EVENTS.values() for name in events]
    found = (await database().call(principal, "controls_v1", {"types": types})).result
    flows = [(each, workflows.presented(each)) for each in found["workflows"]]
    overall = [_overall(index, flows, found["events"]) for index in range(9)]
    kept = {name: found[name] for name in ("tenant", "checked_at", "since", "chain", "more")}
    verified = all(each["verified"] for each in overall) and not found["more"]
    return kept | {"verified": verified, "controls": overall}


def _overall(index: int, flows: list[tuple[dict[str, Any], dict[str, Any]]], counts: dict[str, int]) -> dict[str, Any]:
    checked = [
        {name: flow[name] for name in ("slug", "title", "version", "environment")}
        | {name: shown["controls"][index][name] for name in ("verified", "evidence", "missing")}
        for flow, shown in flows
    ]
    name, meaning = workflows.CONTROLS[index + 1]
    verified = sum(each["verified"] for each in checked)
    return {
        "control": index + 1,
        "name": name,
        "meaning": meaning,
        "verified": bool(checked) and verified == len(checked),
        "workflows_verified": verified,
        "workflows": checked,
        "events": [
            {"type": name, "meaning": told, "count": counts[name], "capped": counts[name] >= CAP}
            for name, told in EVENTS[index + 1].items()
        ],
    }
