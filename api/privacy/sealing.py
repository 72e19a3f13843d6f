"""What was read in a run, sealed by class of data before it is kept, and opened where it is used.

The database keeps `args` and `result` as `{"sealed": {<bucket or class>: text}}`, and of the labels only the class of
each sealed part; the labels themselves are within. So a class is gone when its part is, and in every copy when its key
is. What was kept before there were keys is plain, and is read as it is.
"""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from api.auth import Principal
from api.db import database
from api.errors import Problem
from api.privacy import run_keys
from api.privacy.run_keys import Keys

log = logging.getLogger("countersign.privacy")
#: What is said in the place of what does not open.
UNOPENED = "What was read does not open: its seal is broken, or its key is not here. Its digest stays."
_NOTHING: dict[str, Any] = {"args": {}, "result": None, "labels": {}}
#: A leaf of a document: the way to it (names, and numbers of items), its value, and its label.
Leaf = list[Any]
_DEFAULT_CLASS = "internal"


async def keys_for(principal: Principal, kept: Mapping[str, Any]) -> Keys:
    """The keys of a run, to seal with: those that it has, or new ones if it never had any.

    kept: {tenant_id, run_id, keys}, as the database tells it. Raises Problem 409 `run_erased` when they are destroyed,
    SealBrokenError when one does not open: before anything is read that could not be kept.
    """
    found: Mapping[str, Any] = kept
    if kept["keys"] is None:
        fresh = run_keys.new(kept["tenant_id"], kept["run_id"])
        args = {"run_id": kept["run_id"], "keys": fresh}
        found = (await database().call(principal, "keep_run_keys_v1", args)).result
    if not set(run_keys.BUCKETS) <= set(found["keys"]):
        raise Problem(409, "run_erased", "What was read in this run was erased; start a new run.")
    run_keys.require_open(found)
    return found


def seal_args(keys: Keys, observation_id: UUID, args: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a read as they are kept."""
    return {"sealed": {"args": run_keys.seal(keys, "args", args, f"observation/{observation_id}/args")}}


def seal_result(keys: Keys, observation_id: UUID, result: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
    """{result, labels} as they are kept: one sealed part for each class of data, and the class of each part."""
    by_class: dict[str, list[Leaf]] = {}
    for way, value in _leaves(result):
        label = labels.get(_pattern(way))
        by_class.setdefault((label or {}).get("data_class", _DEFAULT_CLASS), []).append([way, value, label])
    parts = {
        name: run_keys.seal(keys, _bucket(name), leaves, f"observation/{observation_id}/{name}")
        for name, leaves in by_class.items()
    }
    return {"result": {"sealed": parts}, "labels": {f"/sealed/{name}": {"data_class": name} for name in parts}}


def opened(keys: Keys, row: Mapping[str, Any]) -> dict[str, Any]:
    """An observation as it was read, of a row with `id` and any of `args`, `result`, `labels`.

    Parts whose key or text is gone are missing, and `erased` or `erased_classes`, where the row has them, say so.
    """
    found, at = dict(row), f"observation/{row['id']}"
    if keys["keys"] is None:
        return found
    args = _sealed(row.get("args"))
    if args is not None:
        found["args"] = run_keys.unseal(keys, "args", args["args"], f"{at}/args") or {}
    parts = _sealed(row.get("result"))
    if parts is None:
        return found
    leaves: list[Leaf] = []
    gone = []
    for name, text in parts.items():
        part = run_keys.unseal(keys, _bucket(name), text, f"{at}/{name}")
        leaves += part or []
        gone += [name] if part is None else []
    found["result"] = _built([(way, value) for way, value, _ in leaves])
    if "labels" in row:
        found["labels"] = {_pattern(way): label for way, _, label in leaves if label is not None}
    if "erased_classes" in row:
        found["erased_classes"] = sorted({*row["erased_classes"], *gone})
    if "erased" in row:
        found["erased"] = bool(row["erased"] or gone)
    return found


def opened_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's facts as the gate takes them, of what the database tells with its `keys`."""
    found = dict(run)
    if (keys := found.pop("keys", None)) is not None:
        found["observations"] = [opened(keys, each) for each in found["observations"]]
    return found


def shown(keys: Keys, row: Mapping[str, Any]) -> dict[str, Any]:
    """As `opened`, to be shown to somebody: of an observation that does not open, `error` says so, and no part is told.

    Nothing is decided on this; what decides takes `opened`, which raises.
    """
    try:
        return opened(keys, row)
    except run_keys.SealBrokenError:
        log.exception("observation %s does not open", row["id"])
    nothing = {name: value for name, value in _NOTHING.items() if name in row}
    return {**row, **nothing, "error": UNOPENED}


def shown_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's or an exception's observations to be shown to somebody, of what the database tells with its `keys`."""
    found = dict(run)
    if (keys := found.pop("keys", None)) is not None:
        found["observations"] = [shown(keys, each) for each in found["observations"]]
    return found


def opened_as_far(run: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """As `opened_run`, without the observations whose seal is broken; and whether there are none of those."""
    found = dict(run)
    keys, observations, whole = found.pop("keys"), [], True
    for each in found["observations"]:
        try:
            observations.append(opened(keys, each))
        except run_keys.SealBrokenError:
            whole = False
    return found | {"observations": observations}, whole


def opened_reads(done: Mapping[str, Any]) -> dict[str, Any]:
    """What the database tells of an action that is to be undone, with what was read `before` and `after` it opened."""
    found = dict(done)
    keys = found.pop("keys")
    return found | {when: found[when] and opened(keys, found[when]) for when in ("before", "after")}


def _bucket(name: str) -> str:
    """The key of a class; a class of a contract of before the classes had names goes with what is confidential."""
    bucket = f"observation:{name}"
    return bucket if bucket in run_keys.BUCKETS else "observation:confidential"


def _sealed(value: Any) -> dict[str, str] | None:
    """The sealed parts, if the value is made of them: what a provider answers is never kept in this form unsealed."""
    if isinstance(value, dict) and set(value) == {"sealed"} and isinstance(value["sealed"], dict):
        return value["sealed"]
    return None


def _leaves(value: Any, way: tuple[str | int, ...] = ()) -> list[tuple[list[str | int], Any]]:
    if isinstance(value, dict) and value:
        return [leaf for name, item in value.items() for leaf in _leaves(item, (*way, name))]
    if isinstance(value, list) and value:
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*way, index))]
    return [(list(way), value)]


def _pattern(way: list[str | int]) -> str:
    """The pattern under which a leaf is labelled: items of lists, and names of digits, are `*`."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in way)
    return "".join("/" + ("*" if step.isdecimal() else step) for step in steps)


def _built(leaves: list[tuple[list[str | int], Any]]) -> Any:
    """The document of these leaves; None without any. Items that have no leaf left are left out."""
    if not leaves:
        return None
    if not leaves[0][0]:
        return leaves[0][1]
    members: dict[str | int, list[tuple[list[str | int], Any]]] = {}
    for way, value in leaves:
        members.setdefault(way[0], []).append((way[1:], value))
    if all(isinstance(step, int) for step in members):
        return [_built(members[step]) for step in sorted(members, key=int)]
    return {str(step): _built(below) for step, below in members.items()}
