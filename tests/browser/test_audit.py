"""The audit log in a real browser: search, one event, verifying in parts, and the files."""

from __future__ import annotations

import csv
import io
import json
from hashlib import sha256

from playwright.sync_api import Page, expect

from api.dashboard.words import event
from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing
from tests.http.integrator import NOTE, Agent, note


def downloaded(page: Page, name: str) -> str:
    with page.expect_download() as file:
        page.get_by_role("link", name=name).click()
    return file.value.path().read_text()


def test_the_log_is_searched_and_taken_along(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    action = agent.propose(NOTE, note(), confidence=0.1)
    page = browse(shared.owner, "/audit")
    expect(page.locator("tbody tr").first).to_be_visible()
    browse.look(page, "audit")
    page.get_by_label("Id (or action:id, run:id)").fill(f"action:{action['id']}")
    page.get_by_label("What").select_option("action.proposed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(event("action.proposed"))
    [line] = [json.loads(one) for one in downloaded(page, "Export JSON Lines").splitlines()]
    assert sha256(bytes.fromhex(line["prev_hash"]) + line["record"].encode()).hexdigest() == line["hash"]
    [row] = csv.DictReader(io.StringIO(downloaded(page, "Export CSV")))
    assert (row["action_id"], row["hash"]) == (action["id"], line["hash"])
    page.locator("tbody a").first.click()
    main = page.locator("main")
    for told in ("Holds in the chain", "Is what this one names", "The same"):
        expect(main).to_contain_text(told)
    browse.look(page, "audit-event")
    page.goto("/audit")
    page.get_by_role("link", name="Put to people").click()
    for line_of in page.locator("tbody tr").all():
        expect(line_of).to_contain_text(event("exception.opened"))
    expect(page.get_by_label("What", exact=True)).to_have_value("exception.opened")
    groups = page.get_by_label("What", exact=True).locator("optgroup")
    expect(groups.filter(has=page.locator("option[value='exception.opened']"))).to_have_attribute(
        "label", "What people decided"
    )
    page.goto("/audit?since=yesterday")
    expect(page.get_by_role("alert")).to_contain_text("write 2026-11-28")
    page.goto("/audit?type=action.proposed&until=2020-01-01")
    expect(page.locator("main")).to_contain_text("Nothing in the log is like this")


def test_a_long_chain_is_verified_part_by_part(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    """The whole is said to hold only by a session that went through all of it, from the first event."""
    agent.propose(NOTE, note(), confidence=0.1)
    page = browse(shared.owner, "/audit/verify?after=3&proof=made-up", script=False)
    expect(page.locator("main")).to_contain_text("The whole chain holds")
    events = ok(shared.owner.api.get("/v1/audit/verify"))["events"]
    expect(page.locator("main")).to_contain_text(f"All {events:,} events")
    browse.look(browse(shared.owner, "/audit/verify"), "audit-verify")
    after, parts = 0, 0
    while True:
        part = ok(shared.owner.api.get("/v1/audit/verify/part", params={"after": after, "limit": 20}))
        assert part["ok"]
        assert part["after"] == after
        after, parts = part["last"], parts + 1
        if part["done"]:
            break
    assert after >= events
    assert parts >= events // 20
