"""Makes pages from templates: the environment, and what every page is given."""

import hashlib
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from api.dashboard import session, untrusted
from api.dashboard.visitor import Person, Visitor
from api.errors import Problem

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
#: The pages of the menu: address, name, permission that it takes to see one of them.
MENU = (
    ("/", "Overview", "tenant.read"),
    ("/exceptions", "Exceptions", "exceptions.read"),
    ("/runs", "Runs", "runs.read"),
    ("/actions", "Actions", "actions.read"),
    ("/dead-letters", "Dead letters", "actions.read"),
    ("/workflows", "Workflows", "workflows.read"),
    ("/constitution", "Constitution", "constitution.read"),
    ("/amendments", "Amendments", "constitution.read"),
    ("/connections", "Connections", "connections.read"),
    ("/directory", "Directory", "directory.read"),
    ("/risk", "Risk", "tenant.read"),
    ("/kill-switches", "Kill switch", "tenant.read"),
    ("/alerts", "Alerts", "alerts.read"),
    ("/incidents", "Incidents", "incidents.read"),
    ("/controls", "Controls", "tenant.read"),
    ("/audit", "Audit", "audit.read"),
    ("/team", "Team and keys", "tenant.read"),
    ("/settings", "Settings", "tenant.read"),
)
#: What a page says after something was done: it came here with `?done=<name>`.
DONE = {
    "approved": "Approved. It is being executed.",
    "approved_one": "Your approval is recorded. It waits for somebody else's, too.",
    "rejected": "Rejected. Nothing was executed.",
    "answered": "Recorded as done by hand. Nothing was executed.",
    "edited": "Edited. The new payload went through every check, and waits for somebody else's approval.",
    "assigned": "Handed over.",
    "unassigned": "It is nobody's now: it waits for whoever takes it.",
    "commented": "Your comment is recorded.",
    "reproposed": "Proposed again, in your name.",
    "looked": "Looked at just now. What is there is below.",
    "signed_out": "You are signed out.",
    "factor_added": "The second factor is in use.",
    "saved": "Saved.",
    "cancelled": "Cancelled. It is never done.",
    "run_cancelled": "Stopped. The loop takes no further step.",
    "run_again": "This run does it again. You approve nothing of it, since you asked for it.",
    "run_undo": "The run is being undone, the last write first. Load this page again to see how far it is.",
    "undo_proposed": "This is the undo. It is an action like any other: the gate has decided on it.",
    "requeued": "It is tried again, with fresh attempts.",
    "requeued_anew": "This took its place, and went through the gate again.",
    "reconciled_succeeded": "Settled: it happened.",
    "reconciled_failed": "Settled: it did not happen.",
    "invited": "The invitation is on its way.",
    "uninvited": "The invitation is withdrawn.",
    "removed": "Removed. They lose access with their next click.",
    "disabled": "Disabled. All of its keys have ended.",
    "revoked": "Revoked. It works for nobody any more.",
    "connected": "Connected. Workflows can use it once their access spec names it.",
    "disconnected": "Disconnected. Nobody can use it any more; below is how far the provider has confirmed it.",
    "directory_proposed": "Proposed. Nothing changes until a second person approves exactly this.",
    "directory_approved": "Approved, and done.",
    "directory_rejected": "Rejected. The directory stays as it was.",
    "directory_withdrawn": "Taken back. The directory stays as it was.",
    "stopped": "Stopped. Nothing that it covers starts any more; below is what had left already.",
    "staged": "It is at this stage now.",
    "released": "Released. It runs as before.",
    "drafted": "The draft is there. Hand it to a reviewer when it is right.",
    "submitted": "Handed to a reviewer: somebody other than its author puts it live.",
    "withdrawn": "Taken back. It is a draft again.",
    "sent_back": "Sent back to its author, with your reason.",
    "live": "It is live.",
    "channel_made": "It is there. It is told nothing before it has proved itself.",
    "channel_unmailed": "It is there, but the code could not be mailed. Have a new one mailed below.",
    "code_mailed": "A new code is on its way.",
    "channel_verified": "It has proved itself, and is in use.",
    "channel_tested": "The test was taken.",
    "channel_moved": "The new address is kept. It is used once it has taken a test.",
    "channel_stopped": "Stopped. It is told nothing until it is started again.",
    "channel_enabled": "It is in use again.",
    "resent": "It is sent again within a minute.",
    "acknowledged": "You are on it.",
    "resolved": "Resolved.",
    "incident_opened": "Opened. Whoever answers for it finds it on their list.",
    "incident_contained": "Contained. It gets no worse; it is not over.",
    "incident_resolved": "Resolved. Somebody else reviews it.",
    "incident_noted": "Noted. It stays as it is written.",
    "incident_reviewed": "Reviewed. What is to be done is listed with its days.",
    "follow_up_added": "Added to what is to be done.",
    "follow_up_closed": "Closed.",
    "rule_proposed": "Proposed. Nothing is in force until it is adopted.",
    "rule_adopted": "Adopted. The rule is in force from now on.",
    "rule_rejected": "Turned down. Nothing changes.",
    "rule_withdrawn": "Taken back. Nothing changes.",
    "rule_tried": "Tried again on what was decided.",
    "rules_drafted": "The draft is yours. Nothing is in force until somebody publishes it.",
    "rules_saved": "Saved in the draft.",
    "rules_rebased": "It is up to date, with what it changed. Nothing is in force until somebody publishes it.",
    "rules_submitted": "Handed over. From here on the draft does not change.",
    "rules_published": "Published. These rules are in force from now on.",
    "rules_rejected": "Rejected, and its author is told why. The rules in force stay.",
    "rules_withdrawn": "Taken back for good. The rules in force stay.",
}


#: What the page of a refusal is called, by the status of its answer.
TITLES = {
    400: "That cannot be read", 403: "That was refused", 404: "There is nothing here", 405: "That was refused",
    409: "Something has changed meanwhile", 412: "Something has changed meanwhile",
    413: "That is too large", 415: "That cannot be read", 422: "That cannot be done as it is",
    429: "That was too much at once", 503: "Nobody answers at the moment",
}  # fmt: skip


@cache
def environment() -> "Environment":
    """The templates, escaped unless something says that it is markup; an unknown name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from api.dashboard import charts, facts, rule_form, schema_form, words
    from api.dashboard import format as formats

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.do"], finalize=untrusted.safe,
    )  # fmt: skip
    made.globals |= {
        "words": words, "format": formats, "charts": charts, "untrusted": untrusted, "facts": facts,
        "schema_form": schema_form, "rule_form": rule_form, "static": static,
    }  # fmt: skip
    return made


@cache
def static(name: str) -> str:
    """The address of a static file, which changes with its content and may be kept for ever."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def page(who: Person | None, template: str, *, request: Request, status: int = 200, **context: Any) -> HTMLResponse:
    """A page of this template. `who`: whoever looks at it; None before the sign-in."""
    wanted = request.query_params.get("done")
    given = {
        "visitor": who,
        "now": datetime.now(UTC),
        "path": request.url.path,
        "query": dict(request.query_params),
        "menu": [each for each in MENU if isinstance(who, Visitor) and who.may(each[2])],
        "done": DONE.get(wanted or ""),
        "once": lambda: str(uuid.uuid4()),
        "problem": None,
    }
    with untrusted.bounded():
        return HTMLResponse(environment().get_template(template).render(given | context), status)


async def error_page(request: Request, problem: Problem) -> HTMLResponse:
    """What a person is told when a page, or what they sent, is refused."""
    title = TITLES.get(problem.status_code, "Something went wrong here")
    answer = page(None, "problem.html", request=request, status=problem.status_code, problem=problem, title=title,
                  signed_in=session.read(request) is not None, request_id=request.state.request_id)  # fmt: skip
    answer.headers.update(problem.headers or {})
    return answer
