"""What a client with an API key is shown of a run of a workflow that shows tokens (api/gate/pseudonyms.py)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg

from api.auth import Principal
from api.gate.pseudonyms import Pseudonyms
from api.gate.vocabulary import PSEUDONYMS
from api.workflows import facts as workflow_facts


async def hiding(
    principal: Principal, workflow: str, run_id: UUID, pseudonyms: bool | list[Any] | None
) -> Callable[[Any], Any] | None:
    """What puts tokens of the run in the place of its values; None for a person, and where values are shown.

    pseudonyms: as the workflow's access spec says. A key that may not read the run, or whose workflow is not live, has
    masks (`[IBAN]`) instead of tokens.
    """
    if principal.kind != "service" or not pseudonyms:
        return None
    hidden = PSEUDONYMS if pseudonyms is True else frozenset(pseudonyms)
    try:
        facts, _ = await workflow_facts.load(principal, workflow, workflow_facts.Asked(run_id))
    except psycopg.Error as error:
        if not (error.sqlstate or "").startswith("CS"):
            raise
        return Pseudonyms(hidden).hide
    return Pseudonyms.of(facts.run, hidden).hide


def hidden_in(document: Any, paths: tuple[str, ...], hide: Callable[[Any], Any]) -> Any:
    """The document with these of its parts hidden; `approvals.reason` is the reason of each approval."""
    for path in paths:
        document = _hidden(document, path.split("."), hide)
    return document


def _hidden(document: Any, steps: list[str], hide: Callable[[Any], Any]) -> Any:
    if isinstance(document, list):
        return [_hidden(each, steps, hide) for each in document]
    if not isinstance(document, dict) or document.get(steps[0]) is None:
        return document
    part = document[steps[0]]
    return document | {steps[0]: _hidden(part, steps[1:], hide) if len(steps) > 1 else hide(part)}
