"""Channels as people make them over the API, and what they are told."""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.alerts import an_alert
from tests.http.receivers import WEBHOOKS
from tests.http.world import World

PATH = "/v1/channels"


def new_channel(person: Member, **changes: object) -> dict[str, Any]:
    """A new webhook's channel, with the secret that only this answer shows; not verified."""
    body = {"kind": "webhook", "name": "On call", "target": f"{WEBHOOKS}/{uuid.uuid4()}", "least_severity": "info"}
    made: dict[str, Any] = ok(person.api.post(PATH, json=body | changes, headers=once()))
    return made


def in_use(person: Member, **changes: object) -> dict[str, Any]:
    """A new channel that has taken its test."""
    made = new_channel(person, **changes)
    tried = ok(person.api.post(f"{PATH}/{made['id']}/test", headers=once()))
    assert tried["verified"], tried
    return made


def told_once(world: World, company: Organisation) -> tuple[str, str]:
    """The ids of a channel in use and of what it is to be told."""
    channel = in_use(company.owner)["id"]
    an_alert(world, company)
    [(delivery,)] = world.rows("select id::text from app.notifications where channel_id = %s", channel)
    return channel, delivery
