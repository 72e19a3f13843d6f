"""Control 7: only named tools, only with arguments that their contract knows."""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs

from api.gate.arguments import MAX_SIZE, size
from api.gate.case import Case
from api.gate.models import Contract, Finding, Outcome
from api.gate.pointer import covers, escape, leaves

_SHOWN = 20  # one mistake repeated in a thousand items is still one to correct


@lru_cache(maxsize=512)
def _validator(name: str, version: int, schema: str) -> Any:
    # The schema's text is in the key, so that another tenant's tool of the same name cannot borrow it.
    # Offline, because a reference to another document would have the gate read files and call addresses.
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, offline=True)


def validator(contract: Contract) -> Any:
    """The compiled JSON Schema (2020-12) of a contract's arguments."""
    return _validator(contract.name, contract.version, json.dumps(contract.input_schema, sort_keys=True))


def _deny(message: str, pointer: str | None = None) -> Finding:
    return Finding(check="contract", outcome=Outcome.DENY, control=7, message=message, pointer=pointer)


def violations(contract: Contract, args: dict[str, Any]) -> Iterator[Finding]:
    """One finding that denies for each way in which arguments do not fit the contract, of a read or of a write."""
    if size(args) > MAX_SIZE:
        yield _deny(f"The arguments are larger than {MAX_SIZE:,} characters.", "/args")
        return
    for _, error in zip(range(_SHOWN), validator(contract).iter_errors(args), strict=False):
        yield _deny(error.message[:500], "/args" + "".join(f"/{escape(str(part))}" for part in error.instance_path))
    if contract.execution.mode == "external":
        yield from islice(_without_role(contract, args), _SHOWN)


def _without_role(contract: Contract, args: dict[str, Any]) -> Iterator[Finding]:
    """A tenant's own tool is given nothing that its contract gives no role: no check would look at it."""
    for pointer, value in leaves(args):
        if value not in (None, [], {}) and not any(covers(pattern, pointer) for pattern in contract.arguments):
            yield _deny("The contract gives this argument no role, so nobody would check it.", f"/args{pointer}")


def check(case: Case) -> Iterator[Finding]:
    """Denies an unknown tool, a read tool, and arguments that are too large or that the contract's schema refuses."""
    proposal, facts = case.proposal, case.facts
    contract = facts.contracts.get(proposal.tool)
    if contract is None:
        if proposal.tool in facts.known_tools:
            yield Finding(
                check="contract",
                outcome=Outcome.ALLOW,
                control=7,
                message="The tool exists; its arguments are not looked at outside of its workflow.",
            )
        else:
            yield _deny(f"There is no tool named {proposal.tool[:120]!r}.", "/tool")
        return
    if contract.access == "read":
        yield _deny("This tool reads; use it with POST /v1/runs/{id}/observations.", "/tool")
        return
    errors = list(violations(contract, proposal.args))
    yield from errors
    if not errors:
        yield Finding(
            check="contract",
            outcome=Outcome.ALLOW,
            control=7,
            message=f"The arguments fit version {contract.version} of the contract.",
        )
