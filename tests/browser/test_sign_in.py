"""Signing in and out in a real browser, and what somebody else gets of a session."""

import re
import uuid
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from sandbox.auth.mailbox import Mail, received
from sandbox.organisation import Organisation, invite, new_address, sign_up
from tests.browser.browsing import NARROW, Browsing
from tests.http.world import World

WRONG = "The address or the password is not right."


def last_mail(world: World, email: str) -> Mail:
    return list(received(world.stack.state, email))[-1]


def ask_for_a_link(page: Page, email: str) -> None:
    page.goto("/sign-in")
    form = page.locator("form[action='/sign-in/link']")
    form.locator("[name=email]").fill(email)
    form.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look into your mail")


def answer_with(page: Page, email: str, password: str) -> None:
    page.goto("/sign-in")
    form = page.locator("form[action='/sign-in']")
    form.locator("[name=email]").fill(email)
    form.locator("[name=password]").fill(password)
    form.get_by_role("button").click()


def arrive(page: Page, email: str) -> None:
    """Waits until the sign-in is over, and asks whose session it is."""
    expect(page).not_to_have_url(re.compile("/sign-in|/auth/confirm|/account/password"))
    assert is_signed_in(page)
    expect(page.locator("header")).to_contain_text(email)


def is_signed_in(page: Page) -> bool:
    page.goto("/account")
    return urlsplit(page.url).path == "/account"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_password_and_a_code_lead_to_the_page_that_was_wanted(
    browse: Browsing, shared: Organisation, script: bool
) -> None:
    page = browse(script=script)
    page.goto("/account?of=me")
    assert urlsplit(page.url).path == "/sign-in"
    form = page.locator("form[action='/sign-in']")
    form.locator("[name=email]").fill(shared.owner.email)
    form.locator("[name=password]").fill(shared.owner.password)
    form.get_by_role("button").click()
    page.wait_for_url("**/sign-in/second-factor*")
    browse.give_code(page, shared.owner)
    page.wait_for_url("**/account?of=me")


def test_the_pages_of_signing_in_hold_in_any_light_and_on_a_phone(browse: Browsing, shared: Organisation) -> None:
    page = browse(None, "/sign-in")
    browse.look(page, "sign-in")
    ask_for_a_link(page, shared.owner.email)
    browse.look(page, "sign-in-mailed")
    page.goto("/auth/confirm?token_hash=0&type=magiclink&next=/")
    browse.look(page, "sign-in-confirm")
    browse.look(browse(shared.owner, "/sign-in/second-factor"), "sign-in-second-factor")
    browse.look(browse(shared.owner, "/account"), "account")


def test_a_wrong_password_says_so_and_not_whether_the_address_is_known(browse: Browsing, shared: Organisation) -> None:
    page = browse()
    told = []
    for email in (shared.owner.email, new_address("Nobody Known")):
        answer_with(page, email, "not the password")
        expect(page.locator("main")).to_contain_text(WRONG)
        told.append(page.locator("main").inner_text().replace(email, ""))
        assert page.locator("form[action='/sign-in'] [name=email]").input_value() == email
        assert page.locator("form[action='/sign-in'] [name=password]").input_value() == ""
    assert told[0] == told[1]
    browse.axe(page)
    browse.shot(page, "sign-in-wrong")
    assert not is_signed_in(page)


def test_asking_for_a_link_says_the_same_for_an_address_that_nobody_has(browse: Browsing, world: World) -> None:
    person, stranger = sign_up(world.stack, "Lena Kovac", second_factor=False).email, new_address("Nobody Known")
    page = browse()
    told = []
    for email in (person, stranger):
        ask_for_a_link(page, email)
        told.append(page.locator("main").inner_text().replace(email, ""))
    assert told[0] == told[1]
    assert len(list(received(world.stack.state, person))) == 1
    assert list(received(world.stack.state, stranger)) == []


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_mailed_link_signs_in_once_and_only_when_a_person_says_so(
    browse: Browsing, world: World, script: bool
) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    page = browse(script=script)
    ask_for_a_link(page, person.email)
    link = last_mail(world, person.email).action_link
    assert link.startswith(f"{world.api}/auth/confirm?")
    httpx.get(link, trust_env=False).raise_for_status()  # a mail scanner follows every link first
    page.goto(link)
    assert world.rows("select 1 from auth.one_time_tokens where user_id = %s", person.user_id)
    page.locator("main form").get_by_role("button").click()
    arrive(page, person.email)
    late = browse(None, link)
    late.locator("main form").get_by_role("button").click()
    expect(late.locator("main")).to_contain_text("has been used, or is too old")
    assert not is_signed_in(late)


def test_the_code_of_a_mail_signs_in_where_the_link_cannot_be_opened(browse: Browsing, world: World) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    page = browse(width=NARROW)
    ask_for_a_link(page, person.email)
    code = page.locator("main [name=code]")
    right = last_mail(world, person.email).email_otp
    code.fill(f"{(int(right) + 1) % 10**6:06d}")
    code.press("Enter")
    expect(page.locator("main")).to_contain_text("has been used, or is too old")
    code.fill(f"{right[:3]} {right[3:]}")
    code.press("Enter")
    arrive(page, person.email)


def test_an_invited_person_joins_from_the_mail_and_chooses_a_password(
    browse: Browsing, world: World, fresh: Organisation
) -> None:
    email, password = new_address("Noor Haddad"), uuid.uuid4().hex
    invite(fresh.owner, email, "auditor", "Noor Haddad")
    page = browse(None, last_mail(world, email).action_link)
    page.get_by_role("button", name="Join").click()
    page.wait_for_url("**/account/password")
    browse.axe(page)
    page.locator("main [name=password]").fill(password)
    page.locator("main [name=again]").fill(password)
    page.locator("main [name=again]").press("Enter")
    arrive(page, email)
    answer_with(again := browse(), email, password)
    arrive(again, email)


def test_a_wrong_code_is_refused_and_the_session_stays_at_one_factor(browse: Browsing, shared: Organisation) -> None:
    page = browse(shared.approver, second_factor=False)
    right = browse.code(shared.approver)
    page.locator("main [name=code]").fill(f"{(int(right) + 500_000) % 10**6:06d}")
    page.locator("main [name=code]").press("Enter")
    expect(page.locator("main")).to_contain_text("This code is not right")
    page.goto("/account")
    expect(page.locator("header")).to_contain_text("without second factor")


def test_signing_out_ends_this_browsers_session_and_no_other(browse: Browsing, world: World) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    one, other = browse(person, own=True), browse(person, own=True)
    kept = one.context.cookies()
    sign_out(one)
    assert not is_signed_in(one)
    assert is_signed_in(other)
    assert [cookie["name"] for cookie in kept] == ["countersign"]


def test_signing_out_everywhere_ends_every_other_browser_with_its_next_click(browse: Browsing, world: World) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    one, other = browse(person, own=True), browse(person, "/tenants", own=True, script=False)
    other.locator("form[action='/tenants'] [name=name]").fill("Too late BV")
    sign_out(one, "Sign out everywhere")
    assert not is_signed_in(one)
    other.locator("form[action='/tenants'] button").click()
    expect(other.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert not is_signed_in(other)
    assert world.rows("select 1 from auth.sessions where user_id = %s", person.user_id) == []
    assert world.rows("select 1 from app.tenants where name = 'Too late BV'") == []


def sign_out(page: Page, button: str = "Sign out") -> None:
    page.goto("/account", wait_until="networkidle")  # the count of exceptions would be refused once it is over
    page.locator("header summary").first.click()
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_url("**/sign-in?done=signed_out")


def test_a_keyboard_is_enough_to_sign_in(browse: Browsing, world: World) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    page = browse(None, "/sign-in?next=/account")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("form[action='/sign-in'] [name=email]")).to_be_focused()
    page.keyboard.type(person.email)
    page.keyboard.press("Tab")
    page.keyboard.type(person.password)
    page.keyboard.press("Tab")
    expect(page.locator("form[action='/sign-in']").get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")


def test_the_session_is_one_cookie_that_no_script_and_no_other_site_gets_and_nobody_reads(
    browse: Browsing, shared: Organisation
) -> None:
    page = browse(shared.owner, "/account")
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    value = cookie["value"]
    assert not re.search(r"eyJ|\.ey", value)
    assert shared.owner.email not in value
    changed = value[:-6] + ("A" if value[-6] != "A" else "B") + value[-5:]
    for forged in (changed, "k1.", "k1.AAAA", value.partition(".")[2]):
        answer = httpx.get(f"{page.url}", cookies={cookie["name"]: forged}, trust_env=False)
        assert (answer.status_code, urlsplit(answer.headers["location"]).path) == (303, "/sign-in")


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", None])
def test_a_form_that_another_site_sends_is_refused(browse: Browsing, world: World, origin: str | None) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    page = browse(person, "/account", own=True)
    [cookie] = page.context.cookies()
    csrf = page.locator("input[name=csrf]").first.input_value()
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}"} | ({"Origin": origin} if origin else {})
    for path in ("/sign-out", "/sign-in"):
        answer = httpx.post(f"{world.api}{path}", data={"csrf": csrf}, headers=headers, trust_env=False)
        assert answer.status_code == 403, path
    assert is_signed_in(page)


def test_a_form_without_the_sessions_token_is_refused(browse: Browsing, world: World) -> None:
    one, other = (browse(sign_up(world.stack, name, second_factor=False), "/account") for name in ("Ida", "Bo"))
    [cookie] = one.context.cookies()
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}", "Origin": world.api}
    for csrf in ("", "0" * 64, other.locator("input[name=csrf]").first.input_value()):
        answer = httpx.post(f"{world.api}/sign-out", data={"csrf": csrf}, headers=headers, trust_env=False)
        assert answer.status_code == 403
    assert is_signed_in(one)


@pytest.mark.parametrize("wanted", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
def test_nobody_is_sent_to_another_site_after_the_sign_in(browse: Browsing, world: World, wanted: str) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    page = browse()
    page.goto(f"/sign-in?next={wanted}")
    form = page.locator("form[action='/sign-in']")
    form.locator("[name=email]").fill(person.email)
    form.locator("[name=password]").fill(person.password)
    form.get_by_role("button").click()
    expect(page).not_to_have_url(re.compile("/sign-in"))
    assert page.url.startswith(f"{world.api}/")
    arrive(page, person.email)
