"""The nine controls in a real browser, and on paper."""

from __future__ import annotations

from playwright.sync_api import expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing
from tests.http.world import World


def test_the_nine_controls_are_shown_with_their_evidence(browse: Browsing, shared: Organisation) -> None:
    page = browse(shared.owner, "/controls")
    told = ok(shared.owner.api.get("/v1/controls"))
    assert [each["control"] for each in told["controls"]] == list(range(1, 10))
    for each in told["controls"]:
        card = page.locator(f"section:has(#control-{each['control']})")
        expect(card).to_contain_text(f"{each['control']}. {each['name']}")
        expect(card).to_contain_text("Verified" if each["verified"] else "Not verified")
        for checked in each["workflows"]:
            for said in checked["evidence"][:2]:
                expect(card).to_contain_text(said)
    decisions = next(e for e in told["controls"][2]["events"] if e["type"] == "decision.made")
    logged = ok(shared.owner.api.get("/v1/audit/events", params={"type": "decision.made", "limit": 200}))
    assert decisions["count"] <= len(logged["items"])
    browse.look(page, "controls")
    page.emulate_media(media="print")
    expect(page.locator("header.topbar")).to_be_hidden()
    expect(page.locator("main")).to_contain_text(told["tenant"]["name"])
    expect(page.locator("main")).to_contain_text(told["chain"]["hash"][:4])
    browse.shot(page, "controls-printed")


def test_what_is_missing_is_said_and_the_whole_is_not_verified(browse: Browsing, fresh: Organisation) -> None:
    """A control that one live workflow misses is not verified, and the page says what to do."""
    body = {"scope": "workflow", "target": "pay-vendor-bills", "reason": "something is wrong"}
    ok(fresh.owner.api.post("/v1/kill-switches", json=body, headers={"Idempotency-Key": "controls-page"}))
    told = ok(fresh.owner.api.get("/v1/controls"))
    assert not told["verified"]
    assert not told["controls"][7]["verified"]
    page = browse(fresh.owner, "/controls", width=360)
    card = page.locator("section:has(#control-8)")
    expect(card).to_contain_text("Not verified")
    expect(card.get_by_text("A kill switch is engaged over it")).to_be_visible()


def test_a_broken_log_is_said_first(browse: Browsing, fresh: Organisation, world: World) -> None:
    """As the watch found it (tests/http/test_watch.py)."""
    page = browse(fresh.owner, "/controls")
    expect(page.locator("dl.facts").first).to_contain_text("Not yet")
    with world.database.connect("superuser") as connection:
        columns = "tenant_id, whole_at, anchor_seq, broken_at, found_at"
        found = f"insert into private.audit_watches ({columns}) values (%s, now(), 9, 5, now())"
        connection.execute(found.encode(), (fresh.tenant_id,))
    page.reload()
    expect(page.locator("main")).to_contain_text("The audit log is broken from event 5 on")
    expect(page.locator("dl.facts").first).to_contain_text("to event 9")
    expect(page.locator("section:has(#control-3)")).to_contain_text("Not verified")
    browse.look(page, "controls-broken-log")
