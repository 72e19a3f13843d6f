"""The tool contracts in force: the providers', and those that a tenant registers of its own tools."""

from collections.abc import Iterable, Mapping
from typing import Any

from api.auth import Principal
from api.db import Answer, Idempotency, Row, database
from api.errors import Problem
from api.gate.models import Contract
from api.ids import new_id
from api.providers.manifest import contracts, manifests
from api.sql import query
from api.tools.input_schema import InputSchema
from api.tools.models import NewTool
from api.tools.validation import mistakes, warnings


async def list_tools(principal: Principal) -> Any:
    return (await database().call(principal, "list_tools_v1", {})).result


async def get_tool(principal: Principal, name: str) -> Any:
    found = (await database().call(principal, "list_tools_v1", {"name": name})).result
    if not found:
        raise Problem(404, "not_found", "There is no such tool.")
    return found[0]


async def contracts_of(principal: Principal, names: Iterable[str]) -> Mapping[str, Contract]:
    """The providers' contracts, and the tenant's own of these names; a provider's comes first."""
    known = contracts()
    others = sorted(set(names) - known.keys())
    if not others:
        return known
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        rows = await (await connection.execute(query("tools/list_own"), {"names": others})).fetchall()
    own = [Contract.model_validate(row["contract"]) for row in rows]
    return {contract.name: contract for contract in own} | known


async def register(principal: Principal, body: NewTool, once: Idempotency) -> Answer:
    """Registers a version of a tenant's own tool; the version in force when that says the same.

    Raises Problem 422 with every mistake; a database error CS403 for whoever is no person that may, CS409 for a name
    that is taken, a hard gate that would be lifted, or a tool that a workflow relies on as it is.
    """
    before = await database().stored(principal, "tools.write", once)
    schema = InputSchema(body.input_schema)
    noted = warnings(body, schema)
    if before is None:
        readers: Row = {}
        if body.read_back is not None:
            readers = {tool["name"]: tool["access"] for tool in await list_tools(principal)}
        errors = mistakes(body, schema, set(manifests()), readers)
        if errors:
            raise Problem(422, "invalid_tool", "The contract does not hold together.", errors)
        args = {"id": new_id(), "contract": _contract_of(body)}
        before = await database().call(principal, "register_tool_v1", args, once)
    return Answer(before.result | {"warnings": noted}, before.replayed)


def _contract_of(body: NewTool) -> Row:
    """The contract as it is stored: without a version, which the database counts."""
    said = body.model_dump(mode="json", exclude={"compensate"}) | {"provider": "tenant", "version": 1}
    return Contract.model_validate(said).model_dump(mode="json", exclude={"version"})
