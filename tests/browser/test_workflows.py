"""Workflows in the browser: read, written, put live by a second person, and how much they may do alone."""

import json
import re

from playwright.sync_api import Page, expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import NARROW, Browsing
from tests.http.integrator import NOTE, access_spec, at_work, decide, join, note

HERE = "/workflows/pay-vendor-bills"


def spec_in(page: Page) -> dict[str, object]:
    text: dict[str, object] = json.loads(page.locator("[name=spec]").input_value())
    return text


def save(page: Page, spec: object) -> None:
    page.locator("[name=spec]").fill(spec if isinstance(spec, str) else json.dumps(spec, indent=2))
    page.get_by_role("button", name="Save the draft").click()


def test_a_version_goes_live_by_two_people_in_two_browsers(browse: Browsing, fresh: Organisation) -> None:
    author = browse(fresh.owner, "/workflows")
    row = author.get_by_role("row").filter(has_text="Pay vendor bills")
    expect(row).to_contain_text("Autonomous")
    expect(row).to_contain_text("Runs")
    row.get_by_role("link", name="Pay vendor bills").click()
    expect(author.get_by_role("heading", level=1)).to_have_text("Pay vendor bills")
    expect(author.locator("main")).to_contain_text("sandbox_crm.notes.create")
    author.get_by_role("link", name="New version").click()
    spec = spec_in(author)
    save(author, spec | {"value_max": {"EUR": 750000}, "stage": "sometimes"})
    line = author.get_by_role("row").filter(has_text="/stage")
    expect(line).to_contain_text('"stage": "sometimes"')
    save(author, "{")
    expect(author.get_by_role("alert")).to_contain_text("This is not JSON")
    save(author, spec | {"value_max": {"EUR": 750000}})
    expect(author.get_by_role("status")).to_contain_text("The draft is there")
    author.get_by_role("button", name="Hand it to a reviewer").click()
    expect(author.locator("aside")).to_contain_text("You wrote this version")
    expect(author.get_by_role("button", name="Put version 2 live")).to_have_count(0)

    reviewer = browse(fresh.approver, HERE, width=NARROW, script=False)
    expect(reviewer.locator("main")).to_contain_text("It may do more")
    expect(reviewer.locator("main")).to_contain_text("/value_max")
    browse.fits(reviewer)
    reviewer.locator("#approve [name=reason]").fill("The new supplier's bills are larger")
    reviewer.get_by_role("button", name="Put version 2 live").click()
    expect(reviewer.locator("main")).to_contain_text("It is live.")
    author.goto(HERE)
    expect(author.locator("header.page-head")).to_contain_text(re.compile(r"Version 2\s+Live"))
    expect(author.locator("main")).to_contain_text("The new supplier's bills are larger")


def test_a_version_is_sent_back_with_a_reason(browse: Browsing, fresh: Organisation) -> None:
    author = browse(fresh.owner, f"{HERE}/stage")
    author.locator("[name=stage]").select_option("supervised")
    author.get_by_role("button", name="Draft the change").click()
    expect(author.locator("main")).to_contain_text("It may do nothing that it may not do already")
    author.get_by_role("button", name="Hand it to a reviewer").click()
    reviewer = browse(fresh.approver, HERE)
    reviewer.get_by_text("Send it back…").click()
    reviewer.locator("#reject [name=reason]").fill("Not before the audit")
    reviewer.get_by_role("button", name="Send it back").click()
    expect(reviewer.get_by_role("status").first).to_contain_text("Sent back to its author")
    author.reload()
    expect(author.locator("main")).to_contain_text("Not before the audit")


def test_it_is_shown_what_a_workflow_would_have_done_and_who_disagreed(browse: Browsing, fresh: Organisation) -> None:
    fresh.go_live("notes", "Notes", access_spec(fresh, stage="supervised"))
    with at_work(fresh, "notes") as agent:
        good, bad = agent.propose(NOTE, note("Right")), agent.propose(NOTE, note("Wrong"))
        ok(decide(fresh.approver, good))
        ok(decide(fresh.approver, bad, "reject", reason="She was never called"))
    page = browse(join(fresh, "auditor"), "/workflows/notes/stage")
    row = page.get_by_role("row").filter(has_text=NOTE).first
    expect(row).to_contain_text("with 1 of 2")
    expect(page.locator("main")).to_contain_text("She was never called")
    expect(page.get_by_role("button", name="Draft the change")).to_have_count(0)
    record = ok(fresh.owner.api.get("/v1/workflows/notes/stage"))
    assert record["stage"] == "supervised"
    (line,) = record["tools"]
    assert (line["proposed"], line["alone"], line["alone_judged"], line["alone_agreed"]) == (2, 2, 2, 1)
    assert [each["action_id"] for each in record["disagreements"]] == [bad["id"]]
    assert fresh.owner.api.get("/v1/workflows/nothing/stage").status_code == 404
    browse.look(page, "workflow-stage")


def test_the_pages_of_workflows_hold_in_any_light_and_on_a_phone(browse: Browsing, shared: Organisation) -> None:
    page = browse(shared.owner, "/workflows")
    browse.look(page, "workflows")
    page.goto(HERE)
    browse.look(page, "workflow")
    page.goto(f"{HERE}/edit")
    browse.look(page, "workflow-edit")
    page.goto("/new-workflow")
    expect(page.locator("[name=spec]")).to_have_value(re.compile('"stage": "shadow"'))
    browse.axe(page)
