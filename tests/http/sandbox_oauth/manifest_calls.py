"""Calls a provider's tools as its manifest says, to see whether the manifest tells the truth."""

from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs

from api.gate.models import Contract
from api.gate.pointer import resolve
from api.providers import template
from api.providers.manifest import FOLDER, Manifest, load
from api.providers.template import Filling

Example = tuple[str, dict[str, Any]]


def manifest(name: str) -> Manifest:
    return load(Path(FOLDER) / f"{name}.toml")


def call(api: httpx.Client, contract: Contract, args: dict[str, Any], key: str) -> httpx.Response:
    """One call with arguments that fit the contract's schema."""
    jsonschema_rs.validate(contract.input_schema, args)
    how, rest, path = contract.execution, dict(args), contract.execution.path
    for name in args:
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", str(rest.pop(name)))
    headers = {how.idempotency_header: key} if how.idempotency_header else {}
    if how.template is not None:
        rest = template.document(how.template, Filling.of(contract, args, {}, key))
    if how.body == "json":
        return api.request(how.method, path, json=rest, headers=headers)
    return api.request(how.method, path, params=rest, headers=headers)


def check_tools(read: httpx.Client, write: httpx.Client, provider: Manifest, examples: list[Example]) -> None:
    """Every tool of the manifest, in the order of `examples`, with a read and a write connection's token."""
    contracts = {contract.name: contract for contract in provider.contracts()}
    assert {name for name, _ in examples} == {tool.name for tool in provider.tools}, "an example for each tool"
    for name, args in examples:
        contract = contracts[f"{provider.name}.{name}"]
        assert set(contract.arguments) == {f"/{argument}" for argument in contract.input_schema["properties"]}
        if contract.access == "write":
            assert call(read, contract, args, name).status_code == 403, f"{name} needs a write scope"
            assert not _found(read, contract, contracts, args, name), f"{name} has not happened yet"
        answer = call(write if contract.access == "write" else read, contract, args, name)
        assert answer.is_success, f"{name}: {answer.text}"
        for pointer in (*contract.output.trust, *contract.output.data_classes):
            assert list(resolve(answer.json(), pointer)), f"{name}: nothing is at {pointer}"
        if contract.access == "write":
            if contract.read_back is not None:
                assert _found(read, contract, contracts, args, name), f"{name} can be read back"
            again = call(write, contract, args, name)
            assert again.is_success
            assert (again.json() == answer.json()) is (contract.idempotency != "none"), name


def _found(
    read: httpx.Client, contract: Contract, contracts: dict[str, Contract], args: dict[str, Any], key: str
) -> bool:
    back = contract.read_back
    if back is None:
        return False
    values = {f"{{{name}}}": value for name, value in args.items()} | {"{idempotency_key}": key}
    asked = {name: values[template] for name, template in back.args.items()}
    answer = call(read, contracts[back.tool], asked, key)
    assert answer.is_success, answer.text
    return bool(list(resolve(answer.json(), back.found)))
