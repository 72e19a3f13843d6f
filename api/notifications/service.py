"""Makes, proves, changes and ends channels, and shows what they were told."""

import base64
import os
import re
import secrets as random_secrets
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg

from api.auth import Principal
from api.config import settings
from api.connections import vault
from api.db import Answer, Idempotency, Row, database
from api.errors import Problem
from api.ids import new_id
from api.notifications import mail
from api.notifications.delivery import deliver as deliver
from api.notifications.delivery import due as due
from api.notifications.messages import Told
from api.notifications.models import ChannelChange, ChannelRotation, Disabling, NewChannel, Verification
from api.notifications.outgoing import Ended, send
from api.notifications.owners import tell_owners as tell_owners
from api.notifications.owners import unheard as unheard
from api.notifications.rotation import opened, secret_context
from api.notifications.rotation import rewrap as rewrap
from api.pagination import PageRequest
from api.sql import query

MANAGE = "channels.manage"
_SLACK = re.compile(r"https://(hooks\.slack\.com|hooks\.slack-gov\.com)/(services|triggers|workflows)/[A-Za-z0-9/_-]+")
#: As many deliveries as are shown with their channel.
SHOWN = 10


async def create(principal: Principal, body: NewChannel, once: Idempotency) -> Answer:
    """Makes a channel, unverified; a mail address is mailed a code at once.

    Problem 422 for an address that cannot be told, 409 where this deployment cannot mail.
    """
    stored = await database().stored(principal, MANAGE, once)
    if stored is not None:
        return stored
    shown, secret = leads_to(body.kind, body.target.get_secret_value())
    channel_id = new_id()
    args = body.model_dump(mode="json", exclude={"target"}) | {"id": channel_id, "target": shown}
    if secret is not None:
        args["envelope"] = await _sealed(principal, channel_id, 1, secret)
    answer = await database().call(principal, "create_channel_v1", args, once)
    if answer.replayed:
        return answer
    more: Row = {"secret": secret if body.kind == "webhook" else None}
    if body.kind == "email":
        more["mail"] = await _mailed(principal, channel_id)
    return Answer(answer.result | more, replayed=False)


async def change(principal: Principal, channel_id: UUID, body: ChannelChange, if_match: list[str] | None) -> Row:
    """Changes what the body names. Problem 404; 412 when the channel is not what the caller read."""
    args = body.model_dump(mode="json", exclude_unset=True) | {"id": channel_id, "if_match": if_match}
    result: Row = (await database().call(principal, "change_channel_v1", args)).result
    return result


async def verify(principal: Principal, channel_id: UUID, body: Verification, once: Idempotency) -> Answer:
    """Proves a channel: by a mailed code, or by a message that is taken. Without a code a new one is mailed.

    Problem 422 for a wrong code, 409 for one that is over, 429 for too many.
    """
    channel = await get(principal, channel_id)
    if channel["kind"] != "email" or body.code is None:
        return await _checked(principal, channel, once, code=channel["kind"] == "email")
    args = {"id": channel_id, "code_hash": _hash(channel_id, body.code)}
    answer = await database().call(principal, "verify_channel_v1", args, once)
    if not answer.result["verified"]:
        left = answer.result["tries_left"]
        raise Problem(422, "wrong_code", f"That is not the code; {left} tries are left." if left else
            "That is not the code, and it was the last try; have a new one mailed.")  # fmt: skip
    shown = {"verified": True, "sent": None, "error": None, "channel": answer.result["channel"]}
    return Answer(shown, answer.replayed)


async def test(principal: Principal, channel_id: UUID, once: Idempotency) -> Answer:
    """Sends a message that says that it is a test. Problem 409 to a mail address that has not proved itself."""
    return await _checked(principal, await get(principal, channel_id), once, code=False)


async def rotate(principal: Principal, channel_id: UUID, body: ChannelRotation, once: Idempotency) -> Answer:
    """A new secret: of a webhook made here and shown once, of Slack the URL that is given. Problem 404, 409, 422."""
    stored = await database().stored(principal, MANAGE, once)
    if stored is not None:
        return stored
    channel = await get(principal, channel_id)
    if channel["kind"] == "slack":
        secret = leads_to("slack", body.url.get_secret_value() if body.url else "", "/url")[1] or ""
    else:
        secret = _made()
    generation = (channel["secret_generation"] or 1) + 1
    args = {"id": channel_id, "generation": generation, "overlap_hours": body.overlap_hours}
    args["envelope"] = await _sealed(principal, channel_id, generation, secret)
    answer = await database().call(principal, "rotate_channel_v1", args, once)
    shown = secret if channel["kind"] == "webhook" and not answer.replayed else None
    return Answer(answer.result | {"secret": shown}, answer.replayed)


async def disable(principal: Principal, channel_id: UUID, body: Disabling, once: Idempotency) -> Answer:
    """Stops a channel; what it was still to be told is cancelled."""
    return await database().call(principal, "disable_channel_v1", {"id": channel_id, "reason": body.reason}, once)


async def enable(principal: Principal, channel_id: UUID, once: Idempotency) -> Answer:
    """Lets a channel go on."""
    return await database().call(principal, "enable_channel_v1", {"id": channel_id}, once)


async def delete(principal: Principal, channel_id: UUID, once: Idempotency) -> Answer:
    """Ends a channel for good, and destroys its secrets; its record stays."""
    return await database().call(principal, "delete_channel_v1", {"id": channel_id}, once)


async def resend(principal: Principal, channel_id: UUID, delivery_id: UUID, once: Idempotency) -> Answer:
    """Has what was given up sent once more, under the id that it had. Problem 404, 409."""
    args = {"channel_id": channel_id, "id": delivery_id}
    return await database().call(principal, "resend_notification_v1", args, once)


async def list_all(principal: Principal, page: PageRequest, status: str | None) -> Row:
    """Channels, newest first; those of one status, or all that are not deleted."""
    return page.page(await _rows(principal, page.key() | {"id": None, "status": status}), "created_at", "id")


async def get(principal: Principal, channel_id: UUID) -> Row:
    """One channel; Problem 404 when this tenant has none of this id."""
    return _found(await _rows(principal, _ONE | {"id": channel_id}))


async def describe(principal: Principal, channel_id: UUID) -> Row:
    """One channel with its last deliveries; Problem 404."""
    asked = {"channel_id": channel_id, "status": None, "after_at": None, "after_id": None, "limit": SHOWN}
    async with database().tenant_transaction(principal, "channels.read") as connection:
        found = await connection.execute(query("notifications/list_channels"), _ONE | {"id": channel_id})
        channel = _found(await found.fetchall())
        told = await connection.execute(query("notifications/list_deliveries"), asked)
        return channel | {"deliveries": await told.fetchall()}


async def list_deliveries(principal: Principal, channel_id: UUID, page: PageRequest, status: str | None) -> Row:
    """What a channel was told, newest first; of one status if asked for. Problem 404."""
    asked = page.key() | {"channel_id": channel_id, "status": status}
    async with database().tenant_transaction(principal, "channels.read") as connection:
        found = await connection.execute(query("notifications/list_channels"), _ONE | {"id": channel_id})
        _found(await found.fetchall())
        rows = await (await connection.execute(query("notifications/list_deliveries"), asked)).fetchall()
    return page.page(rows, "created_at", "id")


def mails() -> bool:
    """Whether this deployment can mail."""
    return mail.configured()


def leads_to(kind: str, target: str, field: str = "/target") -> tuple[str, str | None]:
    """What is shown of a target, and the secret that belongs to it: of a webhook a new one.

    Raises Problem 422, which points at the field that the client sent it in.
    """
    target = target.strip()
    if kind == "email":
        if not mails():
            raise Problem(
                409, "mail_not_configured",
                "This deployment cannot mail: whoever runs it sets SMTP_URL and MAIL_FROM. Take another kind.",
            )  # fmt: skip
        if not mail.ADDRESS.fullmatch(target) or len(target) > 254:
            raise _unfit(field, "Give one mail address, such as on-call@example.com.")
        return target.lower(), None
    if kind == "slack":
        if not _SLACK.fullmatch(target):
            what = "Give the URL that Slack shows for an incoming webhook: https://hooks.slack.com/services/..."
            raise _unfit(field, what)
        return urlsplit(target).hostname or "", target
    _require_https(target, field)
    return target, _made()


def _require_https(target: str, field: str) -> None:
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        raise _unfit(field, "The address cannot be read; give one such as https://example.com/alerts.") from None
    plain = target.isascii() and target.isprintable() and " " not in target
    if parts.scheme != "https" or not parts.hostname or port == 0 or not plain:
        raise _unfit(field, "Give an address that begins with https://, in ASCII and without spaces.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment or "?" in target:
        what = "Give the address without user, query and fragment: calls are signed, they need no key in it."
        raise _unfit(field, what)


def _unfit(field: str, detail: str) -> Problem:
    what = [{"pointer": field, "message": detail}]
    return Problem(422, "invalid_target", "This is no place that can be told.", what)


def _made() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def _hash(channel_id: object, code: str) -> str:
    return sha256(f"{channel_id}:{code}".encode()).hexdigest()


async def _mailed(principal: Principal, channel_id: UUID) -> str:
    """Whether a first code was mailed; where it was not, a new one can be asked for."""
    try:
        ended, _ = await _check(principal, channel_id, None, code=True)
    except psycopg.Error:
        return "failed"
    return "sent" if ended is not None and ended.outcome == "delivered" else "failed"


async def _checked(principal: Principal, channel: Row, once: Idempotency, *, code: bool) -> Answer:
    ended, replayed = await _check(principal, channel["id"], once, code=code)
    taken = ended is not None and ended.outcome == "delivered"
    if taken and not code and channel["verified_at"] is None:
        await database().call(principal, "verify_channel_v1", {"id": channel["id"]})
    shown = await get(principal, channel["id"])
    result = {
        "verified": shown["verified_at"] is not None, "sent": None if ended is None else taken,
        "error": ended.error if ended else None, "channel": shown,
    }  # fmt: skip
    return Answer(result, replayed)


async def _check(
    principal: Principal, channel_id: UUID, once: Idempotency | None, *, code: bool
) -> tuple[Ended | None, bool]:
    """Sends a code or a test message, outside of any transaction; None for a request that was made before."""
    check_id, digits = new_id(), f"{random_secrets.randbelow(10**8):08d}"
    args = {"id": channel_id, "check_id": check_id} | ({"code_hash": _hash(channel_id, digits)} if code else {})
    begun = await database().call(principal, "begin_channel_check_v1", args, once)
    if begun.replayed:
        return None, True
    found = (await database().call(principal, "open_channel_v1", {"id": channel_id, "check_id": check_id})).result
    if code:
        sent = await mail.send(
            found["target"], "[Countersign] Your code for a channel", _code_text(found, digits), f"msg_{check_id}",
            settings().public_url,
        )  # fmt: skip
        return Ended(sent.outcome, sent.error), False
    told = Told(
        id=f"msg_{check_id}", event="channel.tested", at=found["at"], origin=settings().public_url,
        tenant=found["tenant_name"], channel=found["name"],
        content={"channel_id": str(channel_id), "severity": "info", "title": "This is a test. Nothing is wrong."},
    )  # fmt: skip
    secrets = opened(found["tenant_id"], channel_id, found["secrets"])
    return await send(found["kind"], found["target"], secrets, told), False


def _code_text(found: Row, digits: str) -> str:
    from api.notifications.messages import plain

    return (
        f"Somebody of {plain(found['tenant_name'])} wants alerts of Countersign to be told to this address.\n\n"
        f"Code: {digits}\n\nIt is good for 15 minutes, and for nothing else. If you have not asked for it, do nothing:"
        " without the code nothing more is sent here.\n"
    )


async def _sealed(principal: Principal, channel_id: object, generation: int, secret: str) -> str:
    async with database().tenant_transaction(principal, MANAGE) as connection:
        row = await (await connection.execute(query("notifications/tenant"))).fetchone()
    return vault.seal({"secret": secret}, secret_context((row or {})["id"], channel_id, generation))


_ONE: dict[str, Any] = {"status": None, "after_at": None, "after_id": None, "limit": 1}


def _found(rows: list[Row]) -> Row:
    if not rows:
        raise Problem(404, "not_found", "There is no such channel.")
    return rows[0]


async def _rows(principal: Principal, parameters: Row) -> list[Row]:
    async with database().tenant_transaction(principal, "channels.read") as connection:
        return await (await connection.execute(query("notifications/list_channels"), parameters)).fetchall()
