"""The kill switch in the browser: stop, see the proof, let go in stages."""

import re

from playwright.sync_api import expect

from sandbox.organisation import Organisation
from tests.browser.browsing import Browsing
from tests.http.integrator import NOTE, PAY, at_work, join, note, payment


def test_something_is_stopped_shown_and_let_go_in_stages(browse: Browsing, fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        waiting = agent.propose(PAY, payment())
        operator = browse(join(fresh, "operator"), "/kill-switches", script=False)
        expect(operator.locator("main")).to_contain_text("Nothing is stopped")
        operator.get_by_role("button", name="Stop it now").click()
        expect(operator).to_have_url(re.compile("/kill-switches$"))  # the browser asks for what is missing
        operator.locator("[name=what]").select_option(label="Pay vendor bills (sandbox)")
        operator.locator("[name=reason]").fill("Bills are paid twice")
        operator.get_by_role("button", name="Stop it now").click()
        expect(operator.get_by_role("heading", level=1)).to_have_text("Pay vendor bills (sandbox)")
        expect(operator.locator("main")).to_contain_text("Nothing had left")
        held = operator.locator(f"a[href='/actions/{waiting['id']}']")
        expect(held).to_have_text("Pay a vendor from one of our accounts")
        expect(operator.get_by_role("button", name="Let it go that far")).to_have_count(0)
        assert agent.propose(NOTE, note("By hand"))["status"] == "denied"

        page = browse(fresh.owner, "/kill-switches")
        expect(page.locator("main")).to_contain_text("1 kill switch engaged")
        browse.look(page, "kill-switches")
        page.get_by_role("link", name="Pay vendor bills (sandbox)").click()
        expect(page.locator("main")).to_contain_text("1 thing")
        browse.look(page, "kill-switch")
        for stage, told in (("drafts", "Drafts only"), ("one_at_a_time", "One at a time"), ("released", "Released")):
            page.locator("[name=stage]").select_option(stage)
            page.locator("[name=reason]").fill("Looked into")
            page.get_by_role("button", name="Let it go that far").click()
            expect(page.locator("header.page-head")).to_contain_text(told)
        expect(page.locator("main")).to_contain_text("It is over")
        page.goto("/workflows")
        expect(page.get_by_role("row").filter(has_text="Pay vendor bills")).to_contain_text("Runs")
        assert agent.propose(NOTE, note("As before"))["status"] == "authorized"


def test_letting_go_asks_for_the_second_factor_in_place(browse: Browsing, fresh: Organisation) -> None:
    page = browse(fresh.owner, second_factor=False)
    page.goto("/kill-switches")
    page.locator("[name=what]").select_option(label=f"Everything at {fresh_name(fresh)}")
    page.locator("[name=reason]").fill("Something is wrong")
    page.get_by_role("button", name="Stop it now").click()
    page.locator("[name=reason]").fill("It was nothing")
    page.locator("[name=stage]").select_option("released")
    page.locator("[name=totp]").fill("000000")
    page.get_by_role("button", name="Let it go that far").click()
    expect(page.get_by_role("alert")).to_contain_text("code")
    expect(page.locator("header.page-head")).to_contain_text("Everything stopped")
    page.locator("[name=totp]").fill(browse.code(fresh.owner))
    page.get_by_role("button", name="Let it go that far").click()
    expect(page.locator("header.page-head")).to_contain_text("Released")


def fresh_name(organisation: Organisation) -> str:
    name: str = organisation.owner.api.get("/v1/me").json()["tenant"]["name"]
    return name
