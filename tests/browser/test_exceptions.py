"""The inbox in a real browser: its tabs and filters, by keyboard and without JavaScript; several decided at once."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from sandbox.organisation import Organisation, ok, once
from tests.browser.browsing import Browsing
from tests.http.integrator import NOTE, PAY, at_work, note, payment, vouched_for


def test_an_empty_inbox_says_so(browse: Browsing, fresh: Organisation) -> None:
    page = browse(fresh.owner, "/exceptions")
    expect(page.locator("main")).to_contain_text("Nothing waits")
    page.get_by_role("link", name="Mine").click()
    expect(page.locator("main")).to_contain_text("Nothing waits for you")
    browse.look(page, "exceptions-empty")


def test_the_inbox_and_several_decided_together(browse: Browsing, fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        paid = agent.propose(PAY, payment(70000))
        notes = [agent.propose(NOTE, note(f"Called {n}" + " and" * 900 * (n == 2)), confidence=0.1) for n in range(3)]
        assigned = {"user_id": fresh.owner.user_id}
        place = f"/v1/exceptions/{paid['exception']['id']}/assign"
        ok(fresh.owner.api.post(place, json=assigned, headers=once()))
        page = browse(fresh.owner, "/exceptions")
        row = page.get_by_role("row").filter(has_text="700.00 EUR")
        payee = "to Northwind Paper GmbH, DE94000123450532013000 none of it in the directory"
        for told in ("Always needs a person", "payee unknown", payee, "left", "you", "Pay vendor bills"):
            expect(row).to_contain_text(told)
        expect(page.locator("[data-poll]")).to_have_text("4")
        assert row.get_by_role("checkbox").count() == 0
        assert page.get_by_role("checkbox").count() == 3
        browse.look(page, "exceptions")

        vouched_for(fresh, "Northwind Paper GmbH", {"type": "bank_account", "iban": "DE94000123450532013000"})
        page.get_by_role("link", name=re.compile("^Mine")).click()
        expect(page.locator("[data-row]")).to_have_count(1)
        expect(page.locator("[data-row]")).to_contain_text("to Northwind Paper GmbH cooling off")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(paid["exception"]["id"]))

        page.goto("/exceptions")
        page.get_by_label("Order").select_option("amount")
        page.get_by_label("Kind").select_option("approval")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("[data-row]").first).to_contain_text("700.00 EUR")
        page.get_by_label("Severity").select_option("critical")
        page.get_by_label("Waits for").select_option("72")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("main")).to_contain_text("Nothing is like that")

        # Without JavaScript, from here on.
        plain = browse(fresh.approver, "/exceptions?tab=unassigned", script=False)
        for box in plain.get_by_role("checkbox").all():
            box.check()
        plain.get_by_role("button", name="Decide the selected together").click()
        expect(plain.get_by_role("heading", level=1)).to_have_text("Decide 3 exceptions together")
        expect(plain.get_by_role("alert")).to_contain_text("1 payload not shown whole")
        expect(plain.get_by_role("link", name="all of it")).to_have_count(1)
        reject = {"verdict": "reject", "digest": notes[0]["digest"], "reason": "No"}
        place = f"/v1/exceptions/{notes[0]['exception']['id']}/decision"
        ok(fresh.owner.api.post(place, json=reject, headers=once()))
        plain.get_by_label(re.compile("^Reason")).fill("All three were called")
        plain.get_by_role("button", name="Approve all 3").click()
        expect(plain.get_by_role("status").first).to_contain_text("2 decisions recorded. 1 exception could not be")
        expect(plain.locator("main")).to_contain_text("This exception is rejected already.")
        assert agent.settled(notes[1]["id"])["status"] == "succeeded"
        page.goto("/exceptions?tab=decided")
        expect(page.locator("[data-row]")).to_have_count(3)
        browse.shot(page, "exceptions-decided")


def test_what_is_not_decided_together_is_refused(browse: Browsing, fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        made = [agent.propose(PAY, payment(1250)), agent.propose(NOTE, note(), confidence=0.1)]
        made.append(agent.propose(NOTE, note("Called again"), confidence=0.1))
    payment_, first, second = (each["exception"]["id"] for each in made)
    browse.forgive("422")
    page = browse(fresh.approver, f"/exceptions/together?id={payment_}")
    expect(page.get_by_role("alert")).to_contain_text("each is decided by itself")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    page.goto(f"/exceptions/together?id={payment_}&id={first}")
    expect(page.get_by_role("alert")).to_contain_text("not all of one class")
    page.goto(f"/exceptions/together?id={second}&id={first}")
    expect(page.locator("main")).to_contain_text("Called again")
    browse.look(page, "exceptions-together")
