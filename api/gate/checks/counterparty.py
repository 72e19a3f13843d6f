"""Control 2: who is paid for the first time, or to new bank details, is looked at by two."""

from collections.abc import Iterator
from itertools import islice

from api.gate.access_spec import Approvals
from api.gate.case import Case
from api.gate.models import Finding, Outcome
from api.gate.payees import EFFECTS, NOBODY, Standing
from api.gate.pointer import leaves, resolve

_SHOWN = 20  # one mistake repeated in a thousand items is still one to correct


def check(case: Case) -> Iterator[Finding]:
    """Escalates, to as many people as the spec asks for, what goes to somebody the directory does not vouch for.

    That is a new payee, one whose details are still cooling off, an account that is not the named payee's, and
    whatever only looks like somebody known. A payee is known as a whole: all that is said of it is one entry.
    """
    if not case.effects & EFFECTS:
        yield _finding(Outcome.ALLOW, "The effect is none that goes to a payee.")
        return
    objections = [standing for standing in case.standings if standing.state != "known"]
    for n, standing in enumerate(objections[:_SHOWN]):
        yield _objection(case, standing, first=n == 0)
    for pointer in islice(_unnamed(case), 1):
        yield _finding(Outcome.ESCALATE, "It does not name who it goes to.", pointer, _approvals(case))
        return
    if objections:
        return
    for standing in case.standings[:_SHOWN]:
        yield _finding(Outcome.ALLOW, standing.message, f"/args{standing.pointer}")
    if not case.standings:
        yield _finding(Outcome.ALLOW, "It names no payee: where it goes is settled by what it acts on.")


def _unnamed(case: Case) -> Iterator[str]:
    """Where a recipient belongs, if the action names none at all: the provider would choose one."""
    if case.contract is None or case.payees:
        return
    pinned = case.grant.records if case.grant else {}
    patterns = [at for at, argument in case.contract.arguments.items() if argument.role == "recipient"]
    given = [value for at in patterns for _, found in resolve(case.proposal.args, at) for _, value in leaves(found)]
    if all(value in NOBODY for value in given):
        yield from (f"/args{at}" for at in patterns if at not in pinned)


def _objection(case: Case, standing: Standing, *, first: bool) -> Finding:
    message = standing.message
    if first and standing.state == "new":
        message += f" (Accounts of our own are listed in tools.{case.proposal.tool}.records.)"
    # That somebody is new may be as it should be. That bank details changed, or a name is nearly right, never is.
    liftable = standing.state in ("new", "cooling_off")
    return _finding(Outcome.ESCALATE, message, f"/args{standing.pointer}", _approvals(case), liftable=liftable)


def _approvals(case: Case) -> Approvals:
    usual = (case.grant.approvals if case.grant else None) or case.spec.approvals
    return usual.model_copy(update={"count": max(usual.count, case.spec.counterparty_approvals)})


def _finding(
    outcome: Outcome,
    message: str,
    pointer: str | None = None,
    approvals: Approvals | None = None,
    *,
    liftable: bool = True,
) -> Finding:
    return Finding(
        check="counterparty",
        outcome=outcome,
        control=2,
        setting="counterparty_approvals",
        message=message,
        pointer=pointer,
        approvals=approvals,
        liftable=liftable,
    )
