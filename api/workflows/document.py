"""The document that a reviewer reads: what an access spec permits, and what follows from it.

Pure: made of the spec, the contracts of its tools and the connections that it names.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from api.gate.models import HARD_GATES, AccessSpec, Approvals, Contract, ToolGrant
from api.gate.money import format_amount
from api.providers.manifest import Manifest
from api.runs.loop.drafting import described as described_loop
from api.workflows.data_classes import classes_of, sent_by, trust_of
from api.workflows.diff_safeguards import described
from api.workflows.validation import warnings

Document = dict[str, Any]

_EFFECTS = {
    "money_movement": "moves money", "mass_outbound": "writes to many people at once", "destructive": "deletes",
    "bulk": "changes many records at once", "pricing": "changes prices", "legal": "binds us legally",
    "employment": "concerns somebody's employment", "regulated": "is regulated",
    "permission_change": "changes who may do what", "credential_change": "changes credentials",
}  # fmt: skip


def document(
    row: Mapping[str, Any],
    contracts: Mapping[str, Contract],
    providers: Mapping[str, Manifest],
    connections: Mapping[str, Mapping[str, Any]],
) -> Document:
    """What a version of a workflow (`row`: the version as the database has it) can read, write, decide and keep."""
    spec = AccessSpec.model_validate(row["spec"])
    reads = [_read(name, grant, contracts.get(name)) for name, grant in spec.tools.items() if grant.access == "read"]
    writes = [
        _write(spec, name, grant, contracts.get(name)) for name, grant in spec.tools.items() if grant.access == "write"
    ]
    return {
        **{name: row[name] for name in ("slug", "title", "version", "status", "environment", "digest", "spec")},
        **{name: row[name] for name in ("live_version", "author_name", "approver_name", "reason")},
        "purpose": spec.purpose,
        "owner": spec.owner,
        "escalation_contact": spec.escalation_contact,
        "stage": spec.stage,
        "reads": reads,
        "writes": writes,
        "connections": list(_connections(spec, providers, connections)),
        "limits": {
            "confidence_min": spec.confidence_min,
            "approval_hours": spec.approval_hours,
            "values": _amounts(spec.value_max),
            "approvals": _people(spec.approvals),
            "windows": [described(limit) for limit in spec.limits],
            "risk": spec.risk.model_dump(),
            "counterparty_approvals": spec.counterparty_approvals,
            "insiders": spec.insiders,
        },
        "data_classes": spec.data_classes,
        "pseudonyms": sorted(spec.hidden),
        "drive": described_loop(spec.loop) if spec.loop else [],
        "retention": {"days": spec.retention_days, "by_class": spec.retention},
        "warnings": warnings(spec, contracts),
        "can_read": [_reading(read) for read in reads],
        "can_write": [write["tool"] for write in writes],
        "decides_alone": [write["tool"] for write in writes if not write["waits_because"]],
        "always_waits": [write["tool"] for write in writes if write["waits_because"]],
    }


def _reading(read: Document) -> str:
    kept = ", ".join(field["pointer"] for field in read["fields"])
    return f"{read['tool']}: {kept or 'nothing is kept'}"


def _tool(name: str, grant: ToolGrant, contract: Contract | None) -> Document:
    return {
        "tool": name,
        "title": contract.title if contract else "A tool that is not in force any more",
        "provider": contract.provider if contract else name.partition(".")[0],
        # Of a provider's tool the contract was published by whoever runs this; of these the tenant says it itself.
        "declared": contract is not None and contract.execution.mode == "external",
        "effect": contract.effect if contract else None,
        "arguments": grant.arguments,
        "records": grant.records,
    }


def _read(name: str, grant: ToolGrant, contract: Contract | None) -> Document:
    return _tool(name, grant, contract) | {
        "fields": [
            {
                "pointer": field,
                "data_classes": sorted(classes_of(contract, field)) if contract else [],
                "trust": trust_of(contract, field) if contract else "untrusted",
            }
            for field in grant.read_fields
        ],
        "asserted": grant.asserted,
    }


def _write(spec: AccessSpec, name: str, grant: ToolGrant, contract: Contract | None) -> Document:
    moves_money = contract is not None and contract.effect == "money_movement"
    return _tool(name, grant, contract) | {
        "reversible": bool(contract and contract.reversible),
        "idempotency": contract.idempotency if contract else None,
        "sends": grant.data_classes,
        "carries": sorted(sent_by(contract)) if contract else [],
        "waits_because": list(_waits(spec, contract)),
        "confidence_min": spec.confidence_min if grant.confidence_min is None else grant.confidence_min,
        "values": _amounts(spec.value_max | grant.value_max) if _has_amount(contract) else [],
        "approvals": _people(grant.approvals or spec.approvals, moves_money=moves_money),
        "outbound": grant.outbound.model_dump(mode="json") if grant.outbound else None,
    }


def _waits(spec: AccessSpec, contract: Contract | None) -> Iterator[str]:
    """Why a tool always waits for a person; nothing for one that the workflow decides alone."""
    if contract is None:
        yield "Its contract is not in force, so nothing happens at all."
        return
    if contract.effect in HARD_GATES:
        yield f"It {_EFFECTS.get(contract.effect, contract.effect)}. No rule and no setting lifts this."
    if spec.stage == "shadow":
        yield "The workflow is in shadow: proposals are recorded and nothing is done."
    elif spec.stage == "supervised":
        yield "The workflow is supervised: a person approves every side effect."


def _has_amount(contract: Contract | None) -> bool:
    return contract is not None and any(argument.role == "amount" for argument in contract.arguments.values())


def _amounts(ceilings: Mapping[str, int]) -> list[Document]:
    return [
        {"currency": currency, "amount": amount, "text": format_amount(amount, currency)}
        for currency, amount in sorted(ceilings.items())
    ]


def _people(approvals: Approvals, *, moves_money: bool = False) -> Document:
    aal = "aal2" if moves_money else approvals.aal
    number = "One person" if approvals.count == 1 else f"{approvals.count} different people"
    roles = " or ".join(approvals.roles)
    factor = ", with a second factor" if aal == "aal2" else ""
    return {
        "count": approvals.count,
        "roles": list(approvals.roles),
        "aal": aal,
        "text": f"{number} (role {roles}){factor}",
    }


def _connections(
    spec: AccessSpec, providers: Mapping[str, Manifest], connections: Mapping[str, Mapping[str, Any]]
) -> Iterator[Document]:
    for provider, binding in spec.connections.items():
        manifest = providers.get(provider)
        for access in ("read", "write"):
            connection_id = getattr(binding, access)
            if connection_id is None:
                continue
            row = connections.get(str(connection_id), {})
            yield {
                "id": str(connection_id),
                "provider": provider,
                "title": manifest.title if manifest else provider,
                "access": access,
                "account": (row.get("account") or {}).get("label"),
                "environment": row.get("environment"),
                "status": row.get("status", "missing"),
                # What keeps a connection that reads from writing: the provider's own scopes, or the gateway alone.
                "read_only_by": _enforcer(manifest) if access == "read" else None,
            }


def _enforcer(manifest: Manifest | None) -> str | None:
    enforced: str | None = getattr(manifest.oauth.scopes, "read_enforced_by", "gateway") if manifest else None
    return enforced
