"""People, service accounts and keys, as an owner looks after them in a browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from sandbox.organisation import Organisation, mail_to, new_address
from tests.browser.browsing import Browsing
from tests.http.integrator import access_spec, join
from tests.http.world import World


def saying(page: Page, text: str) -> None:
    expect(page.locator("main")).to_contain_text(text)


def test_somebody_is_invited_joins_and_is_given_another_role(
    browse: Browsing, world: World, fresh: Organisation
) -> None:
    email = new_address("Noor Vos")
    page = browse(fresh.owner, "/team")
    for member in (fresh.owner, fresh.approver):
        saying(page, member.email)
    form = page.locator("form[action='/team/invitations']")
    form.get_by_label("E-mail address").fill(email)
    form.get_by_label("Role").select_option("auditor")
    form.get_by_role("button", name="Invite").click()
    saying(page, "The invitation is on its way.")
    saying(page, email)
    browse.look(page, "team")

    newcomer = browse(None, mail_to(world.stack, email).action_link)
    newcomer.get_by_role("button", name="Join").click()
    newcomer.get_by_label("New password").fill("a long enough password 1")
    newcomer.get_by_label("Once more").fill("a long enough password 1")
    newcomer.get_by_role("button", name="Save").click()
    newcomer.get_by_label("Your name, as the others will see it").fill("Noor Vos")
    newcomer.get_by_role("button", name="Join").click()
    expect(newcomer.locator(".topbar")).to_contain_text("Brightwater")

    page.goto("/team")
    row = page.get_by_role("row").filter(has_text=email)
    row.get_by_text("Change or remove").click()
    row.get_by_label("Role").select_option("operator")
    row.get_by_role("button", name="Give this role").click()
    saying(page, "Saved.")
    expect(page.get_by_role("row").filter(has_text=email)).to_contain_text("Operator")


def test_a_key_is_shown_once_and_ends_when_it_is_revoked(browse: Browsing, world: World, fresh: Organisation) -> None:
    page = browse(fresh.owner, "/team")
    form = page.locator("form[action='/team/accounts']")
    form.get_by_label("Name").fill("Night agent")
    form.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Night agent")
    page.get_by_role("button", name="Make the key").click()
    saying(page, "It is shown this once.")
    found = re.search(r"cs_sandbox_[0-9a-f]{32}_[A-Za-z0-9_-]{43}", page.content())
    assert found is not None
    browse.look(page, "team-account")
    with world.client(found[0]) as key:
        assert key.get("/v1/me").status_code == 200
        page.reload()  # the same form once more: it is the same key, and nobody shows it again
        page.goto(page.url.removesuffix("/keys"))
        assert found[0] not in page.content()
        page.get_by_role("article").get_by_text("Revoke", exact=True).first.click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke the key").click()
        saying(page, "Revoked.")
        assert key.get("/v1/me").status_code == 401


def test_settings_are_changed_and_a_protection_asks_why(browse: Browsing, fresh: Organisation) -> None:
    limit = {"name": "daily", "window_hours": 24, "currency": "EUR", "max_amount": 100_000, "per": ["agent"]}
    fresh.go_live("limited", "Pay a little a day", access_spec(fresh, limits=[limit]))
    page = browse(fresh.owner, "/settings")
    kept = page.get_by_role("row").filter(has_text="Pay a little a day")
    for told in ("365 days", "personal data after 90", "daily: 1,000.00 EUR in every 24 hours for each agent"):
        expect(kept).to_contain_text(told)
    expect(page.get_by_role("row").filter(has_text="Pay vendor bills")).to_contain_text("No ceiling over time.")
    form = page.locator("form[action='/settings/tenant']")
    form.get_by_label("Name of the organisation").fill("Brightwater Holding")
    form.get_by_role("button", name="Save").click()
    saying(page, "Saved.")
    expect(page.locator(".topbar")).to_contain_text("Brightwater Holding")
    page.get_by_text("Ask for more, or for less").click()
    asked = page.locator("form[action='/settings/confidence']")
    asked.get_by_label("Workflow").select_option("pay-vendor-bills")
    asked.get_by_label("Tool").select_option("sandbox_crm.notes.create")
    asked.get_by_label("At least").fill("0.97")
    asked.get_by_label("Why").fill("New agent")
    asked.get_by_role("button", name="Set").click()
    saying(page, "0.97")
    look = page.locator("form[action='/settings/erasures']")
    look.get_by_label("Which").fill("nobody@example.com")
    look.get_by_label("Why").fill("Request of today")
    look.get_by_role("button", name="See what there is").click()
    saying(page, "Nothing was found about email n")
    browse.look(page, "settings")


def test_an_auditor_sees_and_changes_nothing(browse: Browsing, shared: Organisation) -> None:
    reader = join(shared, "auditor", name="Ada Reader")
    page = browse(reader, "/settings")
    saying(page, "An owner changes this.")
    assert page.locator("main form").count() == 0
    page.goto("/team")
    saying(page, shared.owner.email)
    assert page.get_by_role("button", name="Invite").count() == 0
