"""What is kept of a request that was sent: enough to see what was asked for, and nothing that is anybody's secret."""

import json
from typing import Any

from api.gate.models import Contract
from api.gate.redaction import redacted

#: Bytes of a request that are kept; of a longer one only the names of its arguments are.
MAX_REQUEST = 8_000
#: Roles of arguments whose values are people's words or ways to reach them.
_PERSONAL = frozenset({"recipient", "account", "free_text"})
MASK = "[MASKED]"


def request_of(contract: Contract, args: dict[str, Any]) -> dict[str, Any]:
    """{method, path, args} of a call; the path as the contract writes it. No header is in it, so no credential.

    Values whose argument is a recipient, an account or free text are masked, and what detectors find in the others.
    """
    shown = redacted({name: _masked(contract, f"/{name}", value) for name, value in args.items()})
    kept = {"method": contract.execution.method, "path": contract.execution.path, "args": shown}
    if len(json.dumps(kept, ensure_ascii=False).encode()) > MAX_REQUEST:
        kept["args"] = {name[:100]: MASK for name in list(args)[:50]}
    return kept


def _masked(contract: Contract, pointer: str, value: Any) -> Any:
    argument = contract.arguments.get(pointer)
    if argument is not None and argument.role in _PERSONAL:
        return MASK
    if isinstance(value, dict):
        return {name: _masked(contract, f"{pointer}/{name}", one) for name, one in value.items()}
    if isinstance(value, list):
        return [_masked(contract, f"{pointer}/*", one) for one in value]
    return value
