"""Connections in a real browser: out to the bank's own consent page and back, and what is revoked afterwards."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import Page, expect

from sandbox.oauth.people import person
from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing
from tests.http.world import World


def test_what_is_connected_is_told_in_plain_words(browse: Browsing, shared: Organisation) -> None:
    page = browse(shared.owner, "/connections")
    row = page.get_by_role("row").filter(has_text="Sandbox bank").filter(has_text="Can write")
    expect(row).to_contain_text("can pay, refund")
    expect(row).to_contain_text("Well")
    expect(page.get_by_role("row").filter(has_text="Can read").first).not_to_contain_text("can pay")
    browse.look(page, "connections")
    row.get_by_role("link").click()
    expect(page.locator("main")).to_contain_text("can pay")
    expect(page.locator("main")).to_contain_text("Calls go through")
    limits = page.get_by_role("table", name="Limits of Sandbox bank").get_by_role("row").nth(1)
    expect(limits).to_contain_text("500 calls in 1 s")
    expect(limits).to_contain_text("of the 100 that may come at once")
    browse.look(page, "connection")


def test_who_may_not_connect_is_told_so(browse: Browsing, shared: Organisation) -> None:
    page = browse(shared.approver, "/connections")
    expect(page.get_by_role("heading", level=1)).to_have_text("That was refused")
    page.goto("/connections/new/sandbox_bank")
    expect(page.locator("main")).to_contain_text("Your role may not connect providers")


def test_a_bank_is_connected_reconnected_and_disconnected(browse: Browsing, world: World, fresh: Organisation) -> None:
    browse.forgive(rf"another origin: \w+ {re.escape(world.stack.url['bank'])}/")
    page = browse(fresh.owner, "/connections/new")
    browse.look(page, "connection-providers")
    page.get_by_role("link", name="Sandbox bank").click()
    page.get_by_label("Access").select_option("write")
    browse.look(page, "connection-new")
    page.get_by_role("button", name="Go on to the sign-in").click()
    expect(page.locator("main")).to_contain_text("can pay")
    browse.look(page, "connection-onward")
    consent(world, page)

    page.wait_for_url("**/connections/*done=connected")
    expect(page.get_by_text("Connected. Workflows can use it")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Brightwater Goods BV")
    connection_id = page.url.split("/")[-1].partition("?")[0]
    made = ok(fresh.owner.api.get(f"/v1/connections/{connection_id}"))
    assert (made["status"], "payments:write" in made["scopes_granted"]) == ("active", True)

    page.get_by_text("Reconnect", exact=True).first.click()
    page.get_by_role("button", name="Go on to the sign-in").click()
    expect(page.locator("main")).to_contain_text("Sign in with the same account")
    consent(world, page)
    page.wait_for_url(f"**/connections/{connection_id}?done=connected")

    page.get_by_text("Disconnect", exact=True).first.click()
    expect(page.locator("main, dialog").get_by_text("Its grant is revoked at Sandbox bank").first).to_be_visible()
    browse.axe(page)
    browse.shot(page, "connection-disconnect")
    page.get_by_role("button", name="Disconnect Sandbox bank").click()
    page.wait_for_url("**done=disconnected")
    expect(page.locator("main")).to_contain_text("Revoked there")
    assert ok(fresh.owner.api.get(f"/v1/connections/{connection_id}"))["status"] == "revoked"


def test_a_refused_consent_says_so_and_leads_back(browse: Browsing, world: World, fresh: Organisation) -> None:
    browse.forgive(rf"another origin: \w+ {re.escape(world.stack.url['bank'])}/")
    page = browse(fresh.owner, "/connections/new/sandbox_bank", script=False)
    page.get_by_role("button", name="Go on to the sign-in").click()
    consent(world, page, "Deny")
    expect(page.get_by_role("heading", name="Not connected")).to_be_visible()
    expect(page.locator("main")).to_contain_text("The provider gave no consent")
    page.get_by_role("link", name="To the connections").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Connections")


def test_a_session_without_second_factor_gives_it_where_it_connects(browse: Browsing, fresh: Organisation) -> None:
    page = browse(fresh.owner, second_factor=False)
    page.goto("/connections/new/sandbox_bank")
    page.get_by_label("Code of your second factor").fill(browse.code(fresh.owner))
    page.get_by_role("button", name="Go on to the sign-in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in at Sandbox bank")


def test_a_program_at_the_callback_is_told_and_not_sent_on(world: World) -> None:
    answer = httpx.get(f"{world.api}/oauth/sandbox_bank/callback?state=x&code=y", trust_env=False)
    assert (answer.status_code, answer.headers["cache-control"]) == (400, "no-store")
    assert "was not started in this browser" in answer.text


def consent(world: World, page: Page, answer: str = "Allow") -> None:
    """What a person does at the bank: follows the link, signs in if they have to, and answers."""
    page.get_by_role("link", name=re.compile("^Go to 127")).click()
    who = person(world.stack.state, "bank")
    page.wait_for_url(f"{world.stack.url['bank']}/**")
    if page.locator("[name=password]").count():
        page.locator("[name=username]").fill(who.username)
        page.locator("[name=password]").fill(who.password)
        page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=answer).click()
