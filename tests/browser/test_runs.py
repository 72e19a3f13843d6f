"""Runs, actions and dead letters in a real browser: one run traced, and what people do about what it did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing
from tests.http.integrator import NOTE, PAY, Agent, at_work, decide, new_organisation, note, payment
from tests.http.test_compensation import (
    GET,
    UPDATE,
    carried_out,
    change_behind_our_back,
    changed,
    contact,
    finished,
    keeps_contacts,
)
from tests.http.test_runs_loop import BILLS, live, start
from tests.http.world import World


@pytest.fixture(scope="module")
def house(world: World) -> Organisation:
    made = new_organisation(world)
    made.go_live("keep-contacts", "Keep contacts", keeps_contacts(made))
    return made


@pytest.fixture
def agent(house: Organisation) -> Iterator[Agent]:
    with at_work(house, "keep-contacts") as working:
        yield working


def confirm(page: Page, title: str, button: str, reason: str) -> None:
    """Opens what asks once more, says why, and goes on."""
    page.locator("summary", has_text=title).click()
    form = page.locator("form").filter(has=page.get_by_role("button", name=button))
    form.locator("[name=reason]").fill(reason)
    form.get_by_role("button", name=button).click()


def lost(world: World, house: Organisation, agent: Agent, **fields: str) -> dict[str, Any]:
    """A change of a contact that was made, and whose answer nobody has."""
    with world.provider("crm") as crm:
        crm.post("/_faults", json={"operation": "contacts.update", "kind": "drop_after"}).raise_for_status()
    args = {"contact_id": "con_ruth", "version": contact(world, "con_ruth")["version"]} | fields
    action = carried_out(house, agent, agent.propose(UPDATE, args))
    assert action["status"] == "unknown"
    return action


def test_a_run_is_told_from_what_started_it_to_its_last_effect(
    browse: Browsing, world: World, house: Organisation, agent: Agent
) -> None:
    page = browse(house.owner, "/runs?status=failed")
    expect(page.locator("main")).to_contain_text("No run is like this")
    agent.observe("sandbox_crm.messages.list")
    title = f"{contact(world, 'con_ada')['title']} \u202e<b>of all</b>"
    done = changed(house, agent, world, "con_ada", title=title)
    paid = agent.propose(PAY, payment())
    ok(decide(house.approver, paid, reason="Called them"))
    agent.settled(paid["id"])
    page.goto("/runs?workflow=keep-contacts&trigger=call")
    browse.look(page, "runs")
    page.get_by_role("link", name="keep-contacts").first.click()
    expect(page).to_have_url(re.compile(f"/runs/{agent.run_id}$"))
    told = page.locator(".timeline > li > .event-head > strong").all_inner_texts()
    wanted = [
        "Started: by a call", "Read: List messages", "Proposed: Change a contact", "Attempt 1: Change a contact",
        "Looked at what was there: Look up a contact", "Looked at what it left behind: Look up a contact",
        "Read: List vendor bills", "Proposed: Pay a vendor from one of our accounts",
        "Waited for a person: Pay a vendor from one of our accounts",
        "Approved: Pay a vendor from one of our accounts", "Attempt 1: Pay a vendor from one of our accounts",
    ]  # fmt: skip
    assert [each for each in told if each in wanted] == wanted, told
    line = page.locator(".timeline")
    for text in ("accounts-payable-agent", "Pay what is due", "Called them", "[U+202E]<b>of all</b>", "Moves money"):
        expect(line).to_contain_text(text)
    read = line.locator("details", has_text="What was read").first
    expect(read.get_by_text("Untrusted").first).to_be_hidden()
    read.locator("summary").first.click()
    expect(read.get_by_text("Untrusted").first).to_be_visible()
    browse.look(page, "run")

    page.locator("aside").get_by_role("link", name="Change a contact").click()
    expect(page).to_have_url(re.compile(f"/actions/{done['id']}$"))
    expect(page.get_by_role("row").filter(has_text="of all")).to_contain_text("[U+202E]")
    expect(page.locator("main")).to_contain_text("[MASKED]")
    browse.look(page, "action")
    page.goto(f"/actions?tool={PAY}&status=succeeded&effect=money_movement")
    expect(page.locator("[data-row]").first).to_contain_text("Pay a vendor from one of our accounts")
    browse.look(page, "actions")


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_an_action_is_undone(browse: Browsing, world: World, house: Organisation, agent: Agent, script: bool) -> None:
    before = contact(world, "con_piet")["title"]
    done = changed(house, agent, world, "con_piet", title="Head of nothing")
    page = browse(house.owner, f"/actions/{done['id']}", script=script)
    confirm(page, "Undo it…", "Propose the undo", "It was the wrong Piet")
    expect(page.locator("main")).to_contain_text("This is the undo")
    undo = carried_out(house, agent, agent.action(page.url.split("/actions/")[1].partition("?")[0]))
    assert (undo["status"], undo["compensates"]) == ("succeeded", done["id"])
    assert contact(world, "con_piet")["title"] == before
    page.goto(f"/actions/{done['id']}")
    page.get_by_role("link", name="see the undo").click()
    expect(page).to_have_url(re.compile(undo["id"]))


def test_a_run_is_undone_after_the_plan_was_shown(
    browse: Browsing, world: World, house: Organisation, agent: Agent
) -> None:
    before = contact(world, "con_noor")["title"]
    carried_out(house, agent, agent.propose(NOTE, note("It stays")))
    changed(house, agent, world, "con_noor", title="Head of nothing")
    waits = agent.propose(PAY, payment(990000))
    page = browse(house.owner, f"/runs/{agent.run_id}")
    page.get_by_role("link", name="Undo everything that it wrote…").click()
    main = page.locator("main")
    expect(main).to_contain_text("1 write would be undone, the last first; 1 write cannot be, and 1 write is not done")
    rows = page.get_by_role("row")
    expect(rows.filter(has_text="Add a note")).to_contain_text("no call that takes this back")
    expect(rows.filter(has_text="Change a contact")).to_contain_text("Undone by Change a contact")
    browse.look(page, "run-undo")
    assert world.rows("select 1 from app.undo_plans where run_id = %s", agent.run_id) == []
    confirm(page, "Undo this run…", "Undo everything that can be undone", "All of it was a mistake")
    expect(main).to_contain_text("The run is being undone")
    assert finished(house, agent, world)["status"] == "finished"
    page.reload()
    expect(rows.filter(has_text="Change a contact").first).to_contain_text("Undone")
    expect(rows.filter(has_text="Add a note").first).to_contain_text("Not undone")
    expect(main).to_contain_text("All of it was a mistake")
    browse.look(page, "run-undone")
    assert contact(world, "con_noor")["title"] == before

    page.goto(f"/actions/{waits['id']}")
    confirm(page, "Cancel it…", "Cancel the action", "Nobody wants it any more")
    expect(main).to_contain_text("Cancelled. It is never done.")
    expect(main).to_contain_text("Nobody wants it any more")


def test_a_run_that_failed_runs_again(browse: Browsing, world: World) -> None:
    """Whoever is told by its alert gets there, and closes it so."""
    mail = {"name": "mail", "tool": "sandbox_crm.messages.list", "args": {"contact_id": "{subject/id}"}}
    called = live(world, observe=[mail, {"name": "bills", "tool": BILLS}])
    run = start(called)
    world.stack.tick("advance_runs")
    page = browse(called.owner, f"/runs/{run['id']}")
    browse.look(page, "run-failed")
    confirm(page, "Run it again…", "Run it again", "Its subject is named now")
    expect(page.locator("main")).to_contain_text("This run does it again.")
    expect(page.locator("main")).to_contain_text("Its subject is named now")
    assert run["id"] not in page.url
    page.goto(f"/runs/{run['id']}")
    confirm(page, "Run it again…", "Run it again", "Once more")
    expect(page.get_by_role("alert")).to_contain_text("had run again already")
    page.goto("/alerts?kind=run.failed&status=resolved")
    expect(page.locator("[data-row]").first).to_contain_text("call-back")


def test_an_unknown_outcome_is_settled_with_the_second_factor_in_place(
    browse: Browsing, world: World, house: Organisation, agent: Agent
) -> None:
    action = lost(world, house, agent, title="Senior partner")
    page = browse(house.owner, second_factor=False)
    page.goto(f"/actions/{action['id']}")
    expect(page.locator("main")).to_contain_text("Nobody knows whether it happened")
    form = page.locator("#reconcile")
    form.get_by_label("Yes, it happened").check()
    form.locator("[name=reference]").fill("version 2 of con_ruth")
    form.locator("[name=reason]").fill("Seen in the CRM")
    right = browse.code(house.owner)
    form.locator("[name=totp]").fill(f"{(int(right) + 500_000) % 10**6:06d}")
    form.get_by_role("button", name="Settle it").click()
    expect(page.get_by_role("alert")).to_contain_text("This code is not right")
    assert form.locator("[name=reason]").input_value() == "Seen in the CRM"
    browse.look(page, "action-unknown")
    form.get_by_label("Yes, it happened").check()
    form.locator("[name=totp]").fill(browse.code(house.owner))
    form.get_by_role("button", name="Settle it").click()
    expect(page.locator("main")).to_contain_text("Settled: it happened.")
    shown = agent.action(action["id"])
    assert shown["status"] == "succeeded"
    assert shown["status_reason"] == "Seen in the CRM (reference at the provider: version 2 of con_ruth)"


def test_what_is_there_is_looked_at_before_it_is_decided(
    browse: Browsing, world: World, house: Organisation, agent: Agent
) -> None:
    """By an approver, who may read nothing else there, without script; and what moved meanwhile is said."""
    change_behind_our_back(world, "con_ada", title="Purchasing")
    agent.observe(GET, args={"contact_id": "con_ada"})
    args = {"contact_id": "con_ada", "version": contact(world, "con_ada")["version"], "title": "Queen <b>of all</b>"}
    action = agent.propose(UPDATE, args, confidence=0.1)
    page = browse(house.approver, f"/exceptions/{action['exception']['id']}", script=False)
    there = page.locator("section", has=page.get_by_role("heading", name="What is there now"))
    change = there.locator("table", has_text="Would become").get_by_role("row", name=re.compile("^Title"))
    expect(change.get_by_role("cell")).to_have_text(["Purchasing", "Queen <b>of all</b>"])
    there.get_by_role("button", name="Look at it now").click()
    expect(page.get_by_role("status").first).to_contain_text("Looked at just now")
    expect(there).to_contain_text("Nothing that it rests on has moved")
    change_behind_our_back(world, "con_ada", title="Left \u202ethe company")
    there.get_by_role("button", name="Look at it now").click()
    expect(there.get_by_role("alert")).to_contain_text("Something has moved since this was decided on")
    expect(there.get_by_role("alert")).to_contain_text("nothing is sent")
    expect(there.get_by_role("alert")).not_to_contain_text("Untrusted")
    expect(change.get_by_role("cell").first).to_have_text("Left [U+202E]the company")
    browse.look(browse(house.approver, page.url.partition("?")[0]), "exception-looked-at")

    plain = agent.propose(NOTE, note(), confidence=0.1)
    page.goto(f"/exceptions/{plain['exception']['id']}")
    expect(page.locator("main")).to_contain_text("This provider does not say how to look at it.")
    expect(page.get_by_role("button", name="Look at it now")).to_have_count(0)
