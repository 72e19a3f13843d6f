"""A proposal that names tokens is given the values back: here, right before it is decided, and nowhere earlier."""

from api.errors import Problem
from api.gate.models import Facts, Proposal
from api.gate.pseudonyms import Pseudonyms, UnknownTokenError
from api.workflows.facts import Asked


class MoreAskedError(Exception):
    """With the values in their places, the proposal asks more of the directory than was asked. asked: all of it."""

    def __init__(self, asked: Asked) -> None:
        super().__init__("ask again")
        self.asked = asked


def with_values(proposal: Proposal, facts: Facts, asked: Asked) -> Proposal:
    """The proposal with values for tokens in its arguments, in a workflow whose agent is shown tokens.

    Raises Problem 422 `unknown_token` for a token that nobody gave out in this run, MoreAskedError where the facts lack
    what the directory says of the values.
    """
    hidden = facts.workflow.spec.hidden
    if not hidden:
        return proposal
    try:
        args = Pseudonyms.of(facts.run, hidden).shown(proposal.args)
    except UnknownTokenError as error:
        place = [{"pointer": f"/args{error.pointer}", "message": str(error)}]
        raise Problem(422, "unknown_token", f"The proposal names a token that it cannot: {error}", place) from error
    if args == proposal.args:
        return proposal
    names = Asked.by(proposal.run_id, args)
    if not set(names.keys) <= set(asked.keys):
        raise MoreAskedError(names)
    return proposal.model_copy(update={"args": args})
