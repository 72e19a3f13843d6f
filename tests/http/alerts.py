"""Alerts as a scheduled function raises them, through the application's own door."""

import json
import uuid

from sandbox.organisation import Organisation
from tests.http.world import World


def an_alert(world: World, organisation: Organisation, **changes: object) -> str:
    """Raises an alert in the organisation's tenant; its id."""
    claims = {"kind": "system", "tenant_id": organisation.tenant_id, "function": "tests"}
    args = {
        "kind": "connection.consent_ending", "severity": "warning", "environment": "sandbox", "title": "It ends soon",
        "subject_type": "connection", "subject_id": str(uuid.uuid4()), "owner_id": organisation.owner.user_id,
    } | changes  # fmt: skip
    with world.database.connect() as connection:
        statement = "select app.call_v1(%s, 'raise_alert_v1', %s)"
        row = connection.execute(statement, (json.dumps(claims), json.dumps(args))).fetchone()
    assert row is not None
    return str(row[0]["result"]["id"])
