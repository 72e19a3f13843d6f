"""What is read around a write: the state that it changes, before its call and after it.

Each read is an observation of the run, so that it is minimised, labelled, kept and erased like every other one.
"""

import logging
from typing import Any, Literal
from uuid import UUID

import psycopg

from api.auth import Principal
from api.db import database
from api.errors import Problem, from_database
from api.execution.compensate import described, left_by
from api.execution.undo_args import Known, UnmadeError, differences, names_of, read_args
from api.gate.models import Contract
from api.privacy.run_keys import SealBrokenError
from api.runs import service as runs
from api.runs.models import NewObservation
from api.sql import query

log = logging.getLogger("countersign.prepare")
CHANGED = "Somebody has changed it since; the undo would overwrite that, so nothing was sent."


class NotReadError(Exception):
    """What has to be read before the write could not be; the message says why. Nothing was sent."""


class ChangedError(Exception):
    """The world is not the one that the action was made for. Nothing was sent, and trying again changes nothing."""


async def before(executor: Principal, contract: Contract, claimed: dict[str, Any]) -> None:
    """Reads what the write changes, where the contract says how and the workflow may read it.

    Raises NotReadError when it cannot be read now, ChangedError when an undo would overwrite what somebody did since.
    """
    try:
        seen = await _read(executor, contract, claimed, "before", None)
    except Problem as error:
        raise NotReadError(f"The state before the write could not be read: {error.detail}") from error
    if seen is None or contract.state is None:
        return
    if seen["status"] != "succeeded":
        raise NotReadError(f"The state before the write could not be read: {seen['error']}")
    left = await _left_by_undone(executor, claimed["action_id"])
    if left is not None and differences(contract.state.fields, left, seen["result"]):
        raise ChangedError(CHANGED)


async def refuse_undo(executor: Principal, action_id: str) -> None:
    """Raises ChangedError when the action is an undo: it was made for the world as it was."""
    if await _undone_by(executor, action_id) is not None:
        raise ChangedError(CHANGED)


async def after(executor: Principal, contract: Contract, claimed: dict[str, Any], answer: Any) -> None:
    """Reads what the write has left behind. Changes nothing of its outcome: what fails here is only not known."""
    try:
        await _read(executor, contract, claimed, "after", answer)
    except (Problem, SealBrokenError, psycopg.Error):
        log.warning("the state after action %s was not read", claimed["action_id"], exc_info=True)


async def _read(
    executor: Principal, contract: Contract, claimed: dict[str, Any], purpose: Literal["before", "after"], answer: Any
) -> dict[str, Any] | None:
    """The observation; None where there is nothing to read, or the workflow may not read it."""
    if contract.state is None:
        return None
    try:
        args = read_args(contract.state.args, Known(claimed["args"], names_of(contract), answer))
    except UnmadeError:
        return None  # what is created is not there before
    body = NewObservation(tool=contract.state.tool, args=args)
    serves = runs.ForAction(claimed["action_id"], purpose)
    try:
        return dict((await runs.observe(executor, claimed["run_id"], body, None, serves)).result)
    except Problem as error:
        if error.code in ("outside_access_spec", "unknown_tool"):
            return None
        raise
    except psycopg.Error as error:
        raise from_database(error) from error


async def _left_by_undone(executor: Principal, action_id: str) -> Any:
    """Of an undo: what the undone action has left behind; None of any other action, or where that is not kept."""
    undone = await _undone_by(executor, action_id)
    if undone is None:
        return None
    done = await described(executor, undone)
    left, _ = left_by(done, Contract.model_validate(done["contract"]))
    return left


async def _undone_by(executor: Principal, action_id: str) -> UUID | None:
    """The action that this one undoes; None where it is no undo."""
    async with database().tenant_transaction(executor, "actions.read") as connection:
        row = await (await connection.execute(query("execution/undone_by"), {"id": action_id})).fetchone()
    return row["compensates"] if row else None
