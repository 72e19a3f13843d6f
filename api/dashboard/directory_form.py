"""An entry of the directory as a form of plain fields, and back: what was typed is what is to be.

Accounts have a place each, and so have postal addresses; of the other details there is one to a line.
"""

import re
from collections.abc import Iterable
from typing import Any

from api.dashboard.forms import Form, filled
from api.directory.models import NewChange
from api.errors import Problem

#: Fields of a bank account, as the API names them.
ACCOUNT = ("iban", "routing_number", "bank_code", "account_number", "bic", "currency", "holder")
#: Details of which there is one to a line: field of the form, type and field of the API.
LINES = {"emails": ("email", "email"), "domains": ("domain", "domain"), "phones": ("phone", "phone")}
#: Places for accounts and addresses that are read from a form at most.
PLACES = 100
_EVIDENCE = 2
_DETAIL = re.compile(r"/entry/details/(\d+)(?:/[a-z_]+)?(?:/([a-z_]+))?")


def of_entry(entry: dict[str, Any] | None) -> dict[str, Any]:
    """What the fields hold for an entry as it is; None for a new one. There is always one empty place more."""
    details = entry["details"] if entry else []
    by_type: dict[str, list[dict[str, Any]]] = {}
    for each in details:
        by_type.setdefault(each["type"], []).append(each)
    values: dict[str, Any] = {"name": entry["name"] if entry else "", "kind": entry["kind"] if entry else "vendor"}
    for name, (kind, key) in LINES.items():
        values[name] = "\n".join(each[key] for each in by_type.get(kind, []))
    values["ids"] = "\n".join(f"{each['system']}: {each['id']}" for each in by_type.get("external_id", []))
    accounts = [{key: each.get(key) or "" for key in ACCOUNT} for each in by_type.get("bank_account", [])]
    values["accounts"] = [*accounts, dict.fromkeys(ACCOUNT, "")]
    values["addresses"] = [*(each["address"] for each in by_type.get("address", [])), ""]
    return values | {"reason": "", "evidence": [("", "")] * _EVIDENCE}


def of_form(form: Form) -> dict[str, Any]:
    """What the fields hold as they were typed."""
    values: dict[str, Any] = {name: form.text(name) for name in ("name", "kind", *LINES, "ids", "reason")}
    values["accounts"] = list(_accounts(form))
    values["addresses"] = [form.text(f"address-{n}") for n in _places(form, "address-")]
    values["evidence"] = [(form.text(f"evidence-kind-{n}"), form.text(f"evidence-{n}")) for n in range(_EVIDENCE)]
    return values


def change_of(form: Form, kind: str, base: dict[str, Any]) -> NewChange:
    """The change that a form proposes. base: what the page knows of it, such as entry and version.

    Raises Problem 422, whose errors name the fields of the form.
    """
    values = of_form(form)
    given: dict[str, Any] = {"kind": kind, "reason": values["reason"], "evidence": evidence_of(form)} | base
    places: list[str] = []
    if kind in ("create", "change"):
        details = list(_details(form, values))
        places = [place for place, _ in details]
        given["entry"] = {"kind": values["kind"], "name": values["name"], "details": [each for _, each in details]}
    try:
        return filled(NewChange, given)
    except Problem as problem:
        raise Problem(problem.status_code, problem.code, str(problem.detail), _placed(problem, places)) from None


def evidence_of(form: Form) -> list[dict[str, str]]:
    """What the maker went by, as it was typed; rows without a reference are left out."""
    rows = [(form.text(f"evidence-kind-{n}"), form.text(f"evidence-{n}")) for n in range(_EVIDENCE)]
    return [{"kind": kind or "other", "reference": reference} for kind, reference in rows if reference]


def _details(form: Form, values: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Each detail with the field that it was typed in."""
    for n, account in enumerate(values["accounts"]):
        told = {key: value for key, value in account.items() if value}
        if told:
            yield f"bank_account/{n}", {"type": "bank_account"} | told
    for name, (kind, key) in LINES.items():
        for line in _lines(values[name]):
            yield name, {"type": kind, key: line}
    for n, address in enumerate(values["addresses"]):
        if address:
            yield f"postal_address/{n}", {"type": "address", "address": address}
    for line in _lines(values["ids"]):
        system, _, name = line.partition(":")
        yield "ids", {"type": "external_id", "system": system.strip(), "id": name.strip()}


def _accounts(form: Form) -> Iterable[dict[str, str]]:
    for n in _places(form, "iban-"):
        yield {key: form.text(f"{key}-{n}") for key in ACCOUNT}


def _places(form: Form, prefix: str) -> list[int]:
    return sorted(int(n) for n in form.starting(prefix) if n.isdecimal() and int(n) < PLACES)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _placed(problem: Problem, places: list[str]) -> list[dict[str, Any]]:
    """The errors with the fields of the form as their pointers: `/bank_account/0/iban` for a detail's."""
    told = []
    for error in problem.errors or []:
        found = _DETAIL.match(error["pointer"])
        pointer = error["pointer"].removeprefix("/entry") or "/name"
        if found and int(found[1]) < len(places):
            place = places[int(found[1])]
            pointer = f"/{place}/{found[2]}" if found[2] and place.startswith("bank_account/") else f"/{place}"
        told.append(error | {"pointer": pointer})
    return told
