"""Addresses that people keep, load again, mistype or find in a mail: each leads to a page, and only to one of ours."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from sandbox.auth.mailbox import received
from sandbox.organisation import Organisation, sign_up
from tests.browser.browsing import Browsing
from tests.http.integrator import NOTE, Agent, note
from tests.http.operations import MISSING
from tests.http.pages import pages
from tests.http.world import World

#: What a browser says that it takes.
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_the_address_of_every_form_leads_to_its_page(world: World) -> None:
    """Whoever loads a refused form's answer again, or is sent its address, comes to the page that it was sent from."""
    read = [re.compile(re.sub("{[^}]*}", "[^/]+", page.path)) for page in pages() if page.method == "GET"]
    forms = {page.at(MISSING | {"number": "1", "seq": "1"}) for page in pages() if page.method == "POST"}
    alone = sorted(path for path in forms if not any(one.fullmatch(path) for one in read))
    assert len(alone) > 40
    found = {}
    with httpx.Client(base_url=world.api, trust_env=False) as client:
        for path in alone:
            answer = client.get(f"{path}?next=//evil.example")
            assert answer.status_code == 303, (path, answer.text)
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            above = found[path] = answer.headers["location"]
            assert (path.startswith(above) and any(one.fullmatch(above) for one in read)) or above == "/", path
        one = MISSING["exception_id"]
        assert found[f"/exceptions/{one}/decision"] == f"/exceptions/{one}"
        assert found["/sign-in/link"] == "/sign-in"
        assert [path for path, above in found.items() if above == "/"] == [
            path for path in alone if path.startswith(("/invitations/", "/sign-out"))
        ]
        # The API's own addresses say what they take.
        refused = client.get("/v1/exceptions/decisions", headers=BROWSER)
        assert refused.headers["content-type"] == "application/problem+json"


def test_a_refused_verdict_is_loaded_again(browse: Browsing, shared: Organisation, agent: Agent) -> None:
    action = agent.propose(NOTE, note(), confidence=0.1)
    page = browse(shared.owner, f"/exceptions/{action['exception']['id']}", script=False)
    page.locator("details.choice").filter(has_text="Reject").locator("summary").click()
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.url.endswith("/decision")
    page.goto(page.url)
    assert page.url.endswith(action["exception"]["id"])
    expect(page.get_by_role("button", name="Approve")).to_be_visible()


def test_an_address_without_a_page_says_so_in_one(browse: Browsing, world: World, shared: Organisation) -> None:
    page = browse(shared.owner, "/exeptions/3?of=<script>alert(1)</script>")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Exceptions").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Exceptions")
    page.goto("/alerts/none")
    browse.look(page, "no-such-page")
    stranger = browse(None, "/nothing/here")
    expect(stranger.locator("main").get_by_role("link")).to_have_text("Sign in")
    assert stranger.locator("nav").count() == 0
    with httpx.Client(base_url=world.api, trust_env=False) as client:
        answer = client.get("/nothing", headers=BROWSER)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        for path, method, headers in (
            ("/v1/nothing", "GET", BROWSER), ("/v1", "GET", BROWSER), ("/nothing", "POST", BROWSER),
            ("/nothing", "GET", {"Accept": "application/json"}), ("/nothing", "GET", {}),
        ):  # fmt: skip
            told = client.request(method, path, headers=headers)
            assert (told.status_code, told.headers["content-type"]) == (404, "application/problem+json"), path


@pytest.mark.parametrize("wanted", ["/account?of=a%26b", "/exceptions?tab=mine&sort=amount"])
def test_a_mailed_link_leads_to_the_page_that_was_wanted(browse: Browsing, world: World, wanted: str) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    page = browse(None, wanted)
    form = page.locator("form[action='/sign-in/link']")
    form.locator("[name=email]").fill(person.email)
    form.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look into your mail")
    link = list(received(world.stack.state, person.email))[-1].action_link
    # It is opened in another browser: all that is known there is in the link.
    other = browse(None, link)
    assert other.locator("main [name=next]").input_value() == wanted
    with other.expect_request(lambda request: request.url == f"{world.api}{wanted}"):
        other.locator("main form").get_by_role("button").click()


def test_no_link_of_a_mail_leads_elsewhere(world: World) -> None:
    outside = (
        "//evil.example", "/\\evil.example", "https://evil.example/", f"{world.api}//evil.example",
        f"{world.api}/\\evil.example", f"{world.api}.evil.example/", f"{world.api}@evil.example/",
        f"{world.api}1/", f"{world.api}/\t/evil.example", "%2F%2Fevil.example", "javascript:alert(1)",
    )  # fmt: skip
    with httpx.Client(base_url=world.api, trust_env=False, headers={"Origin": world.api}) as client:
        for given in outside:
            shown = client.get(f"/auth/confirm?token_hash=0&type=magiclink&next={quote(given, safe='')}")
            assert 'name="next" value="/"' in shown.text, given
            # Encoded once more, it is a path of ours that nobody has, wherever it seems to lead.
            shown = client.get(f"/auth/confirm?next={quote(quote('/' + given, safe='/'), safe='')}")
            found = re.search('name="next" value="([^"]*)"', shown.text)
            assert found
            assert urlsplit(found[1]).netloc == "", given
        person = sign_up(world.stack, "Lena Kovac", second_factor=False)
        client.post("/sign-in/link", data={"email": person.email, "next": "//evil.example"}).raise_for_status()
        assert "evil.example" not in list(received(world.stack.state, person.email))[-1].action_link
