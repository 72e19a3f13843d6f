"""Keeps of an answer only what the access spec names, and labels each part that is kept."""

from collections.abc import Callable, Collection
from typing import Any

from api.gate.detectors import KINDS, MASKS, Found, Kind, detect
from api.gate.detectors import masked as without
from api.gate.models import Contract
from api.gate.pointer import covers, escape, leaves


def minimise(document: Any, fields: list[str]) -> Any:
    """The document with only the parts at or below the given pointers (`*` matches any item); None when none is left.

    Items of a list keep their order; an item of which nothing is kept is left out.
    """
    return _kept(document, lambda at, _: any(covers(field, at) for field in fields))


def trusted(contract: Contract, document: Any) -> Any:
    """The document with only the leaves that the contract labels `trusted`; None when none is left. As `minimise`."""
    trust = _trust(contract)
    return _kept(document, lambda at, value: not (isinstance(value, dict | list) and value) and _is_trusted(trust, at))


def _is_trusted(trust: dict[str, str], pointer: str) -> bool:
    return _most_specific(trust, pointer) == "trusted"


def _trust(contract: Contract) -> dict[str, str]:
    return {str(k): str(v) for k, v in contract.output.trust.items()}


def _kept(document: Any, wanted: Callable[[str, Any], bool]) -> Any:
    kept, value = _keep(document, "", wanted)
    return value if kept else None


def _keep(value: Any, at: str, wanted: Callable[[str, Any], bool]) -> tuple[bool, Any]:
    if wanted(at, value):
        return True, value
    if isinstance(value, dict):
        members = {name: _keep(item, f"{at}/{escape(name)}", wanted) for name, item in value.items()}
        kept = {name: item for name, (keep, item) in members.items() if keep}
        return bool(kept), kept
    if isinstance(value, list):
        items = [_keep(item, f"{at}/{index}", wanted) for index, item in enumerate(value)]
        kept_items = [item for keep, item in items if keep]
        return bool(kept_items), kept_items
    return False, None


def _most_specific(patterns: dict[str, str], pointer: str) -> str | None:
    matching = [pattern for pattern in patterns if covers(pattern, pointer)]
    return patterns[max(matching, key=lambda p: p.count("/"))] if matching else None


def label(contract: Contract, result: Any, *, asserted: bool = False) -> dict[str, dict[str, str]]:
    """By pattern of pointer (list indexes become `*`): trust, and the data class where the contract names one.

    Trust comes from the contract alone; what it does not name is untrusted. So is everything that is `asserted`: read
    by a client that its workflow does not take at its word. The contract speaks of what the tool answers, and nobody
    saw it answer this.
    """
    labels: dict[str, dict[str, str]] = {}
    trust = {} if asserted else _trust(contract)
    for pointer, _ in leaves(result):
        pattern = "/".join("*" if part.isdecimal() else part for part in pointer.split("/"))
        if pattern in labels:
            continue
        labels[pattern] = {"trust": _most_specific(trust, pointer) or "untrusted"}
        data_class = _most_specific(contract.output.data_classes, pointer)
        if data_class:
            labels[pattern]["data_class"] = data_class
    return labels


#: How sure a detector has to be for a value to be taken out of a text: what is gone is not there for anybody.
SURE = 0.8
#: The least number of 13 digits: none of fewer is a card's.
_OF_A_CARD = 10**12
_KINDS = tuple(kind for kind in KINDS if kind != "url")
Labels = dict[str, dict[str, str]]


def masked(document: Any, labels: Labels, declared: Collection[str]) -> tuple[Any, Labels]:
    """What is kept, without values in its texts of classes that the workflow does not declare, and labels that say so.

    A card number in a memo becomes `[CARD]` where the workflow holds no financial data; its label has `masked`: what
    was taken out, as `CARD, E-MAIL`. Credentials are always taken out. A field that the contract labels with a class of
    its own is what the reviewer let in, and stays as it is but for credentials.
    """
    notes: dict[str, set[str]] = {}

    def mask(value: Any, at: str) -> Any:
        if isinstance(value, dict):
            return {name: mask(item, f"{at}/{escape(name)}") for name, item in value.items()}
        if isinstance(value, list):
            return [mask(item, f"{at}/{index}") for index, item in enumerate(value)]
        text = str(value) if isinstance(value, int) and value >= _OF_A_CARD else value
        if not isinstance(text, str) or len(text) < 4:
            return value
        pattern = "/".join("*" if part.isdecimal() else part for part in at.split("/"))
        let_in = labels.get(pattern, {}).get("data_class", "internal") not in ("internal", "public")
        kinds: tuple[Kind, ...] = ("credential",) if let_in else _KINDS
        found = [f for f in detect(text, at, kinds) if f.kind == "credential" or _undeclared(f, declared)]
        if found:
            notes.setdefault(pattern, set()).update(MASKS[f.kind].strip("[]") for f in found)
        return without(text, found) if found else value

    kept = mask(document, "")
    for pattern, what in notes.items():
        labels = labels | {pattern: labels.get(pattern, {}) | {"masked": ", ".join(sorted(what))}}
    return kept, labels


def _undeclared(found: Found, declared: Collection[str]) -> bool:
    return found.confidence >= SURE and found.data_class not in declared
