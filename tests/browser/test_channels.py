"""Channels in a real browser: made, proved, told, failing, sent again, and ended; with and without script."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import expect

from sandbox.organisation import Organisation
from tests.browser.browsing import Browsing
from tests.http.alerts import an_alert
from tests.http.integrator import join
from tests.http.receivers import WEBHOOKS, Receivers
from tests.http.world import World

HOSTILE = "It ends \u202e<img src=x onerror=alert(1)>"


def test_a_webhook_from_its_making_to_its_end(
    browse: Browsing, world: World, fresh: Organisation, receivers: Receivers
) -> None:
    page, path = browse(fresh.owner, "/settings/channels"), f"/{uuid.uuid4()}"
    main = page.locator("main")
    expect(main).to_contain_text("Alerts are told nowhere but here")
    page.get_by_role("link", name="New channel").first.click()
    browse.axe(page)
    page.get_by_role("link", name="Webhook").click()
    page.get_by_label("Name").fill("Pager of the night")
    page.get_by_label("Address").fill("https://example.com/?key=1")
    page.get_by_role("button", name="Make it").click()
    expect(main.get_by_role("alert")).to_contain_text("without user, query and fragment")
    expect(page.get_by_label("Name")).to_have_value("Pager of the night")
    page.get_by_label("Address").fill(f"{WEBHOOKS}{path}")
    browse.look(page, "channel-new")
    page.get_by_role("button", name="Make it").click()
    expect(main).to_contain_text("shown this once")
    secret = re.findall(r"whsec_[A-Za-z0-9+/=]+", page.content())[0]
    page.get_by_role("button", name="Send the test").click()
    expect(main).to_contain_text("The test was taken.")
    assert secret not in page.content()
    receivers.answers[path] = [500, 500]
    alert = an_alert(world, fresh, title=HOSTILE, severity="critical")
    world.stack.tick("deliver_notifications")
    page.goto(page.url.partition("?")[0])
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("<img src=x")
    expect(row).to_contain_text("It answered 500.")
    expect(row).to_contain_text("On its way")
    browse.look(page, "channel")
    page.locator("summary", has_text="Stop").click()
    page.get_by_label("Why").fill("It rings twice")
    page.get_by_role("button", name="Stop it").click()
    expect(main).to_contain_text("It rings twice")
    expect(row).to_contain_text("Not sent")
    page.locator("summary", has_text="Start again").click()
    page.locator("form[action$=enable]").get_by_role("button", name="Start again").click()
    row.get_by_role("button", name="Send again").click()
    expect(main).to_contain_text("It is sent again")
    receivers.answers[path] = []
    world.stack.tick("deliver_notifications")
    page.goto("/settings/channels")
    expect(page.locator("tbody tr")).to_contain_text("In use")
    browse.look(page, "channels")
    page.get_by_role("link", name="Pager of the night").click()
    expect(row).to_contain_text("Taken")
    expect(row.get_by_role("link")).to_have_attribute("href", f"/alerts/{alert}")
    page.get_by_label("Told of").select_option("critical")
    page.get_by_role("button", name="Save").click()
    expect(main).to_contain_text("Saved.")
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(main).to_contain_text("Alerts are told nowhere but here")


def test_a_mail_address_without_script(browse: Browsing, fresh: Organisation, receivers: Receivers) -> None:
    """An admin without the second factor yet gives it in place; an auditor reads and changes nothing."""
    page = browse(fresh.owner, "/settings/channels/new?kind=email", script=False, second_factor=False, own=True)
    address = f"on-call-{uuid.uuid4().hex[:8]}@example.com"
    page.get_by_label("Name").fill("On call")
    page.get_by_label("Mail address").fill(address)
    page.get_by_label("Code of your second factor").fill(browse.code(fresh.owner))
    page.get_by_role("button", name="Make it").click()
    main = page.locator("main")
    expect(main).to_contain_text("A code was mailed")
    code = re.findall(r"Code: (\d{8})", receivers.mailed(address)[0].get_content())[0]
    page.get_by_label("Code from the mail").fill("00000000" if code != "00000000" else "11111111")
    page.get_by_role("button", name="Verify").click()
    expect(main.get_by_role("alert")).to_contain_text("4 tries are left")
    page.get_by_label("Code from the mail").fill(f"{code[:4]} {code[4:]}")
    page.get_by_role("button", name="Verify").click()
    expect(main).to_contain_text("In use")
    reader = browse(join(fresh, "auditor"), page.url.partition("?")[0], width=360, dark=True, script=False)
    expect(reader.locator("main")).to_contain_text("Warning and worse")
    expect(reader.locator("main form")).to_have_count(0)
    browse.fits(reader)
