"""The directory in real browsers: one person proposes, another one checks, and bank details cool off."""

from __future__ import annotations

from playwright.sync_api import expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing

IBAN, OTHER = "DE89 3704 0044 0532 0130 00", "NL91 ABNA 0417 1643 00"


def test_an_entry_from_proposal_to_removal_by_two_people(browse: Browsing, fresh: Organisation) -> None:
    maker = browse(fresh.owner, "/directory")
    expect(maker.locator("main")).to_contain_text("The directory is empty")
    browse.look(maker, "directory-empty")
    maker.get_by_role("link", name="Propose a new entry").first.click()
    maker.get_by_label("Name").fill("Kestrel Software Ltd")
    maker.get_by_label("Environment").select_option("sandbox")
    maker.locator("[name='iban-0']").fill("DE893704")
    maker.get_by_label("E-mail addresses").fill("billing@kestrel.example\naccounts@kestrel.example")
    maker.locator("[name=reason]").fill("New vendor; contract \u202e of November")
    maker.get_by_role("button", name="Propose it").click()
    expect(maker.locator("#f-iban-0-error")).to_contain_text("This is no IBAN")
    expect(maker.get_by_label("E-mail addresses")).to_have_value("billing@kestrel.example\naccounts@kestrel.example")
    browse.look(maker, "directory-form")
    maker.locator("[name='iban-0']").fill(IBAN)
    maker.locator("[name='evidence-kind-0']").select_option("call_back")
    maker.locator("[name='evidence-0']").fill("their switchboard, 14:20")
    maker.locator("[name=reason]").fill("New vendor")
    maker.get_by_role("button", name="Propose it").click()
    expect(maker.locator("main")).to_contain_text("It waits for somebody else")
    expect(maker.get_by_role("button", name="Approve exactly this")).to_have_count(0)

    checker = browse(fresh.approver, "/directory")
    expect(checker.locator("main")).to_contain_text("1 change waits for a second person")
    checker.get_by_role("link", name="Look at what waits").click()
    checker.get_by_role("link", name="Kestrel Software Ltd").click()
    main = checker.locator("main")
    for told in ("DE89", "billing@kestrel.example", "Called back: their switchboard", "Olive Marsh", "not known yet"):
        expect(main).to_contain_text(told)
    browse.look(checker, "directory-change")
    checker.get_by_label("What you checked yourself").fill("Called them too")
    checker.get_by_role("button", name="Approve exactly this").click()
    checker.wait_for_url("**done=directory_approved")
    checker.get_by_role("link", name="The entry as it is now").click()
    expect(checker.get_by_role("row").filter(has_text="Bank account")).to_contain_text("Cooling off")
    expect(checker.get_by_role("row").filter(has_text="billing@")).to_contain_text("Trusted")
    expect(checker.locator("main")).to_contain_text("Olive Marsh")
    browse.look(checker, "directory-entry")

    # The other way round: the checker changes the account, and the first maker sees what was and what is to be.
    checker.get_by_role("link", name="Propose a change").click()
    checker.locator("[name='iban-0']").fill(OTHER)
    checker.locator("[name=reason]").fill("They changed banks")
    checker.get_by_role("button", name="Propose it").click()
    checker.wait_for_url("**done=directory_proposed")
    maker.goto(checker.url.partition("?")[0])
    expect(maker.get_by_role("row").filter(has_text="NL91")).to_contain_text("Added")
    expect(maker.get_by_role("row").filter(has_text="DE89")).to_contain_text("Removed")
    expect(maker.locator("main")).to_contain_text("named nothing that they went by")
    maker.get_by_text("Reject…").first.click()
    maker.locator("#reject-reason").fill("Their switchboard knows nothing of it")
    browse.axe(maker)
    maker.get_by_role("button", name="Reject it").click()
    maker.wait_for_url("**done=directory_rejected")
    expect(maker.locator("main")).to_contain_text("Their switchboard knows nothing of it")

    maker.goto("/directory?search=kestrel")
    expect(maker.get_by_role("row").filter(has_text="Kestrel")).to_contain_text("Cooling off")
    browse.look(maker, "directory")
    maker.get_by_role("link", name="Kestrel Software Ltd").click()
    maker.get_by_text("Propose its removal").first.click()
    maker.locator("[name=reason]").fill("Contract ended")
    maker.get_by_role("button", name="Propose the removal").click()
    checker.goto(maker.url.partition("?")[0])
    expect(checker.locator("main")).to_contain_text("is not vouched for any more")
    checker.get_by_role("button", name="Approve exactly this").click()
    checker.wait_for_url("**done=directory_approved")
    assert ok(fresh.owner.api.get("/v1/directory"))["items"] == []
    maker.goto("/directory/changes")
    expect(maker.get_by_role("row")).to_have_count(4)
    browse.look(maker, "directory-changes")


def test_without_javascript_a_proposal_is_made_taken_back_and_not_approved_by_its_maker(
    browse: Browsing, fresh: Organisation
) -> None:
    browse.look(browse(fresh.owner, "/directory/waiting-time"), "directory-waiting-time")
    page = browse(fresh.owner, "/directory/waiting-time", script=False)
    expect(page.locator("main")).to_contain_text("trusted 72 hours after")
    page.get_by_label("Hours").fill("96")
    page.locator("[name=reason]").fill("We were defrauded once")
    page.get_by_role("button", name="Propose it").click()
    expect(page.locator("main")).to_contain_text("not trusted for 96 hours")
    page.get_by_text("Take it back").first.click()
    page.locator("button", has_text="Take it back").click()
    expect(page.locator("main")).to_contain_text("The directory stays as it was")
    page.goto("/directory/waiting-time")
    page.get_by_label("Hours").fill("lots")
    page.locator("[name=reason]").fill("So that it is refused")
    page.get_by_role("button", name="Propose it").click()
    expect(page.locator("#f-cooling_off_hours-error")).to_contain_text("valid integer")
