"""What a member whose role changes may not work on any more: it is handed over as of somebody who leaves."""

from __future__ import annotations

from tests.db.attacks import OWNER, refused_everywhere
from tests.db.channels import alert
from tests.db.incidents import follow_up, opened, resolved
from tests.db.names import ACME
from tests.db.world import World

ADMIN, OPERATOR = ACME.person("admin"), ACME.person("operator")


def test_who_may_not_work_on_it_any_more_hands_it_over(world: World) -> None:
    """What a new role may still do stays; so does what is named afterwards, by somebody who knew the role."""
    approver, owner = ACME.person("approver"), ACME.person("owner")
    world.root.execute("alter table app.workflow_versions disable trigger user")
    world.root.execute(  # who answers for the workflow, and is demoted
        "update app.workflow_versions v set spec = spec || jsonb_build_object('owner', m.email) from app.members m"
        " where m.user_id = %s and m.tenant_id = v.tenant_id", (OPERATOR,),
    )  # fmt: skip
    world.root.execute("select private.guard_table('app.workflow_versions')")
    incident = opened(world, owner_id=OPERATOR, subject_type="run", subject_id=ACME.run())
    over, others = resolved(world, owner_id=OPERATOR), opened(world, owner_id=approver)
    to_do = follow_up(incident_id=over, owner_id=OPERATOR)
    world.call(ACME.user(), "add_follow_up_v1", to_do)
    told = world.call(ACME.system(), "raise_alert_v1", alert(ACME, owner_id=OPERATOR, severity="info"))["id"]
    owners = (
        "select id::text, owner_id::text from app.incidents union all select id::text, owner_id::text from app.alerts"
        " union all select id::text, owner_id::text from app.incident_follow_ups"
    )

    def becomes(role: str) -> dict[str, str]:
        world.call(ACME.user(), "change_role_v1", {"user_id": OPERATOR, "role": role})
        return dict(world.rows(owners))

    now = becomes("developer")  # who acknowledges alerts, and writes notes on incidents
    assert [now[each] for each in (incident, over, others, told, to_do["id"])] == [
        owner, owner, approver, OPERATOR, OPERATOR,
    ]  # fmt: skip
    entry = "select before, after, text from app.incident_entries where incident_id = %s and kind = 'owner_changed'"
    assert world.rows(entry, incident) == [
        (OPERATOR, owner, "Whoever answered for it may not work on incidents any more.")
    ]
    notice = "select owner_id::text, title from app.alerts where kind = 'incident.owner_left' and subject_id = %s"
    [(answers, title)] = world.rows(notice, OPERATOR)
    assert (answers, "incidents (2) and alerts (0)" in title) == (owner, True)
    world.call(ACME.user("admin"), "change_incident_v1", {"id": incident, "owner_id": OPERATOR})
    refused_everywhere(
        world, f"update app.incidents set owner_id = '{ADMIN}' where id = '{incident}'",
        claims=ACME.user("developer"), vantages=OWNER, reasons=("permission_denied",),
    )  # fmt: skip
    now = becomes("auditor")
    assert (now[incident], now[told], now[to_do["id"]]) == (OPERATOR, owner, OPERATOR)
    # Who hands the organisation over, and keeps nothing of it, is a person like every other.
    mine = opened(world, by=ACME.user(), owner_id=owner)
    world.call(ACME.user(), "transfer_ownership_v1", {"user_id": ADMIN, "keep_role": "auditor"})
    now = dict(world.rows(owners))
    assert (now[mine], now[over]) == (ACME.person("owner2"),) * 2
