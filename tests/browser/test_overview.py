"""The overview in a real browser: what needs the reader comes first, and a new organisation is told how to begin."""

from __future__ import annotations

from playwright.sync_api import expect

from sandbox.organisation import Organisation, ok, once
from tests.browser.browsing import Browsing
from tests.http.integrator import PAY, access_spec, at_work, decide, join, new_organisation, payment
from tests.http.world import World

LIMIT = {"name": "pay-day", "window_hours": 24, "currency": "EUR", "max_amount": 10000}


def test_what_needs_me_comes_first_and_numbers_follow(browse: Browsing, world: World) -> None:
    organisation = new_organisation(world)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation, limits=[LIMIT]))
    with at_work(organisation) as agent:
        paid = agent.propose(PAY, payment(1250))
        ok(decide(organisation.approver, paid))
        waits = agent.propose(PAY, payment(2000))
        agent.settled(paid["id"])
    page = browse(organisation.approver, "/")
    main = page.locator("main")
    expect(main.get_by_role("heading", level=2).first).to_have_text("What needs you")
    expect(main).to_contain_text("Nothing is stopped")
    row = main.get_by_role("row").filter(has_text="20.00 EUR")
    expect(row).to_contain_text("left")
    for told in ("12.50 EUR", "32.50 EUR of 100.00 EUR within 24 hours", "4 well", "2 actions proposed"):
        expect(main).to_contain_text(told)
    assert main.locator("svg[role=img]").count() == 3
    browse.look(page, "overview")
    row.get_by_role("link").click()
    page.wait_for_url(f"**/exceptions/{waits['exception']['id']}")


def test_a_stop_is_seen_at_once_and_so_is_what_another_made(browse: Browsing, fresh: Organisation) -> None:
    developer = join(fresh, "developer")
    made = ok(
        developer.api.post("/v1/workflows/pay-vendor-bills/versions", json={"spec": access_spec(fresh)}, headers=once())
    )
    path = f"/v1/workflows/pay-vendor-bills/versions/{made['version']}/submit"
    ok(developer.api.post(path, headers=once()))
    body = {"scope": "tenant", "target": str(fresh.tenant_id), "reason": "drill"}
    ok(developer.api.post("/v1/kill-switches", json=body, headers=once()))
    page = browse(fresh.approver, "/", script=False)
    expect(page.locator(".page-head")).to_contain_text("1 kill switch engaged")
    row = page.get_by_role("row").filter(has_text="Workflow to put live")
    expect(row.get_by_role("link")).to_have_text("Pay vendor bills")
    assert "/workflows/pay-vendor-bills" in (row.get_by_role("link").get_attribute("href") or "")
    # Nobody is the second person of what they made themselves.
    assert "Workflow to put live" not in browse(developer, "/").locator("main").inner_text()


def test_a_new_organisation_is_told_how_to_begin(browse: Browsing, world: World) -> None:
    organisation = new_organisation(world, connected=False)
    page = browse(organisation.owner, "/")
    steps = page.locator("ol.steps")
    expect(steps.get_by_role("link", name="Connect an account")).to_have_attribute("href", "/connections/new")
    expect(steps).to_contain_text("Describe a workflow")
    expect(steps.get_by_role("listitem").filter(has_text="Give your agent a key")).to_contain_text("Done")
    browse.look(page, "overview-first-steps")
