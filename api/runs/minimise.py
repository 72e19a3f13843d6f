"""Keeps of an answer only what the access spec names, and labels each part that is kept."""

from typing import Any

from api.gate.models import Contract
from api.gate.pointer import covers, leaves


def minimise(document: Any, fields: list[str]) -> Any:
    """The document with only the parts at or below the given pointers (`*` matches any item); None when none is left.

    Items of a list keep their order; an item of which nothing is kept is left out.
    """
    kept, value = _keep(document, "", fields)
    return value if kept else None


def _keep(value: Any, at: str, fields: list[str]) -> tuple[bool, Any]:
    if any(covers(field, at) for field in fields):
        return True, value
    if isinstance(value, dict):
        members = {
            name: _keep(item, f"{at}/{name.replace('~', '~0').replace('/', '~1')}", fields)
            for name, item in value.items()
        }
        kept = {name: item for name, (keep, item) in members.items() if keep}
        return bool(kept), kept
    if isinstance(value, list):
        items = [_keep(item, f"{at}/{index}", fields) for index, item in enumerate(value)]
        kept_items = [item for keep, item in items if keep]
        return bool(kept_items), kept_items
    return False, None


def _most_specific(patterns: dict[str, str], pointer: str) -> str | None:
    matching = [pattern for pattern in patterns if covers(pattern, pointer)]
    return patterns[max(matching, key=lambda p: p.count("/"))] if matching else None


def label(contract: Contract, result: Any) -> dict[str, dict[str, str]]:
    """By pattern of pointer (list indexes become `*`): trust, and the data class where the contract names one.

    Trust comes from the contract alone; what it does not name is untrusted.
    """
    labels: dict[str, dict[str, str]] = {}
    trust = {str(k): str(v) for k, v in contract.output.trust.items()}
    for pointer, _ in leaves(result):
        pattern = "/".join("*" if part.isdecimal() else part for part in pointer.split("/"))
        if pattern in labels:
            continue
        labels[pattern] = {"trust": _most_specific(trust, pointer) or "untrusted"}
        data_class = _most_specific(contract.output.data_classes, pointer)
        if data_class:
            labels[pattern]["data_class"] = data_class
    return labels
