"""Incidents in a real browser: from a critical alert to what was learned, by the people who answer for it."""

from __future__ import annotations

from playwright.sync_api import expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing
from tests.http.alerts import an_alert
from tests.http.incidents import a_day, did
from tests.http.integrator import join
from tests.http.test_kill_switch import engage
from tests.http.world import World

HOSTILE = "Paid \u202e\u200b<script>alert(1)</script>twice"


def test_from_an_alert_to_what_was_learned(browse: Browsing, world: World, fresh: Organisation) -> None:
    alert = an_alert(world, fresh, title=HOSTILE, severity="critical")
    operator = join(fresh, "operator")
    page = browse(operator, "/")
    page.get_by_role("table", name="Incidents that are going on").get_by_role("link").click()
    main, aside = page.locator("main"), page.locator("aside")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(1)</script>")
    expect(main).to_contain_text("Nobody is on it")
    browse.look(page, "incident-open")
    page.locator(".timeline").get_by_role("link").click()
    expect(main.get_by_role("link", name="script")).to_have_attribute("href", "/incidents/" + incident_of(fresh))
    page.go_back()
    aside.get_by_label("What you do about it").fill("I call the bank")
    page.get_by_role("button", name="I am on it").click()
    expect(main).to_contain_text("You are on it.")
    switch = engage(fresh, "connection", fresh.connections["sandbox_crm/read"])["id"]
    aside.get_by_label("How it is contained").fill("Stopped the connection")
    aside.get_by_label("By what").fill(f"{world.api}/kill-switches/{switch}")
    page.get_by_role("button", name="It is contained").click()
    expect(page.locator(f".timeline a[href='/kill-switches/{switch}']")).to_have_count(1)
    aside.get_by_label("What is known by now").fill("It was one payment")
    page.get_by_role("button", name="Note it").click()
    page.get_by_label("Severity").select_option("high")
    page.get_by_label("What makes it worse, or less bad").fill("The bank holds it back")
    page.get_by_role("button", name="Change it").click()
    expect(page.locator(".timeline")).to_contain_text("critical before, high now")
    page.get_by_label("Why it is over").fill("Paid back")
    page.get_by_role("button", name="It is over").click()
    expect(main).to_contain_text("Owners, admins and approvers review what is resolved.")

    reviewer = browse(fresh.owner, "/incidents?tab=resolved")
    reviewer.locator("tbody tr").get_by_role("link").click()
    browse.look(reviewer, "incident-review")
    reviewer.get_by_label("What happened").fill("Two invoices had one number.\nOne was paid twice.")
    reviewer.get_by_label("Why it could happen").fill("Nothing looked for the number.")
    reviewer.get_by_label("Money that it cost").fill("EUR twelve")
    reviewer.get_by_label("People affected").fill("1")
    reviewer.get_by_label("What went well").fill("It was seen within the hour.")
    row = reviewer.get_by_role("group", name="To be done, 1")
    row.get_by_label("What is to be done").fill("Refuse a number that was paid")
    row.get_by_label("Who does it").select_option(operator.user_id)
    row.get_by_label("Until which day").fill(a_day(9))
    reviewer.get_by_role("button", name="Finish the review").click()
    expect(reviewer.get_by_role("alert")).to_contain_text("such as EUR 1299.00")
    expect(reviewer.get_by_label("Why it could happen")).to_have_value("Nothing looked for the number.")
    reviewer.get_by_label("Money that it cost").fill("EUR 1299.50")
    reviewer.get_by_role("button", name="Finish the review").click()
    expect(reviewer.locator("main")).to_contain_text("1,299.50 EUR")
    expect(reviewer.locator(".timeline .event")).to_have_count(8)
    browse.look(reviewer, "incident")
    page.goto("/incidents?tab=follow-ups")
    page.get_by_role("link", name="twice").click()
    page.get_by_text("Close it…").click()
    page.get_by_label("What was done").fill("It is refused now")
    page.get_by_role("button", name="It is done").click()
    expect(main).to_contain_text("Nothing. It is reviewed, and everything is done.")
    assert alert in str(ok(fresh.owner.api.get(f"/v1/incidents/{incident_of(fresh)}"))["entries"])


def incident_of(organisation: Organisation) -> str:
    return str(ok(organisation.owner.api.get("/v1/incidents"))["items"][-1]["id"])


def test_without_script_and_by_two_people(browse: Browsing, fresh: Organisation) -> None:
    """Somebody who sees something opens one; whoever comes second is told where it stands; an auditor reads."""
    page = browse(fresh.approver, "/incidents", script=False)
    expect(page.locator("main")).to_contain_text("Nothing is going wrong")
    page.get_by_role("link", name="Open an incident").click()
    page.get_by_label("In one line").fill("The queue stands still")
    page.get_by_label("What is known").fill("Since nine.")
    page.get_by_role("button", name="Open the incident").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The queue stands still")
    late = browse(fresh.owner, page.url, script=False)
    did(fresh.approver, page.url.rpartition("/")[2].partition("?")[0], "resolve", reason="A drill")
    late.get_by_role("button", name="I am on it").click()
    expect(late.get_by_role("alert")).to_contain_text("resolved already")
    reading = browse(join(fresh, "auditor"), "/incidents?tab=all")
    browse.look(reading, "incidents")
    reading.get_by_role("link", name="The queue stands still").click()
    expect(reading.locator("main").get_by_role("button")).to_have_count(0)
    expect(reading.get_by_role("heading", name="What to do next")).to_have_count(1)
