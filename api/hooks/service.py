"""Creates, rotates and revokes webhook triggers, and verifies what is delivered to them."""

import base64
import logging
import os
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from api.auth import Principal, system
from api.body import parse
from api.config import settings
from api.connections import vault
from api.db import Answer, Idempotency, Row, database
from api.errors import CHALLENGE, Problem
from api.gate.pointer import resolve
from api.hooks.models import NewWebhookTrigger, WebhookRotation
from api.hooks.rotation import rewrap as rewrap
from api.hooks.rotation import secret_context
from api.hooks.signatures import signer
from api.ids import new_id
from api.pagination import PageRequest
from api.providers.manifest import Webhook, manifest
from api.sql import query

log = logging.getLogger("countersign.hooks")
#: What an unknown address is verified with, so that it is refused after as much work as another.
_DECOY = Webhook(scheme="stripe", event_id="/id", event_type="/type")
#: A key that nobody signs with.
_NOBODYS = "whsec_" + base64.b64encode(os.urandom(32)).decode()
#: Seconds after which a provider may ask again whether its deliveries can be verified.
_ASK_AGAIN = 3600
_LOST = "Deliveries cannot be verified: the secret of this address is lost. Deliver again when it is renewed."
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


async def create(principal: Principal, body: NewWebhookTrigger, once: Idempotency) -> Answer:
    """Creates a trigger: a person, at aal2. Problem 422 for a provider without webhooks, 409 when there is one."""
    stored = await database().stored(principal, "webhooks.manage", once)
    if stored is not None:
        return _shown(stored, None)
    trigger_id = new_id()
    secret, own = _secret(_of(body.provider), body.secret)
    args = {"id": trigger_id, "workflow": body.workflow, "provider": body.provider}
    args["envelope"] = await _sealed(principal, trigger_id, 1, secret)
    return _shown(await database().call(principal, "create_webhook_trigger_v1", args, once), own)


async def rotate(principal: Principal, trigger_id: UUID, body: WebhookRotation, once: Idempotency) -> Answer:
    """Takes a new secret; the one before stays good for a while. Problem 404, and 409 when the trigger is revoked."""
    stored = await database().stored(principal, "webhooks.manage", once)
    if stored is not None:
        return _shown(stored, None)
    found = await get(principal, trigger_id)
    generation = found["secret_generation"] + 1
    secret, own = _secret(_of(found["provider"]), body.secret)
    args = {"id": trigger_id, "generation": generation, "overlap_hours": body.overlap_hours}
    args["envelope"] = await _sealed(principal, trigger_id, generation, secret)
    return _shown(await database().call(principal, "rotate_webhook_secret_v1", args, once), own)


async def revoke(principal: Principal, trigger_id: UUID, once: Idempotency) -> Answer:
    """Ends a trigger at once, and destroys its secrets."""
    return _shown(await database().call(principal, "revoke_webhook_trigger_v1", {"id": trigger_id}, once), None)


async def list_all(principal: Principal, page: PageRequest) -> Row:
    """Every trigger that the caller may see, newest first, the revoked ones too."""
    return page.page(await _rows(principal, page.key() | {"id": None}), "created_at", "id")


async def get(principal: Principal, trigger_id: UUID) -> Row:
    """One trigger; Problem 404 when this tenant has none of this id."""
    rows = await _rows(principal, {"id": trigger_id, "after_at": None, "after_id": None, "limit": 1})
    if not rows:
        raise Problem(404, "not_found", "There is no such webhook trigger.")
    return rows[0]


async def receive(trigger_id: UUID, headers: Mapping[str, str], body: bytes) -> Row:
    """Verifies a delivery and queues the run of its event: {outcome}.

    Raises Problem 404 for an address that is none, 401 for a signature that is none of its secrets', 400 and 422 for a
    signed body that is no event, and 503 `secret_lost` where it cannot be verified, because the secret in force is
    gone or does not open; whoever answers for the workflow is told. Nothing that is not signed is recorded, and of
    what is only its id, type and subject.
    """
    found: Row | None = await database().claim("claim_webhook_v1", trigger_id)
    described = manifest(found["provider"]) if found else None
    webhook = (described.webhook if described else None) or _DECOY
    secrets = _opened(found, trigger_id) if found else {}
    generation = signer(webhook, headers, body, secrets.items() or {0: _NOBODYS}.items()) or None
    if found is None or webhook is _DECOY:
        raise Problem(404, "not_found", "There is no such address.")
    by = system(found["tenant_id"], "receive_webhook")
    lost = found["generation"] not in secrets
    if lost:
        log.error("the secret of webhook trigger %s is lost", trigger_id)
        told = {"trigger_id": trigger_id, "generation": found["generation"]}
        await database().call(by, "note_lost_webhook_secret_v1", told)
    if generation is None and lost:
        raise Problem(503, "secret_lost", _LOST, headers={"Retry-After": str(_ASK_AGAIN)})
    if generation is None:
        log.warning("a delivery to webhook trigger %s is not signed with its secret", trigger_id)
        detail = "The signature is not right for this address, or too old."
        raise Problem(401, "invalid_signature", detail, headers=CHALLENGE)
    args = {"id": new_id(), "trigger_id": trigger_id, "generation": generation, **_event(webhook, headers, body)}
    result: Row = (await database().call(by, "accept_webhook_v1", args)).result
    return result


def _event(webhook: Webhook, headers: Mapping[str, str], body: bytes) -> Row:
    """The id, type and subject of an event, and nothing else of it. Raises Problem 400 and 422."""
    document = parse(body)
    event_id = _text(document, webhook.event_id, _ID) if webhook.event_id else headers["webhook-id"]
    event_type = _text(document, webhook.event_type, _WORD)
    if event_id is None or event_type is None:
        raise Problem(422, "invalid_event", "The body does not name its event's id and type where the provider does.")
    subject_id = _text(document, webhook.subject.id, _WORD) if webhook.subject else None
    subject = {"type": webhook.subject.type, "id": subject_id} if webhook.subject and subject_id else None
    return {"event_id": event_id, "event_type": event_type, "subject": subject}


def _text(document: Any, pointer: str, pattern: re.Pattern[str]) -> str | None:
    value = next((value for _, value in resolve(document, pointer)), None)
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _of(provider: str) -> Webhook:
    described = manifest(provider)
    if described is None or described.webhook is None:
        raise Problem(422, "no_webhooks", "This provider's manifest describes no webhooks; name one whose does.")
    return described.webhook


def _secret(webhook: Webhook, given: SecretStr | None) -> tuple[str, str | None]:
    """The secret to seal, and the same to show if it was made here. Raises Problem 422 for one that is no key."""
    if given is None:
        made = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        return made, made
    secret = given.get_secret_value()
    if webhook.scheme == "standard-webhooks":
        try:
            long_enough = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) >= 24
        except ValueError:
            long_enough = False
        if not long_enough:
            raise Problem(
                422, "invalid_secret", "A secret of Standard Webhooks is whsec_ and 24 bytes or more in base64."
            )
    return secret, None


async def _sealed(principal: Principal, trigger_id: object, generation: int, secret: str) -> str:
    async with database().tenant_transaction(principal, "webhooks.manage") as connection:
        row = await (await connection.execute(query("hooks/tenant"))).fetchone()
    return vault.seal({"secret": secret}, secret_context((row or {})["id"], trigger_id, generation))


def _opened(found: Row, trigger_id: UUID) -> dict[int, str]:
    """The secrets of an address that open, by generation."""
    opened: dict[int, str] = {}
    for kept in found["secrets"]:
        bound = secret_context(found["tenant_id"], trigger_id, kept["generation"])
        try:
            opened[kept["generation"]] = str(vault.unseal(kept["envelope"], bound)["secret"])
        except (vault.SealError, KeyError):
            log.warning("secret %s of webhook trigger %s does not open", kept["generation"], trigger_id)
    return opened


def _shown(answer: Answer, secret: str | None) -> Answer:
    """With its address; and its secret, unless this is a repeated answer."""
    more = {"url": _url(answer.result["id"]), "secret": None if answer.replayed else secret}
    return Answer(answer.result | more, answer.replayed)


def _url(trigger_id: object) -> str:
    return f"{settings().public_url}/hooks/{trigger_id}"


async def _rows(principal: Principal, parameters: Row) -> list[Row]:
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        rows = await (await connection.execute(query("hooks/list_triggers"), parameters)).fetchall()
    return [row | {"url": _url(row["id"])} for row in rows]
