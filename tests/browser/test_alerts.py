"""Alerts in a real browser: who answers for one, that somebody is on it, and that it is over; with its history."""

from __future__ import annotations

from playwright.sync_api import expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing
from tests.http.alerts import an_alert
from tests.http.integrator import join
from tests.http.world import World

HOSTILE = "It ends \u202e\u200b<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_an_alert_from_open_to_resolved(browse: Browsing, world: World, fresh: Organisation) -> None:
    alert = an_alert(world, fresh, title=HOSTILE, severity="critical")
    page = browse(fresh.approver, "/alerts")
    row = page.locator("tbody tr").filter(has_text="<script>")
    expect(row).to_contain_text("Critical")
    browse.look(page, "alerts")
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(1)</script>")
    main = page.locator("main")
    expect(main).to_contain_text("Alert: raised")
    browse.look(page, "alert")
    page.get_by_label("What you do about it").fill("I call the bank")
    page.get_by_role("button", name="Acknowledge").click()
    expect(main).to_contain_text("Somebody is on it")
    expect(page.locator(".timeline")).to_contain_text("I call the bank")
    expect(main).to_contain_text("Your role does not see who else is here")
    page.get_by_role("button", name="Take it over myself").click()
    expect(main).to_contain_text("You do. Your role does not see who else is here")
    shown = ok(fresh.owner.api.get(f"/v1/alerts/{alert}"))
    assert (shown["status"], shown["owner"]["user_id"]) == ("acknowledged", fresh.approver.user_id)
    page.get_by_role("button", name="Resolve").click()
    assert ok(fresh.owner.api.get(f"/v1/alerts/{alert}"))["status"] == "acknowledged"  # the browser asks for the reason
    page.get_by_label("How it ended").fill("Connected again")
    page.get_by_role("button", name="Resolve").click()
    expect(main).to_contain_text("It is over.")
    expect(page.locator(".timeline .event")).to_have_count(4)
    page.goto("/alerts")
    expect(page.locator("main")).to_contain_text("Nothing is wrong that somebody has to know of")
    page.goto("/alerts?status=resolved")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_without_script_and_by_two_people(browse: Browsing, world: World, fresh: Organisation) -> None:
    """Whoever comes second is told that it is over; an auditor reads and changes nothing."""
    alert = an_alert(world, fresh)
    late = browse(fresh.owner, f"/alerts/{alert}", script=False)
    first = browse(fresh.approver, f"/alerts/{alert}", script=False)
    first.get_by_label("How it ended").fill("It was a drill")
    first.get_by_role("button", name="Resolve").click()
    expect(first.locator("main")).to_contain_text("It is over.")
    late.get_by_role("button", name="Acknowledge").click()
    expect(late.get_by_role("alert")).to_contain_text("The alert is resolved already.")
    auditor = join(fresh, "auditor")
    other = an_alert(world, fresh)
    reading = browse(auditor, f"/alerts/{other}", script=False)
    expect(reading.locator("main")).to_contain_text("Your role reads alerts.")
    expect(reading.get_by_role("button", name="Resolve")).to_have_count(0)
