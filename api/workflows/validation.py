"""What keeps an access spec from holding together, each with its place in the spec."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.gate.data_classes import NAMES
from api.gate.models import AccessSpec, Contract, ToolGrant, unseen
from api.gate.pointer import escape
from api.runs.loop.drafting import mistakes as loop_mistakes
from api.workflows.data_classes import undeclared

Mistake = dict[str, Any]


def mistakes(spec: AccessSpec, contracts: Mapping[str, Contract]) -> list[Mistake]:
    """Every contradiction between a spec and the contracts of the tools that it names, as {pointer, message}.

    A field that an answer may not have is none: what is not there is not kept.
    """
    return [
        *(
            mistake
            for name, grant in spec.tools.items()
            for mistake in _of_tool(spec, name, grant, contracts.get(name))
        ),
        *_of_words(spec),
        *_of_names(spec, contracts),
        *_of_classes(spec),
        *_of_retention(spec),
        *(_mistake(at, message) for at, message in loop_mistakes(spec, contracts)),
    ]


def warnings(spec: AccessSpec, contracts: Mapping[str, Contract]) -> list[Mistake]:
    """What is allowed and a reviewer should know, as {pointer, message}: reads around writes that are not granted.

    Without them nothing is compared before a write, nor found out, kept or undone after it.
    """
    found: list[Mistake] = []
    for name, grant in spec.tools.items():
        contract = contracts.get(name)
        if grant.access == "write" and contract is not None:
            for reader, lost in _reads_of(contract).items():
                granted = spec.tools.get(reader)
                if granted is None or granted.access != "read":
                    message = f"{name} reads with {reader}, which is not granted: {' '.join(lost)}"
                    found.append(_mistake(f"/tools/{escape(name)}", message))
    return found


def _reads_of(contract: Contract) -> dict[str, list[str]]:
    """By tool that is read with around a write, what is lost without it."""
    wanted = [
        *((premise.tool, "What has moved since a decision goes unseen.") for premise in contract.rests_on),
        *([(contract.state.tool, "What it changed is not kept, nor undone.")] if contract.state else []),
    ]
    if contract.read_back is not None:
        wanted.append((contract.read_back.tool, "Whether it was done is for a person to find out."))
    reads: dict[str, list[str]] = {}
    for tool, lost in wanted:
        reads.setdefault(tool, []).append(lost)
    return reads


def _mistake(pointer: str, message: str) -> Mistake:
    return {"pointer": f"/spec{pointer}", "message": message}


def _of_tool(spec: AccessSpec, name: str, grant: ToolGrant, contract: Contract | None) -> Iterator[Mistake]:
    at = f"/tools/{escape(name)}"
    if contract is None:
        yield _mistake(at, "There is no such tool.")
        return
    if contract.access != grant.access:
        yield _mistake(f"{at}/access", f"The tool is for {contract.access}.")
    elif contract.execution.mode != "external" and (
        getattr(spec.connections.get(contract.provider), grant.access, None) is None
    ):
        yield _mistake(f"/connections/{contract.provider}", f"{name} needs a {grant.access} connection.")
    elif grant.access == "read":
        yield from _of_fields(spec, at, grant, contract)
    for number, data_class in enumerate(grant.data_classes):
        if grant.access == "read":
            yield _mistake(f"{at}/data_classes/{number}", "A tool that reads is sent nothing; leave this out.")
        elif data_class not in spec.data_classes:
            message = f"What is {data_class} may be sent only if the workflow may hold it: add it to data_classes."
            yield _mistake(f"{at}/data_classes/{number}", message)
    if grant.access == "write" and grant.asserted != "untrusted":
        yield _mistake(f"{at}/asserted", "A tool that writes is not read with; leave this out.")


def _of_fields(spec: AccessSpec, at: str, grant: ToolGrant, contract: Contract) -> Iterator[Mistake]:
    for number, field in enumerate(grant.read_fields):
        place = f"{at}/read_fields/{number}"
        if not field.replace("/*", ""):
            yield _mistake(place, "This would keep everything that the tool answers; name the fields that are needed.")
            continue
        for data_class in undeclared(spec, contract, field):
            yield _mistake(
                place, f"{field} holds {data_class} data; add {data_class} to data_classes, or leave it out."
            )


def _of_words(spec: AccessSpec) -> Iterator[Mistake]:
    """What a reviewer reads is what is written there."""
    for name, lines in (("purpose", True), ("owner", False), ("escalation_contact", False)):
        if why := unseen(getattr(spec, name), lines=lines):
            yield _mistake(f"/{name}", f"This is not what it looks like: {why}.")


def _of_names(spec: AccessSpec, contracts: Mapping[str, Contract]) -> Iterator[Mistake]:
    """A class that is none protects nothing: it is one of ours, or one that a contract in use labels with."""
    known = NAMES.union(*(contract.output.data_classes.values() for contract in contracts.values()))
    for number, data_class in enumerate(spec.data_classes):
        if data_class not in known:
            there_are = ", ".join(sorted(known))
            yield _mistake(f"/data_classes/{number}", f"There is no class {data_class}; there are {there_are}.")


def _of_classes(spec: AccessSpec) -> Iterator[Mistake]:
    for data_class in spec.retention:
        if data_class not in spec.data_classes:
            yield _mistake(f"/retention/{data_class}", f"The workflow may not hold {data_class} data at all.")


def _of_retention(spec: AccessSpec) -> Iterator[Mistake]:
    """What an approver goes by must not be erased while the approval may still come."""
    kept = {"/retention_days": spec.retention_days}
    kept |= {f"/retention/{data_class}": days for data_class, days in spec.retention.items()}
    for place, days in kept.items():
        if days * 24 < spec.approval_hours:
            wait = f"an approval may take {spec.approval_hours} hours (approval_hours)"
            yield _mistake(place, f"What was read is erased after {days * 24} hours, while {wait}; keep it as long.")
