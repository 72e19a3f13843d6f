"""Deciding one exception in a real browser: by mouse, by keyboard, without JavaScript, and two people at once."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sandbox.organisation import Organisation
from tests.browser.browsing import Browsing
from tests.http.integrator import NOTE, PAY, Agent, join, note, payment

HOSTILE = (
    "Hello \u202e\u200b<script>alert(1)</script><img src=x onerror=alert(2)> [pay](https://evil.example) " + "x" * 3000
)


def address(action: dict[str, Any]) -> str:
    return f"/exceptions/{action['exception']['id']}"


def status(page: Page) -> Any:
    return page.locator(".page-head")


def unsure(agent: Agent, text: str = "Called back") -> dict[str, Any]:
    """A note that waits for nothing but a person who is surer than the agent."""
    return agent.propose(NOTE, note(text), confidence=0.1)


def test_what_it_takes_to_decide_is_on_the_page(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    action, _ = agent.propose(PAY, payment()), unsure(agent)
    page = browse(shared.approver, address(action))
    expect(page.get_by_role("heading", level=1)).to_contain_text("12.50 EUR")
    main = page.locator("main")
    for told in ("DE94", "Northwind Paper GmbH", "INV-2001", "Hard gate", "Counterparty", "2 d 23 h left", "95 %"):
        expect(main).to_contain_text(told)
    expect(main).to_contain_text("Needs 1 approval by owner or approver with a second factor. 0 of 1 given.")
    expect(page.locator("[data-copy]").filter(has_text=re.compile("[0-9a-f]{4}")).first).to_be_visible()
    browse.look(page, "exception")
    page.get_by_role("button", name="Approve").click()
    expect(main).to_contain_text("Approved. It is being executed.")
    expect(page.get_by_role("status").filter(has_text="Approved.")).to_be_focused()
    expect(main).to_contain_text("Make this a rule?")
    expect(page.locator("#decide")).to_contain_text(shared.approver.name)
    assert agent.settled(action["id"])["status"] == "succeeded"
    page.go_back()
    expect(page.locator("#decide")).to_contain_text("Decided")
    page.keyboard.press("n")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    page.wait_for_load_state()  # the next key is for this page's script
    page.keyboard.press("r")
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Say why: a reason is needed")
    page.keyboard.press("u")
    expect(page.get_by_role("heading", level=1)).to_have_text("Exceptions")


def test_the_next_that_waits_is_one_that_the_person_can_still_answer(
    browse: Browsing, shared: Organisation, agent: Agent
) -> None:
    """After the first of two approvals too; and never that one again, which waits for somebody else by now."""
    large, small = agent.propose(PAY, payment(1_000_000)), unsure(agent)
    page = browse(shared.approver, address(large))
    page.get_by_role("button", name="Approve").click()
    onward = page.get_by_role("link", name="Next that waits")
    for _ in range(40):
        expect(onward).not_to_have_attribute("href", address(large))
        if onward.get_attribute("href") == address(small):
            break
        page.goto(str(onward.get_attribute("href")))
        page.get_by_text("Reject…").click()
        page.get_by_label("Duplicate").check()
        page.get_by_role("button", name="Reject", exact=True).click()
        page.wait_for_url("**done=rejected")
    expect(onward).to_have_attribute("href", address(small))
    page.goto(address(small))
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#decide")).to_contain_text("Decided")
    assert page.locator(f"#decide a[href='{address(large)}']").count() == 0


def test_what_matters_is_seen_before_anybody_scrolls(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    """Who wants what, to whom, why it stopped, what is unproven and what a yes does: within the first window."""
    payment_asked, note_asked = agent.propose(PAY, payment(990_000)), unsure(agent, "Call \u202eback " * 30)
    for action, told in (
        (payment_asked, ("accounts-payable-agent", "9,900.00 EUR", "DE94", "INV-2001", "payee unknown", "Amount")),
        (note_asked, ("accounts-payable-agent", "changes a record", "con_ada", "[U+202E]", "The agent is not sure")),
    ):
        page = browse(shared.owner, address(action))
        short = page.locator(".brief")
        for each in (*told, "Exactly this is done, at once. It cannot be undone."):
            expect(short).to_contain_text(each)
        for width, height in ((1280, 800), (360, 740)):
            page.set_viewport_size({"width": width, "height": height})
            assert below(short) <= height, (width, below(short))
            decide = page.get_by_role("button", name="Approve") if width > 1000 else page.locator(".narrow-only")
            assert below(decide) <= height * 1.05, (width, below(decide))
        page.get_by_role("link", name="Decide").click()
        expect(page.get_by_role("button", name="Approve")).to_be_in_viewport()
    page = browse(shared.owner, address(payment_asked))
    expect(page.locator(".finding").filter(has_text="Where the values come from").first).to_contain_text("9,900.00 EUR")
    page.mouse.wheel(0, 1500)
    expect(page.get_by_role("button", name="Approve")).to_be_in_viewport()


def below(place: Any) -> float:
    """Where something ends, in pixels from the top of the page."""
    return float(place.evaluate("element => element.getBoundingClientRect().bottom + scrollY"))


def test_the_keyboard_is_enough(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    action = unsure(agent)
    page = browse(shared.owner, address(action))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("r")
    expect(page.get_by_label("Wrong amount")).to_be_visible()
    page.get_by_label("Wrong amount").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("It says twelve")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Rejected. Nothing was executed.")
    expect(page.locator("main")).to_contain_text("Wrong amount. It says twelve")
    assert agent.action(action["id"])["status"] == "rejected"


def test_without_script_and_with_the_second_factor_in_place(
    browse: Browsing, shared: Organisation, agent: Agent
) -> None:
    """A session without a second factor decides a payment by giving the code with the verdict."""
    action = agent.propose(PAY, payment())
    page = browse(shared.approver, second_factor=False, script=False)
    page.goto(address(action))
    page.get_by_label("Code of your second factor").fill("000000")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("This code is not right")
    assert agent.action(action["id"])["status"] == "awaiting_approval"
    page.get_by_label("Code of your second factor").fill(browse.code(shared.approver))
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("main")).to_contain_text("Approved. It is being executed.")
    page.goto(address(action))
    expect(page.get_by_label("Code of your second factor")).to_have_count(0)


def test_an_edited_payload_needs_somebody_else(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    action = agent.propose(PAY, payment())
    page = browse(shared.owner, address(action))
    page.get_by_role("link", name="Edit…").click()
    amount = page.get_by_label(re.compile("^Amount"))
    expect(amount).to_have_value("12.50")
    amount.fill("8.00")
    page.get_by_label("Why").fill("Eight were agreed")
    browse.look(page, "exception-edit")
    page.get_by_role("button", name="Send the edited payload").click()
    main = page.locator("main")
    expect(main).to_contain_text("waits for somebody else's approval")
    expect(page.get_by_role("heading", level=1)).to_contain_text("8.00 EUR")
    expect(main).to_contain_text("What was changed")
    edited = page.url.split("?")[0]
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot approve")
    other = browse(shared.approver, edited)
    other.get_by_role("button", name="Approve").click()
    expect(other.locator("main")).to_contain_text("Approved.")


def test_two_people_at_once(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    """One wins, and the other is told what became of it."""
    action = unsure(agent)
    first, second = browse(shared.owner, address(action)), browse(shared.approver, address(action))
    first.get_by_role("button", name="Approve").click()
    expect(first.locator("main")).to_contain_text("Approved.")
    second.locator("details.choice").filter(has_text="Reject").locator("summary").click()
    second.get_by_label("Looks like fraud").check()
    second.get_by_role("button", name="Reject", exact=True).click()
    expect(second.get_by_role("alert")).to_be_visible()
    expect(status(second)).to_contain_text("Approved")
    assert agent.settled(action["id"])["status"] == "succeeded"


def test_handing_over_and_comments(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    action = unsure(agent)
    page = browse(shared.owner, address(action))
    page.get_by_label("Your comment").fill(HOSTILE)
    page.get_by_role("button", name="Comment").click()
    expect(page.locator("main")).to_contain_text("Your comment is recorded.")
    expect(page.locator("article.comment")).to_contain_text("<script>alert(1)</script>")
    expect(page.locator("article.comment")).to_contain_text("[U+202E]")
    page.get_by_label("Whose is it").select_option(value=shared.approver.user_id)
    page.get_by_role("button", name="Hand over").click()
    expect(page.locator("main")).to_contain_text("Handed over.")
    expect(page.get_by_label("Whose is it")).to_have_value(shared.approver.user_id)


def test_what_comes_from_outside_is_text(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    """Whatever is in it: no markup, no link, nothing that turns the text around it."""
    action = agent.propose(NOTE, note(HOSTILE), confidence=0.1, rationale=HOSTILE)
    page = browse(shared.owner, address(action))
    main = page.locator("main")
    expect(main).to_contain_text("<img src=x onerror=alert(2)>")
    expect(main).to_contain_text("[U+202E]")
    assert page.locator("main img").count() == 0
    assert page.locator("main a[href*='evil.example']").count() == 0
    assert "\u202e" not in page.content()
    browse.axe(page)
    assert len(page.content().encode()) < 150_000


def test_what_is_not_shown_whole_says_so_where_it_is_decided(
    browse: Browsing, shared: Organisation, agent: Agent
) -> None:
    """What matters may stand behind what fills the page: nobody approves it unwarned, with a script or without."""
    text = "\u202e\u202d" * 1995 + "PAY ME"
    action = agent.propose(NOTE, note(text), confidence=0.1)
    page = browse(shared.owner, address(action))
    main = page.locator("main")
    expect(main.get_by_role("alert")).to_contain_text("Not all of it is shown here")
    expect(main).not_to_contain_text("PAY ME")
    page.get_by_role("button", name="Approve").click()
    assert agent.action(action["id"])["status"] == "awaiting_approval"
    browse.axe(page)
    told = page.context.request.get(f"{page.url.partition('?')[0]}/payload")
    assert told.headers["content-type"] == "text/plain; charset=utf-8"
    assert (json.loads(told.text())["args"]["body"], told.text().isascii()) == (text, True)
    page.get_by_label("I have read the whole payload").evaluate("box => { box.required = false }")
    page.get_by_role("button", name="Approve").click()
    expect(main.get_by_role("alert").first).to_contain_text("Read the whole payload first")
    page.get_by_label("I have read the whole payload").check()
    page.get_by_role("button", name="Approve").click()
    expect(main).to_contain_text("Approved. It is being executed.")
    short = browse(shared.owner, address(unsure(agent)))
    expect(short.locator("main").get_by_role("alert")).to_have_count(0)


def test_keys_can_be_switched_off(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    """For good in this browser, and on again by a button that needs none (WCAG 2.2, 2.1.4)."""
    page = browse(shared.owner, address(unsure(agent)))
    page.get_by_role("button", name="Keys").click()
    dialog = page.get_by_role("dialog")
    browse.axe(page)
    browse.shot(page, "keys")
    dialog.get_by_label("Use these keys in this browser").uncheck()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    reason = page.get_by_label("In your words")
    for _ in range(2):
        page.keyboard.press("?")
        page.keyboard.press("r")
        page.keyboard.press("u")
        expect(dialog).to_have_count(0)
        expect(reason).to_be_hidden()
        page.reload()
    page.get_by_role("button", name="Keys").click()
    dialog.get_by_label("Use these keys in this browser").check()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("r")
    expect(reason).to_be_visible()
    # Once a form is on its way, no key leads anywhere else.
    page.evaluate("document.forms.reject.dispatchEvent(new SubmitEvent('submit', { bubbles: true }))")
    page.locator("h1").click()
    page.keyboard.press("?")
    page.keyboard.press("u")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Exceptions")


@pytest.mark.parametrize("role", ["auditor"])
def test_who_may_not_decide_is_told_so(browse: Browsing, shared: Organisation, agent: Agent, role: str) -> None:
    reader = join(shared, role, name="Ada Reader")
    page = browse(reader, address(unsure(agent)))
    expect(page.locator("main")).to_contain_text("Your role can look, and not decide.")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
