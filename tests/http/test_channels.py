"""Channels: proved before they are used, told once of what they want, and of nothing that would be a secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from os import environ
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from sandbox.organisation import Organisation, ok, once
from sandbox.state import CHECKOUT
from tests.http.alerts import an_alert
from tests.http.channels import PATH, in_use, new_channel
from tests.http.functions import RUNTIME
from tests.http.integrator import join, new_organisation
from tests.http.problems import problem
from tests.http.receivers import WEBHOOKS, Arrived, Receivers
from tests.http.world import World

SLACK_URL = "https://hooks.slack.com/services/T0TEAM/B0BOT/{}"


@pytest.fixture(scope="module")
def company(world: World) -> Organisation:
    return new_organisation(world, connected=False)


@pytest.fixture(autouse=True)
def _all_told(world: World) -> None:
    """What other tests have left behind is told before a test counts."""
    while deliver(world)["delivered"]:
        pass


def deliver(world: World) -> dict[str, int]:
    return world.stack.tick("deliver_notifications")


def path_of(channel: dict[str, Any]) -> str:
    return str(channel["target"]).removeprefix(WEBHOOKS)


def heard(receivers: Receivers, channel: dict[str, Any]) -> list[tuple[str, str]]:
    """The types and severities that a webhook was told, the test left out."""
    bodies = [json.loads(each.body) for each in receivers.at(path_of(channel))]
    return [(body["type"], body["data"]["severity"]) for body in bodies if body["type"] != "channel.tested"]


def verified(arrived: Arrived, secret: str) -> Any:
    return Webhook(secret).verify(arrived.body, arrived.headers)


def deliveries(person: Any, channel: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(person.api.get(f"{PATH}/{channel['id']}/deliveries"))["items"]
    return found


def due_now(world: World, channel: dict[str, Any]) -> None:
    """Makes what waits for its next try due, which only the superuser can."""
    mine = f"channel_id = '{channel['id']}'"
    with world.database.connect("superuser") as connection:
        for statement in (
            "alter table app.notifications disable trigger all",
            f"update app.notifications set next_attempt_at = now() where {mine} and status = 'pending'",
            "delete from private.notification_leases",
            "alter table app.notifications enable trigger all",
        ):  # fmt: skip
            connection.execute(statement.encode())
        for trigger in ("notifications_guard", "notifications_keep_columns", "zz_audit_change", "refuse_truncate"):
            connection.execute(f"alter table app.notifications enable always trigger {trigger}".encode())


def test_a_webhook_from_its_making_to_the_end_of_an_alert(
    world: World, company: Organisation, receivers: Receivers
) -> None:
    key, owner = once(), company.owner
    body = {"kind": "webhook", "name": "Pager", "target": f"{WEBHOOKS}/{uuid.uuid4()}"}
    made = ok(owner.api.post(PATH, json=body, headers=key))
    assert (made["status"], made["least_severity"], made["secret"][:6]) == ("unverified", "warning", "whsec_")
    assert ok(owner.api.post(PATH, json=body, headers=key))["secret"] is None
    an_alert(world, company)
    assert deliver(world)["delivered"] == 0  # nobody is told anything who has not proved himself
    tried = ok(owner.api.post(f"{PATH}/{made['id']}/test", headers=once()))
    assert (tried["verified"], tried["sent"], tried["channel"]["status"]) == (True, True, "active")
    [test] = receivers.at(path_of(made))
    assert verified(test, made["secret"])["type"] == "channel.tested"

    about = str(uuid.uuid4())
    raise_it = {"subject_id": about, "title": "It ends <!channel> https://evil.example", "detail": {"said": "private"}}
    alert = an_alert(world, company, **raise_it)
    an_alert(world, company, severity="info")  # less than it wants
    for severity in ("warning", "warning", "critical", "critical"):
        an_alert(world, company, severity=severity, **raise_it)
    ok(company.approver.api.post(f"/v1/alerts/{alert}/resolve", json={"reason": "Ada Lovelace called"}))
    counts = deliver(world)
    assert (counts["delivered"], counts["failed"]) == (3, 0)
    # What is due at once is sent side by side, so it may arrive in any order.
    assert sorted(heard(receivers, made)) == [
        ("alert.escalated", "critical"), ("alert.raised", "warning"), ("alert.resolved", "critical"),
    ]  # fmt: skip
    events = ("alert.raised", "alert.escalated", "alert.resolved")
    messages = receivers.at(path_of(made))[1:]
    arrived = sorted(messages, key=lambda each: events.index(verified(each, made["secret"])["type"]))
    assert len({each.headers["webhook-id"] for each in arrived}) == 3
    told = verified(arrived[0], made["secret"])["data"]
    assert told["alert_id"] == alert
    assert told["url"] == f"{world.api}/alerts/{alert}"
    assert told["owner_name"] == company.owner.name
    assert "private" not in arrived[0].body.decode()
    assert "Ada" not in arrived[2].body.decode()
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(arrived[0].body.replace(b"warning", b"nothing"), arrived[0].headers)
    assert deliver(world)["delivered"] == 0
    shown = ok(owner.api.get(f"{PATH}/{made['id']}"))
    assert [(each["event"], each["status"], each["attempts"]) for each in shown["deliveries"]] == [
        (event, "delivered", 1) for event in ("alert.resolved", "alert.escalated", "alert.raised")
    ]
    assert "secret" not in json.dumps(shown).replace("secret_generation", "").replace('"secret": null', "")


def test_a_mail_address_proves_itself_by_its_code(world: World, company: Organisation, receivers: Receivers) -> None:
    owner, address = company.owner, f"on-call-{uuid.uuid4().hex}@example.com"
    body = {"kind": "email", "name": "Mail", "target": address.upper(), "environment": "sandbox"}
    made = ok(owner.api.post(PATH, json=body, headers=once()))
    assert (made["mail"], made["target"], made["secret"]) == ("sent", address, None)
    [mail] = receivers.mailed(address)
    code = re.findall(r"Code: (\d{8})", mail.get_content())[0]
    step = f"{PATH}/{made['id']}"
    problem(owner.api.post(f"{step}/test", headers=once()), 409, "channel_unverified")
    wrong = {"code": f"{(int(code) + 1) % 10**8:08d}"}
    key = once()
    for left in (4, 4, 3):
        refused = owner.api.post(f"{step}/verify", json=wrong, headers=key if left == 4 else once())
        problem(refused, 422, "wrong_code")
        assert f"{left} tries" in refused.text
    checked = ok(owner.api.post(f"{step}/verify", json={"code": code}, headers=once()))
    assert (checked["verified"], checked["channel"]["status"]) == (True, "active")
    assert code not in str(world.rows("select c::text from app.channels c where id = %s", made["id"]))
    alert = an_alert(world, company, title="It ends\r\nBcc: thief@example.com\r\n\r\n\u202eSee https://evil.example")
    assert deliver(world)["failed"] == 0
    told = receivers.mailed(address)[-1]
    assert told["Subject"] == "[Countersign] Warning: It ends Bcc: thief@example.com [U+202E]See https[:]//evil.example"
    assert told["Bcc"] is None
    assert told["Auto-Submitted"] == "auto-generated"
    assert told.get_content_type() == "text/plain"
    assert f"{world.api}/alerts/{alert}" in told.get_content()
    assert "thief@example.com" not in str(receivers.recipients)
    again = new_channel(owner, kind="email", target=address)  # and so once more, until it is too much for one address
    for _ in range(3):
        ok(owner.api.post(f"{PATH}/{again['id']}/verify", json={}, headers=once()))
    full = owner.api.post(f"{PATH}/{again['id']}/verify", json={}, headers=once())
    problem(full, 429, "too_many_codes")
    assert int(full.headers["retry-after"]) > 3600
    assert (
        ok(new_organisation(world, connected=False).owner.api.post(PATH, json=body, headers=once()))["mail"] == "failed"
    )
    for channel in (made, again):
        assert ok(owner.api.delete(f"{PATH}/{channel['id']}", headers=once()))["status"] == "deleted"
    problem(owner.api.post(f"{PATH}/{made['id']}/enable", headers=once()), 409, "channel_deleted")


def test_slack_reads_no_markup_of_ours_but_the_link_and_its_address_is_a_secret(
    world: World, receivers: Receivers
) -> None:
    company, secret = new_organisation(world, connected=False), uuid.uuid4().hex
    url = SLACK_URL.format(secret)
    slack = in_use(company.owner, kind="slack", target=url)
    an_alert(world, company, title="<!channel> *now* <https://evil.example|click> & pay")
    assert deliver(world)["delivered"] == 1
    sent = json.loads(receivers.at(url.removeprefix("https://hooks.slack.com"))[-1].body)
    assert (sent["unfurl_links"], sent["unfurl_media"], sent["mrkdwn"]) == (False, False, False)
    assert "<" not in sent["text"]
    plain, link = (block["text"] for block in sent["blocks"])
    assert (plain["type"], link["type"]) == ("plain_text", "mrkdwn")
    assert link["text"].count("<") == 1
    assert link["text"].startswith(f"<{world.api}/alerts/")
    shown = ok(company.owner.api.get(f"{PATH}/{slack['id']}"))
    events = ok(company.owner.api.get("/v1/audit/events"))
    refused = company.owner.api.post(PATH, json={"kind": "slack", "name": "x", "target": f"{url}?"}, headers=once())
    problem(refused, 422, "invalid_target")
    tables = world.rows(
        "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname in ('app', 'private')"
    )
    dump = "".join(str(world.rows(f"select t::text from {table} t")) for (table,) in tables)
    dump += str(world.rows("select decrypted_secret from vault.decrypted_secrets"))
    log = (world.stack.state / "api.log").read_text(errors="replace")
    assert not [where for where in (str(shown), str(events), refused.text, dump, log) if secret in where]
    assert shown["target"] == "hooks.slack.com"
    for given in ({"url": f"{url}?"}, {}):
        unfit = company.owner.api.post(f"{PATH}/{slack['id']}/rotate", json=given, headers=once())
        assert problem(unfit, 422, "invalid_target")["errors"][0]["pointer"] == "/url"
    moved = {"url": SLACK_URL.format(uuid.uuid4().hex)}
    after = ok(company.owner.api.post(f"{PATH}/{slack['id']}/rotate", json=moved, headers=once()))
    assert (after["status"], after["verified_at"], after["secret"]) == ("unverified", None, None)
    an_alert(world, company)
    assert deliver(world)["delivered"] == 0


def test_what_does_not_arrive_is_tried_again_given_up_and_sent_again(world: World, receivers: Receivers) -> None:
    company = new_organisation(world, connected=False)
    made, other = in_use(company.owner), in_use(company.owner, least_severity="warning")
    path = path_of(made)
    receivers.answers[path] = [500, 302]
    an_alert(world, company, severity="info")
    assert deliver(world)["retry"] == 1
    [first] = deliveries(company.owner, made)
    assert first["next_attempt_at"] > first["created_at"]
    due_now(world, made)
    assert deliver(world)["retry"] == 1
    [waiting] = deliveries(company.owner, made)
    assert (waiting["status"], waiting["attempts"]) == ("pending", 2)
    assert waiting["last_error"] == "It answered 302; nothing is sent on to another address."
    receivers.answers[path] = [500] * 8
    for _ in range(8):
        due_now(world, made)
        deliver(world)
    [dead] = deliveries(company.owner, made)
    assert (dead["status"], dead["attempts"], dead["next_attempt_at"]) == ("dead", 10, None)
    assert deliver(world)["delivered"] == 1  # the other channel is told that this one fails
    assert heard(receivers, other) == [("alert.raised", "warning")]
    again = f"{PATH}/{made['id']}/deliveries/{dead['id']}/resend"
    assert ok(company.owner.api.post(again, headers=once()))["status"] == "pending"
    problem(company.owner.api.post(again, headers=once()), 409, "not_given_up")
    deliver(world)
    arrived = receivers.at(path)[1:]
    assert len(arrived) == 11
    assert {each.headers["webhook-id"] for each in arrived} == {f"msg_{dead['id']}"}
    assert len({each.body for each in arrived}) == 1
    [failing] = ok(company.owner.api.get("/v1/alerts", params={"kind": "channel.failing"}))["items"]
    assert failing["status"] == "resolved"

    receivers.answers[path] = [410]
    an_alert(world, company, severity="info")
    assert deliver(world)["gone"] == 1
    gone = ok(company.owner.api.get(f"{PATH}/{made['id']}"))
    assert (gone["status"], gone["status_reason"]) == ("disabled", "It answered 410: there is nothing there any more.")
    deliver(world)
    assert heard(receivers, other)[-1] == ("alert.raised", "warning")
    [alert] = ok(company.owner.api.get("/v1/alerts", params={"kind": "channel.gone"}))["items"]
    assert alert["owner"]["user_id"] == company.owner.user_id
    assert len(receivers.at(path)) == 13  # it is not told of itself
    assert ok(company.owner.api.post(f"{PATH}/{made['id']}/enable", headers=once()))["status"] == "active"
    assert ok(company.owner.api.get(f"/v1/alerts/{alert['id']}"))["status"] == "resolved"

    def stop() -> int:
        ok(company.owner.api.post(f"{PATH}/{made['id']}/disable", json={"reason": "Too loud"}, headers=once()))
        return 204

    receivers.answers[path] = [stop]  # while it is being told
    an_alert(world, company, severity="info")
    counts = deliver(world)
    assert (counts["taken"], counts["failed"]) == (1, 0)
    assert deliveries(company.owner, made)[0]["status"] == "cancelled"


def test_two_instances_send_one_and_a_dead_one_leaves_it_to_the_next(world: World, receivers: Receivers) -> None:
    company = new_organisation(world, connected=False)
    made = in_use(company.owner)
    path = path_of(made)
    for _ in range(6):
        an_alert(world, company)
    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(lambda _: deliver(world), range(3)))
    assert sum(each["delivered"] for each in counts) == 6
    ids = [each.headers["webhook-id"] for each in receivers.at(path)[1:]]
    assert len(ids) == len(set(ids)) == 6

    arrived, over = threading.Event(), threading.Event()

    def hold() -> int:
        arrived.set()
        over.wait(30)
        return 204

    receivers.answers[path] = [hold]
    an_alert(world, company)
    process = subprocess.Popen(
        [sys.executable, "-c", RUNTIME, "functions.deliver_notifications"], cwd=CHECKOUT,
        env=environ | world.stack.environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdin
    process.stdin.write("{}\n")
    process.stdin.flush()
    assert arrived.wait(60)
    process.kill()  # sent, and nobody has written down that it was
    process.wait()
    over.set()
    assert deliver(world)["delivered"] == 0  # the lease of the dead one holds
    due_now(world, made)
    assert deliver(world)["delivered"] == 1
    first, second = (each.headers["webhook-id"] for each in receivers.at(path)[-2:])
    assert first == second


@pytest.mark.parametrize("target", ["https://127.0.0.1/x", "https://localhost:8443/x", "https://[::ffff:10.0.0.1]/x"])
def test_nothing_is_sent_to_a_private_address(company: Organisation, target: str) -> None:
    made = new_channel(company.owner, target=target)
    tried = ok(company.owner.api.post(f"{PATH}/{made['id']}/test", headers=once()))
    assert (tried["verified"], tried["sent"]) == (False, False)
    assert tried["error"] == "It leads to a private address; nothing was sent."


def test_what_is_no_address_is_refused(company: Organisation) -> None:
    for kind, target in (
        ("webhook", "http://example.com/x"), ("webhook", "https://user:key@example.com/"), ("webhook", "https://e.com/?k=1"),
        ("webhook", "https://e.com:99999/"), ("webhook", "https://e\u00e9.com/"), ("webhook", "ftp://e.com"),
        ("slack", "https://hooks.slack.com.evil.example/services/x"), ("slack", "https://example.com/services/x"),
        ("email", "a@b"), ("email", "a@b.example, c@d.example"), ("email", "a@b.example\r\nBcc: c@d.example"),
        ("email", ".a@b.example"), ("email", "a..b@c.example"), ("email", "a@-b.example"),
    ):  # fmt: skip
        body = {"kind": kind, "name": "x", "target": target}
        problem(company.owner.api.post(PATH, json=body, headers=once()), 422, "invalid_target")


def test_both_secrets_sign_while_one_follows_the_other(world: World, receivers: Receivers) -> None:
    company = new_organisation(world, connected=False)
    made = in_use(company.owner, name="Pager")
    step = f"{PATH}/{made['id']}"
    secret = ok(company.owner.api.post(f"{step}/rotate", json={"overlap_hours": 1}, headers=once()))["secret"]
    an_alert(world, company)
    deliver(world)
    both = receivers.at(path_of(made))[-1]
    assert verified(both, made["secret"]) == verified(both, secret)
    last = ok(company.owner.api.post(f"{step}/rotate", json={"overlap_hours": 0}, headers=once()))["secret"]
    ok(company.owner.api.post(f"{step}/test", headers=once()))
    one = receivers.at(path_of(made))[-1]
    verified(one, last)
    for old in (made["secret"], secret):
        with pytest.raises(WebhookVerificationError):
            verified(one, old)
    kept = world.rows("select name from vault.secrets where name like %s", f"countersign/channel/{made['id']}/%")
    assert len(kept) == 1

    etag = company.owner.api.get(step).headers["etag"]
    change = {"name": "Night shift", "environment": "production", "owner_id": company.approver.user_id}
    assert company.owner.api.patch(step, json=change).status_code == 428
    changed = ok(company.owner.api.patch(step, json=change, headers={"If-Match": etag}))
    assert (changed["name"], changed["owner_name"]) == ("Night shift", company.approver.name)
    stale = company.owner.api.patch(step, json=change, headers={"If-Match": etag})
    problem(stale, 412, "precondition_failed")
    an_alert(world, company, environment="production")  # the owner answers for it
    an_alert(world, company, environment="sandbox", owner_id=company.approver.user_id)
    wanted = an_alert(world, company, environment="production", owner_id=company.approver.user_id)
    assert deliver(world)["delivered"] == 1
    assert json.loads(receivers.at(path_of(made))[-1].body)["data"]["alert_id"] == wanted
    handed = an_alert(world, company, environment="production")
    ok(company.owner.api.post(f"/v1/alerts/{handed}/owner", json={"user_id": company.approver.user_id}))
    deliver(world)
    assert heard(receivers, made)[-1] == ("alert.assigned", "warning")


def test_who_may_and_who_has_left(world: World, company: Organisation) -> None:
    made = new_channel(company.owner, kind="email", target=company.approver.email)
    for role, status in (("operator", 200), ("auditor", 200), ("approver", 403)):
        person = join(company, role, name=f"Cy {role}")
        assert person.api.get(PATH).status_code == status
        problem(person.api.post(f"{PATH}/{made['id']}/test", headers=once()), 403, "permission_denied")
    with company.agent() as agent:
        problem(agent.get(PATH), 403, "permission_denied")
    leaving = join(company, "admin", name="Di Vos")
    channel = ok(leaving.api.post(PATH, json={"kind": "email", "name": "Di", "target": leaving.email}, headers=once()))
    ok(company.owner.api.delete(f"/v1/members/{leaving.user_id}"))
    stopped = ok(company.owner.api.get(f"{PATH}/{channel['id']}"))
    assert (stopped["status"], stopped["status_reason"]) == ("disabled", "The member whom it tells has left.")


def test_owners_are_mailed_that_the_only_channel_is_dead(world: World, receivers: Receivers) -> None:
    """Once, by the run that finds it; where another channel tells it, nobody is mailed."""
    company = new_organisation(world, connected=False)
    second = join(company, "owner")
    only = in_use(company.owner)
    receivers.answers[path_of(only)] = [410]
    an_alert(world, company, title="Pay NL91 at https://evil.example")
    counts = deliver(world)
    assert (counts["gone"], counts["owners"], deliver(world)["owners"]) == (1, 1, 0)
    for owner in (company.owner, second):
        [mail] = receivers.mailed(owner.email)
        text = mail.get_content()
        assert (
            mail["subject"]
            == "[Countersign] Warning: The channel On call is gone and was disabled; alerts are no longer told there."
        )
        assert f"{world.api}/alerts/" in text
        assert "Mailed to owners, for no channel takes it" in text
        assert "evil" not in text
        assert "410" not in text
    ok(company.owner.api.post(f"{PATH}/{only['id']}/enable", headers=once()))
    in_use(company.owner)
    receivers.answers[path_of(only)] = [410]
    an_alert(world, company)
    counts = deliver(world)
    assert (counts["gone"], counts["owners"], deliver(world)["owners"]) == (1, 0, 0)
    assert len(receivers.mailed(second.email)) == 1
    alone = new_organisation(world, connected=False)
    with world.database.connect("superuser") as connection:  # an address that is not good any more
        connection.execute("update app.members set email = 'nobody@x.example' where tenant_id = %s", (alone.tenant_id,))
    receivers.answers[path_of(in_use(alone.owner))] = [410]
    an_alert(world, alone)
    counts = deliver(world)
    assert (counts["gone"], counts["owners"], counts["failed"]) == (1, 0, 0)
    log = (world.stack.state / "api.log").read_text(errors="replace")
    assert "no owner was mailed of alert" in log
    assert "The mail server refused the address (550)." in log
