"""People at their browsers: pages as they see them, and whatever a browser complains about meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, Response, expect

from sandbox.auth.totp import totp
from sandbox.organisation import Member
from sandbox.state import CHECKOUT
from tests.browser import accessibility
from tests.http.world import World

SCREENSHOTS = CHECKOUT / "build" / "screenshots"
WIDE, NARROW = 1280, 360
#: Milliseconds that a page may take on a busy machine.
PATIENCE = 60_000
#: The zone of the people in these tests, which is not the server's.
ZONE = "Europe/Amsterdam"
# A browser says this of every answer that is a refusal; those are looked at one by one instead (`_on_response`).
_STATUS_LINE = "Failed to load resource: the server responded with a status of"
expect.set_options(timeout=PATIENCE)


@contextmanager
def whole_pages() -> Iterator[None]:
    """Whoever clicks goes on when the page that came of it is there whole, and its script has run.

    Playwright waits until the new page has begun. What a test then counts, reads at once or presses a key for would
    depend on how much of it a busy machine had come to.
    """
    click = Locator.click

    def clicked(place: Locator, **how: Any) -> None:
        click(place, **how)
        place.page.wait_for_load_state()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Locator, "click", clicked)
        yield


@dataclass
class Signed:
    """The sessions that people of these tests have already, as cookies; each is made through the pages once."""

    cookies: dict[str, Any] = field(default_factory=dict)


@dataclass
class Browsing:
    """Opens pages. Every call is a browser of its own: `browse(owner)` and `browse(approver)` are two people at work.

    complaints: what the browsers said that must not be: errors on the console, violations of the content security
    policy, refused or failing requests, requests to another origin. A test with any of them fails (conftest.py).
    """

    browser: Browser
    world: World
    signed: Signed
    checks: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _forgiven: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(
        self,
        member: Member | None = None,
        path: str | None = None,
        *,
        width: int = WIDE,
        dark: bool = False,
        script: bool = True,
        second_factor: bool = True,
        own: bool = False,
    ) -> Page:
        """A page in a new browser, signed in as a person of the sandbox; None is nobody. `path` is opened at once.

        second_factor: with the session at `aal2`, when the person has a factor. own: with a session that no other test
        has, for one that signs out. script: False turns JavaScript off.
        """
        known = member.email if member and second_factor and not own else None
        if member and known and known not in self.signed.cookies:
            first = self._context(WIDE, dark=False, script=True)
            self.sign_in(first.new_page(), member)
            self.signed.cookies[known] = first.storage_state()
        cookies = self.signed.cookies[known] if known else None
        page = self._context(width, dark=dark, script=script, storage_state=cookies).new_page()
        if member and not known:
            self.sign_in(page, member, second_factor=second_factor)
        if path is not None:
            page.goto(path)
        return page

    def sign_in(self, page: Page, member: Member, *, second_factor: bool = True, onward: str = "/account") -> None:
        """Signs in on the real page, as far as the second factor or through it, and arrives at `onward`."""
        page.goto(f"/sign-in?next={quote(onward, safe='')}")
        form = page.locator("form[action='/sign-in']")
        form.locator("[name=email]").fill(member.email)
        form.locator("[name=password]").fill(member.password)
        form.get_by_role("button").click()
        if member.totp_secret:
            page.wait_for_url("**/sign-in/second-factor*")
            if second_factor:
                self.give_code(page, member)
        if second_factor or not member.totp_secret:
            page.wait_for_url(f"**{onward}")

    def give_code(self, page: Page, member: Member) -> None:
        """Types the code of the person's authenticator into the page for it."""
        page.locator("main [name=code]").fill(self.code(member))
        page.locator("main form").filter(has=page.locator("[name=code]")).get_by_role("button").first.click()

    def code(self, member: Member) -> str:
        """The code that the person's authenticator shows now, even if it was used already: nobody has to wait."""
        self.world.rows(
            "delete from auth.sandbox_totp_steps s using auth.mfa_factors f"
            " where f.id = s.factor_id and f.user_id = %s returning s.last_step",
            member.user_id,
        )
        return totp(member.totp_secret, time.time())

    def forgive(self, pattern: str) -> None:
        """Takes complaints that match as what this test provokes."""
        self._forgiven.append(pattern)

    def unforgiven(self) -> list[str]:
        return [each for each in self.complaints if not any(re.search(one, each) for one in self._forgiven)]

    def axe(self, page: Page, rules: tuple[str, ...] = ()) -> None:
        """Fails when axe-core finds something serious or critical on the page as it is shown now."""
        report = accessibility.looked_at(page, rules)
        self.checks.append(report)
        told = accessibility.bad(report)
        assert not told, told

    def shot(self, page: Page, name: str) -> None:
        """Takes a picture of the whole page: build/screenshots/<name>.png."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled")

    def look(self, page: Page, name: str) -> None:
        """Looks at a page as every page has to hold: wide and light, dark, and at 360 px without scrolling sideways.

        Leaves it wide and light. Pictures: `<name>.png`, `<name>-dark.png`, `<name>-360.png`.
        """
        self.axe(page)
        self.shot(page, name)
        page.emulate_media(color_scheme="dark")
        self.axe(page, accessibility.RULES_OF_COLOUR)
        self.shot(page, f"{name}-dark")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": NARROW, "height": 740})
        self.fits(page)
        self.axe(page, accessibility.RULES_OF_WIDTH)
        self.shot(page, f"{name}-360")
        page.set_viewport_size({"width": WIDE, "height": 800})

    def fits(self, page: Page) -> None:
        """Fails when the page is wider than its window (WCAG 2.2, 1.4.10)."""
        wider = page.evaluate(_TOO_WIDE)
        assert not wider, f"{page.url} is wider than its window: {wider}"

    def close(self) -> None:
        """Closes every browser that was opened."""
        for context in self._contexts:
            context.close()
        self._contexts.clear()

    def _context(self, width: int, *, dark: bool, script: bool, storage_state: Any = None) -> BrowserContext:
        context = self.browser.new_context(
            base_url=self.world.api,
            viewport={"width": width, "height": 740 if width < 700 else 800},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id=ZONE,
            storage_state=storage_state,
        )
        context.set_default_timeout(PATIENCE)
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(f"script: {error.error}"))
        context.on("request", self._on_request)
        context.on("response", self._on_response)
        self._contexts.append(context)
        return context

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_STATUS_LINE):
            self.complaints.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.world.api}/", "data:", "blob:")):
            self.complaints.append(f"another origin: {request.method} {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 500 or (response.status >= 400 and not response.request.is_navigation_request()):
            self.complaints.append(f"answer: {response.status} {response.request.method} {response.url}")


_TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('body *')]
        .filter(element => element.getBoundingClientRect().right > width + 1)
        .slice(0, 5).map(element => element.outerHTML.slice(0, 120));
}"""
