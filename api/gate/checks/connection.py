"""Control 4: a connection that is not well writes nothing."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.facts import ConnectionFacts
from api.gate.models import Finding, Outcome

_REASONS = {
    "pending": "Nobody has finished signing in to it.",
    "degraded": "What it was granted is not what was asked for, or it cannot be refreshed; it may only read.",
    "expired": "Its consent has ended; somebody has to sign in again.",
    "revoked": "It was disconnected.",
}


def check(case: Case) -> Iterator[Finding]:
    """Denies a write through a connection that is not active, whose consent is over, or whose scopes have drifted.

    Whether the workflow has a connection that fits is `scope`'s to say. A tool that its client executes needs none.
    """
    if case.contract is None:
        yield _finding(Outcome.ALLOW, "Without a tool that the workflow may use there is no connection to look at.")
        return
    if case.contract.execution.mode == "external":
        yield _finding(Outcome.ALLOW, "The client executes this tool itself; no connection is used.")
        return
    connection_id = case.facts.connection_of(case.contract)
    connection = case.facts.connections.get(connection_id) if connection_id else None
    if connection is None:
        yield _finding(Outcome.DENY, "There is no connection to act through.")
        return
    problems = list(_problems(case, connection))
    for message in problems:
        yield _finding(Outcome.DENY, message)
    if not problems:
        yield _finding(Outcome.ALLOW, "The connection is active, with the consent and the scopes that were asked for.")


def _problems(case: Case, connection: ConnectionFacts) -> Iterator[str]:
    if connection.status != "active":
        reason = _REASONS.get(connection.status, "")
        yield f"The connection is {connection.status[:40]}. {reason}".strip()
    ends = connection.consent_expires_at
    if ends is not None and ends <= case.now:
        yield f"The consent to this connection ended at {ends.isoformat(timespec='minutes')}; somebody signs in again."
    asked, granted = connection.scopes_requested, connection.scopes_granted
    # Before anything was granted there is nothing to compare, and the status says so.
    if asked is None or granted is None or set(asked) == set(granted):
        return
    for told, scopes in (
        ("more than was asked for", set(granted) - set(asked)),
        ("less than was asked for; missing", set(asked) - set(granted)),
    ):
        if scopes:
            yield f"The connection was granted {told}: {', '.join(sorted(scopes))[:300]}."


def _finding(outcome: Outcome, message: str) -> Finding:
    return Finding(check="connection", outcome=outcome, control=4, setting="connections", message=message)
