"""Rules as people read, change and publish them; and how a decision becomes one. Two people, two browsers."""

import re

from playwright.sync_api import Locator, Page, expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing
from tests.http.amendments import unsure
from tests.http.constitutions import drafted, in_force, publish, rule, submitted
from tests.http.integrator import NOTE, PAY, at_work, decide, join, note, payment


def form(page: Page, action: str) -> Locator:
    return page.locator(f"form[action$='{action}']")


def begin(page: Page, reason: str) -> None:
    form(page, "/constitution/drafts").locator("[name=reason]").fill(reason)
    page.get_by_role("button", name="Begin the draft").click()


def test_a_rule_is_changed_tried_and_published_by_a_second_person(browse: Browsing, fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        asked = agent.propose(NOTE, note(), confidence=0.9, citations=[])
    assert asked["status"] == "awaiting_approval"
    page = browse(fresh.owner, "/constitution")
    rule = page.get_by_role("article", name="Say why")
    expect(rule).to_contain_text("size(action.citations) == 0")
    expect(rule).to_contain_text("since version 1")
    browse.look(page, "constitution")
    rule.get_by_role("link", name="Change").click()
    begin(page, "Sure agents need not cite.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Edit the rule say-why")
    draft = re.sub(r"/rule\?.*", "", page.url)

    # What is wrong is told while it is typed, and whether it lets more happen.
    when, told = page.locator("[name=when]"), page.locator("#check")
    when.fill("size(action.citatoins) == 0")
    expect(told).to_contain_text("It cannot be saved as it is")
    page.get_by_role("button", name="Save in the draft").click()
    expect(page.locator(".field", has=when)).to_contain_text("citatoins")
    when.fill("size(action.citations) == 0 && action.confidence < 0.8")
    expect(told).to_contain_text("It may let more happen without a person: somebody other than you publishes it.")
    browse.look(page, "constitution-rule")
    page.get_by_role("button", name="Save in the draft").click()
    expect(page.locator("main")).to_contain_text("Saved in the draft.")
    expect(page.locator("#changes + .finding")).to_contain_text("may let more happen")

    page.get_by_role("link", name="Try on the past").click()
    [row] = page.locator("[data-row]").all()
    expect(row).to_contain_text("Asks a person")
    expect(row.locator("td[data-label='Under it']")).to_have_text("Allowed")
    expect(row.get_by_role("link")).to_have_attribute("href", f"/actions/{asked['id']}")
    browse.axe(page)
    page.goto(f"{draft}/simulate?action={asked['id']}")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("main")).to_contain_text("The draft decides otherwise.")
    browse.axe(page)

    page.goto(draft)
    page.get_by_role("button", name="Submit for review").click()
    expect(page.locator("#decide")).to_contain_text("Somebody else publishes it.")
    assert page.get_by_role("button", name="Publish").count() == 0
    browse.look(page, "constitution-draft")

    admin = join(fresh, "admin")
    other = browse(admin, draft, second_factor=False)
    publish = form(other, "/decision").filter(has_text="in force at once, as version 2")
    expect(publish).to_contain_text("More may happen without a person.")
    publish.locator("[name=totp]").fill(browse.code(admin))
    publish.get_by_role("button", name="Publish version 2").click()
    expect(other.locator("main")).to_contain_text("These rules are in force from now on.")
    assert in_force(fresh)["version"] == 2
    page.goto("/constitution/versions/2")
    expect(page.locator(".finding")).to_contain_text("action.confidence < 0.8")
    browse.axe(page)
    page.goto("/constitution/library")
    browse.axe(page)
    page.goto("/constitution/versions/1")
    form(page, "/restore").locator("[name=reason]").fill("Agents got too sure.")
    page.get_by_role("button", name="Draft version 1 anew").click()
    expect(page.locator(".page-head").first).to_contain_text("from version 1")


def test_without_script_a_rule_is_taken_over_checked_and_published_by_its_author(
    browse: Browsing, fresh: Organisation
) -> None:
    page = browse(fresh.owner, "/constitution/library?area=finance", script=False)
    taken = page.get_by_role("article").first
    named = taken.locator("code").first.inner_text()
    taken.get_by_role("link", name="Take over").click()
    begin(page, "Ready rules are good rules.")
    if not page.locator("[name=amounts]").is_visible():
        page.get_by_text("Bounds", exact=True).click()
    page.locator("[name=amounts]").fill("EUR none to 12")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#check")).to_contain_text("It cannot be saved as it is")
    assert page.locator("[name=amounts]").input_value() == "EUR none to 12.00"
    page.locator("[name=amounts]").fill("EUR 100 to 90000.50")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#check")).to_contain_text("It lets nothing more happen without a person.")
    page.get_by_role("button", name="Save in the draft").click()
    page.get_by_role("button", name="Submit for review").click()
    page.get_by_role("button", name="Publish version 2").click()
    expect(page.locator("main")).to_contain_text("These rules are in force from now on.")
    [added] = [rule for rule in in_force(fresh)["rules"] if rule["id"] == named]
    assert added["origin"]["kind"] == "library"
    assert added["bounds"]["amounts"] == {"EUR": [10_000, 9_000_050]}


def test_two_who_write_one_draft_in_two_windows_do_not_overwrite_each_other(
    browse: Browsing, fresh: Organisation
) -> None:
    page = browse(fresh.owner, "/constitution/drafts/new?rule=say-why", script=False)
    begin(page, "Twice")
    editor = page.url
    other = browse(fresh.owner, editor, script=False)
    for window, title in ((page, "Mine"), (other, "Theirs")):
        window.locator("[name=title]").fill(title)
        window.get_by_role("button", name="Save in the draft").click()
    expect(other.get_by_role("alert")).to_contain_text("The draft has changed meanwhile")
    assert other.locator("[name=title]").input_value() == "Theirs"
    page.goto(editor)
    assert page.locator("[name=title]").input_value() == "Mine"


def test_an_overtaken_draft_is_brought_up_without_script(browse: Browsing, fresh: Organisation) -> None:
    """What was published since is told, and what the draft changed kept; of what both changed its author says whose."""
    before = in_force(fresh)["rules"]
    say, look, *rest = before
    mine = [say | {"principle": "Mine."}, look | {"title": "Look twice"}, *rest]
    draft = submitted(fresh.owner, mine, in_force(fresh)["version"])
    publish(fresh, [say | {"principle": "Theirs."}, look, *rest, rule("never", "deny", "false")])
    address = f"/constitution/drafts/{draft['id']}"
    page = browse(fresh.owner, address, script=False)
    page.get_by_role("link", name="Bring it up to version 2…").click()
    main = page.locator("main")
    expect(main.locator("#since ~ .finding")).to_have_count(2)
    expect(main.locator("#kept ~ .finding")).to_contain_text("Look twice")
    expect(main.get_by_role("group", name="Say why")).to_contain_text("Mine.")
    page.get_by_role("button", name="Show what it would be").click()
    expect(main.get_by_role("alert")).to_have_count(0)
    page.get_by_label("As my draft has it").check()
    page.get_by_role("button", name="Show what it would be").click()
    expect(main.locator("#kept ~ .finding")).to_have_count(2)
    expect(page.get_by_label("As my draft has it")).to_be_checked()
    page.get_by_role("button", name="Bring it up to version 2").click()
    expect(main).to_contain_text("It is up to date, with what it changed.")
    assert not page.url.partition("?")[0].endswith(address)
    page.get_by_role("button", name="Submit for review").click()
    page.get_by_role("button", name="Publish version 3").click()
    told = {each["id"]: each for each in in_force(fresh)["rules"]}
    assert (told["say-why"]["principle"], told["look-before-paying"]["title"]) == ("Mine.", "Look twice")
    assert "never" in told
    page.goto(f"{address}/rebase")
    expect(main).to_contain_text("This draft is withdrawn")
    other = drafted(fresh.owner, [*in_force(fresh)["rules"], rule("one-more")], 3)
    publish(fresh, [*in_force(fresh)["rules"], rule("one-more", "deny", "false")])
    page.goto(f"/constitution/drafts/{other['id']}/rebase")
    publish(fresh, [*in_force(fresh)["rules"], rule("later", "deny", "false")])
    page.get_by_label("As my draft has it").check()
    page.get_by_role("button", name="Bring it up to version 4").click()
    expect(main.get_by_role("alert")).to_contain_text("Version 5 is in force by now")
    expect(page.get_by_label("As my draft has it")).to_be_checked()
    expect(main.locator("#kept ~ .finding")).to_contain_text("one-more")
    looker = browse(fresh.approver, f"/constitution/drafts/{other['id']}/rebase")
    expect(looker.locator("main")).to_contain_text("Its author brings it up.")
    browse.look(looker, "constitution-rebase")


def test_a_decision_becomes_a_rule_that_a_second_person_adopts_and_the_class_passes(
    browse: Browsing, fresh: Organisation
) -> None:
    with at_work(fresh) as agent:
        approved, rejected = unsure(agent, 0.4), unsure(agent, 0.6, "Called nobody")
        ok(decide(fresh.approver, approved))
        ok(decide(fresh.approver, rejected, "reject"))
        page = browse(fresh.approver, f"/exceptions/{approved['exception']['id']}")
        page.get_by_role("link", name="Make this a rule?").click()
        browse.look(page, "amendment-new")
        page.locator("main [name=reason]").fill("Notes may be wrong.")
        page.get_by_role("button", name="Propose the rule and try it").click()
        expect(page.locator("main")).to_contain_text("Nothing is in force until it is adopted.")
        expect(page.locator("#decide")).to_contain_text("Owners and admins adopt rules")
        amendment = page.url.partition("?")[0]

        owner = browse(fresh.owner, "/amendments")
        browse.axe(owner)
        owner.locator("[data-row]").get_by_role("link").click()
        expect(owner.get_by_role("article")).to_contain_text("It need not wait for a person because of: confidence.")
        expect(owner.get_by_role("alert")).to_contain_text("1 time it would have allowed")
        first, second = owner.locator("[data-row]").all()
        expect(first).to_contain_text("goes against it")
        expect(first.get_by_role("link")).to_have_attribute("href", f"/actions/{rejected['id']}")
        expect(second.get_by_role("link")).to_have_attribute("href", f"/actions/{approved['id']}")
        browse.look(owner, "amendment")

        adopt = form(owner, "/adopt")
        adopt.get_by_role("button", name="Adopt the rule").click()
        expect(owner).to_have_url(amendment)  # the browser asks for the acknowledgement first
        adopt.get_by_role("checkbox").check()
        adopt.get_by_role("button", name="Adopt the rule").click()
        expect(owner.locator("main")).to_contain_text("The rule is in force from now on.")
        expect(owner.locator("#decide")).to_contain_text("knew that it goes against 1 decision of people")
        again = agent.propose(NOTE, note("Called once more"), confidence=0.5)
        assert again["status"] == "authorized"
        assert in_force(fresh)["rules"][-1]["id"] in again["decision"]["rules_matched"]
        page.goto("/constitution")
        expect(page.get_by_role("article").last).to_contain_text("an amendment, from a decision of people")


def test_what_no_rule_lifts_is_said_with_what_helps_and_who_proposed_does_not_adopt(
    browse: Browsing, fresh: Organisation
) -> None:
    with at_work(fresh) as agent:
        action, paid, refused = unsure(agent), agent.propose(PAY, payment(1250)), agent.propose(PAY, payment(9_900))
    page = browse(fresh.owner, f"/exceptions/{action['exception']['id']}/amendment")
    expect(page.get_by_role("heading", level=2)).to_have_text("A rule begins with a verdict")
    ok(decide(fresh.approver, action))
    ok(decide(fresh.approver, paid))
    page.goto(f"/exceptions/{paid['exception']['id']}/amendment")
    expect(page.get_by_role("alert")).to_contain_text("a person approves it, every time. What helps: Nothing does")
    expect(page.locator("main [name=reason]")).to_have_count(0)

    # What was rejected is refused from a sum on, which whoever proposes the rule may raise.
    ok(decide(fresh.approver, refused, "reject"))
    page.goto(f"/exceptions/{refused['exception']['id']}/amendment")
    expect(page.get_by_role("article", name="The rule, as narrow as it can be")).to_contain_text("from 50.00 EUR")
    least = page.get_by_label("From, in EUR")
    expect(least).to_have_value("50.00")
    page.locator("main [name=reason]").fill("Nobody ordered it.")
    least.fill("many")
    page.get_by_role("button", name="Propose the rule and try it").click()
    expect(page.locator(".field", has=least).locator(".error")).to_be_visible()
    expect(least).to_have_value("many")
    browse.look(page, "amendment-bounds")
    least.fill("80")
    boxes = page.get_by_role("group", name="For which of its counterparties").get_by_role("checkbox")
    expect(boxes.last).to_be_checked()
    boxes.last.uncheck()
    page.get_by_role("button", name="Propose the rule and try it").click()
    expect(page.get_by_role("article", name="The rule")).to_contain_text("from 80.00 EUR")

    page.goto(f"/exceptions/{action['exception']['id']}/amendment")
    page.locator("main [name=reason]").fill("Notes may be wrong.")
    page.get_by_role("button", name="Propose the rule and try it").click()
    expect(page.locator("#decide")).to_contain_text("Somebody else adopts it.")
    assert page.get_by_role("button", name="Adopt the rule").count() == 0
    page.get_by_role("button", name="Withdraw…").click()
    page.get_by_role("button", name="Withdraw it").click()
    expect(page.locator("main")).to_contain_text("Taken back. Nothing changes.")
