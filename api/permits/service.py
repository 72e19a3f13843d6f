"""Permits: the tenant's own client executes what was authorized, once, and says what came of it."""

import json
from hashlib import sha256
from typing import Any
from uuid import UUID

from api.auth import Principal
from api.config import settings
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.gate.models import Contract
from api.ids import new_id
from api.permits import signing
from api.permits.models import NewOutcome
from api.runs.minimise import trusted
from api.sql import query

#: Of a result, this many bytes are kept with the attempt; beyond it only the digest.
MAX_KEPT = 8_000
REACHED = {"succeeded": "yes", "failed": "no", "unknown": "maybe"}


async def issue(principal: Principal, action_id: UUID, once: Idempotency) -> Answer:
    """A permit for an authorized action of an external tool.

    The same request again gets the same permit. Raises Problem 409 when one was issued to another request, while a
    kill switch covers the action, when the authorization has ended, and when the run is erased; 503 when there are no
    keys to sign with.
    """
    import rfc8785

    signing.keys()  # before anything is claimed that could not be handed out
    args = {"action_id": action_id, "attempt_id": new_id(), "permit_seconds": settings().permit_seconds}
    answer = await database().call(principal, "claim_permit_v1", args, once)
    claimed = answer.result
    if not claimed["claimed"]:
        reason = claimed["reason"]
        raise Problem(409, "authorization_ended", f"The action is {claimed['status']}: {reason}. Propose it again.")
    if claimed["args"] is None:
        raise Problem(409, "run_erased", "What this permit was for is erased; it is not given out again.")
    digest = "sha256:" + sha256(rfc8785.dumps(claimed["args"])).hexdigest()
    shown = {name: value for name, value in claimed.items() if name not in ("claimed", "attempt_id", "tenant_id")}
    permit = {"permit": signing.sign(claimed, digest), "id": claimed["attempt_id"], "args_digest": digest}
    return Answer(shown | permit, answer.replayed)


async def report(principal: Principal, action_id: UUID, body: NewOutcome, once: Idempotency) -> Answer:
    """What came of a permit, reported once by who may execute the action.

    Raises Problem 422 for what is no permit of ours, or another action's; 404 for another tenant's; 403 for another
    account's; 409 when it was reported before.
    """
    claims = signing.verified(body.permit)
    if claims["sub"] != str(action_id):
        raise Problem(422, "invalid_permit", "The permit is for another action.")
    args = {
        "action_id": action_id,
        "attempt_id": claims["jti"],
        "digest": claims["digest"],
        "outcome": body.outcome,
        "error": body.error,
        **await _kept(principal, claims, body),
    }
    return await database().call(principal, "report_outcome_v1", args, once)


async def _kept(principal: Principal, claims: dict[str, Any], body: NewOutcome) -> dict[str, Any]:
    """Of a result what the contract labels trusted, bounded, and the digest of all of it."""
    kept = None
    if body.result is not None:
        parameters = {"tool": claims["tool"], "version": claims["contract_version"]}
        async with database().tenant_transaction(principal, "actions.propose") as connection:
            row = await (await connection.execute(query("permits/contract_of_permit"), parameters)).fetchone()
        if row is not None:
            kept = trusted(Contract.model_validate(row["contract"]), body.result)
    if len(json.dumps(kept)) > MAX_KEPT:
        kept = None
    text = json.dumps(body.result, sort_keys=True)
    return {
        "response": {"status": None, "reached": REACHED[body.outcome], "body": kept},
        "response_digest": f"sha256:{sha256(text.encode()).hexdigest()}" if body.result is not None else None,
    }


def key_set() -> dict[str, Any]:
    """The public keys that verify permits; Problem 503 when there are none."""
    return signing.key_set()


def sign(text: str) -> tuple[str, str] | None:
    """The id of the key that signs now, and its signature (Ed25519, base64url) over a text; None without keys.

    A text is never a permit: those are compact JWS, which begin with a header.
    """
    return signing.sign_statement(text)


def signed(text: str, key_id: str, signature: str) -> bool | None:
    """Whether the key of this id signed the text; None when this deployment has (or has kept) no such key."""
    return signing.signed_statement(text, key_id, signature)
