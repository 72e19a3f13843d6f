"""Dead letters in a real browser: what was not done is found, understood, tried again (by the gate) or cancelled."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing
from tests.http.constitutions import in_force, publish, rule
from tests.http.integrator import PAY, Agent, access_spec, at_work, decide, join, new_organisation, payment
from tests.http.test_dead_letters import break_next, dead, driven
from tests.http.world import World

NOTE = "Add a note to a contact. The provider answered 429"
BILL = "Pay a vendor from one of our accounts: 47.12 EUR. The provider answered 429"


@pytest.fixture(scope="module")
def house(world: World) -> Organisation:
    made = new_organisation(world)
    made.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(made))
    return made


@pytest.fixture
def agent(house: Organisation) -> Iterator[Agent]:
    with at_work(house) as working:
        yield working


def dead_payment(world: World, house: Organisation, agent: Agent) -> str:
    """A payment of 47.12 EUR that the bank was too busy for, six times."""
    break_next(world, "bank", "payments.create", 6)
    action = agent.propose(PAY, payment(4712))
    ok(decide(house.approver, action))
    assert driven(world, action["id"]) == "dead_letter"
    return str(action["id"])


def try_again(page: Page, reason: str, button: str = "Try it again") -> None:
    page.locator("#requeue").get_by_label("Why it works now").fill(reason)
    page.locator("#requeue").get_by_role("button", name=button).click()


def test_one_is_tried_again_and_another_one_given_up_for_good(
    browse: Browsing, world: World, house: Organisation, agent: Agent
) -> None:
    """By an approver whose browser has no JavaScript; an auditor before them sees the same, and who can do it."""
    noted, paid = dead(world, agent, "Tried again"), dead_payment(world, house, agent)
    reading = browse(join(house, "auditor"), f"/dead-letters/{noted}")
    expect(reading.locator("main")).to_contain_text("Owners, admins and approvers can try it again")
    expect(reading.locator("main")).to_contain_text("Your role cannot cancel it")
    assert reading.locator("main form[method=post]").count() == 0
    reading.get_by_role("link", name="Dead letters").first.click()
    expect(reading.locator("[data-row]")).to_have_count(2)

    looking = browse(house.approver, "/dead-letters")
    browse.look(looking, "dead-letters")
    looking.get_by_role("link", name=NOTE).click()
    expect(looking.get_by_role("button", name="Try it again")).to_be_visible()
    browse.look(looking, "dead-letter")

    page = browse(house.approver, f"/dead-letters?tool={PAY}", script=False)
    main = page.locator("main")
    expect(page.locator("[data-row]")).to_have_count(1)
    page.goto("/dead-letters")
    expect(page.locator("[data-row]").first).to_contain_text(BILL)
    page.get_by_role("link", name=NOTE).click()
    expect(page).to_have_url(re.compile(f"/dead-letters/{noted}$"))
    expect(main).to_contain_text("Given up")
    expect(main.locator("summary", has_text="Attempt")).to_have_count(6)
    expect(main).to_contain_text("Tried again")
    expect(main).to_contain_text("Nothing has moved: it is tried again as it was decided.")
    try_again(page, "The CRM is well again")
    expect(page).to_have_url(re.compile(f"/actions/{noted}"))
    expect(main).to_contain_text("It is tried again, with fresh attempts")
    assert agent.settled(noted)["status"] == "succeeded"
    assert [each["body"] for each in world.notes(noted)] == ["Tried again"]

    page.goto(f"/dead-letters/{paid}")
    page.locator("summary", has_text="Cancel it…").click()
    form = page.locator("form").filter(has=page.get_by_role("button", name="Cancel the action"))
    form.get_by_label("Why").fill("Paid at the counter")
    form.get_by_role("button").click()
    expect(main).to_contain_text("Cancelled. It is never done.")
    expect(main).to_contain_text("Paid at the counter")
    assert world.transfers(paid) == []
    page.goto("/dead-letters")
    expect(main).to_contain_text("Nothing was given up")
    page.goto(f"/dead-letters/{paid}")  # dealt with: on to the action
    expect(page).to_have_url(re.compile(f"/actions/{paid}$"))


def test_what_has_moved_goes_through_the_gate_again(
    browse: Browsing, world: World, house: Organisation, agent: Agent
) -> None:
    """What the rules deny by now stays where it is, with what was typed; then a person decides on a new action."""
    action = dead_payment(world, house, agent)
    kept = in_force(house)["rules"]
    publish(house, [*kept, rule("no-payments", "deny", f'action.tool == "{PAY}"')])
    page = browse(house.owner, f"/dead-letters/{action}")
    main = page.locator("main")
    expect(main.get_by_role("heading", name="What has moved since it was decided")).to_be_visible()
    browse.look(page, "dead-letter-moved")
    try_again(page, "The bank is well again", "Send it through the gate again")
    expect(page.get_by_role("alert")).to_contain_text("The gate denies it as things are now; nothing was changed.")
    expect(page.locator("#requeue-reason")).to_have_value("The bank is well again")
    assert agent.action(action)["status"] == "dead_letter"

    publish(house, kept)
    try_again(page, "The bank is well again", "Send it through the gate again")
    expect(main).to_contain_text("This took its place, and went through the gate again.")
    anew = re.search(r"/actions/([0-9a-f-]{36})", page.url)
    assert anew is not None
    assert anew[1] != action
    new = agent.action(anew[1])
    assert (new["status"], new["supersedes"]) == ("awaiting_approval", action)
    assert agent.action(action)["status"] == "superseded"
    ok(decide(house.approver, new))
    assert agent.settled(new["id"])["status"] == "succeeded"
    assert world.transfers(action) == []
    assert len(world.transfers(new["id"])) == 1

    stranger = browse(new_organisation(world, connected=False, name="Strangers Ltd").owner)
    answer = stranger.goto(f"/dead-letters/{action}")
    assert answer is not None
    assert answer.status == 404
