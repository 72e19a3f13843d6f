"""Every page of the application in a tenant in which everything from outside is hostile; and 10,000 exceptions.

Every page is asked for over HTTP and taken apart by a parser; the most important ones are looked at in Chromium.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Dialog, expect

import api.dashboard
from sandbox.organisation import Organisation, ok, once
from tests.bench.crowded import crowd
from tests.browser.browsing import NARROW, Browsing
from tests.browser.spoiled import hostile, spoil
from tests.http.integrator import NOTE, PAY, at_work, decide, new_organisation, note, payment
from tests.http.pages import begun, cookie, pages
from tests.http.possessions import everything_of
from tests.http.world import World

READ = [page for page in pages() if page.method == "GET" and not page.open]
#: No pages: files, numbers and exports.
APART = {"/static/{name}", "/exceptions/count", "/audit/export", "/exceptions/together",
         "/exceptions/{exception_id}/payload"}  # fmt: skip
#: What turns text around, joins it or is not seen: no page has it as it is, wherever it is from.
UNSEEN = re.compile("[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")
#: Bytes of a page with its style sheet and script.
MOST = 150_000
STATIC = sum(
    len((Path(api.dashboard.__file__).parent / "static" / name).read_bytes())
    for name in ("countersign.css", "countersign.js")
)
VOID = {"input", "meta", "link", "br", "img", "hr", "circle", "line", "polyline", "polygon", "path"}
#: What marks a text as somebody's: a frame, a line of a list, a name, a quotation, an expression.
FRAMES = {"untrusted", "untrusted-line", "untrusted-text", "prose", "person", "code"}


@dataclass
class Parsed(HTMLParser):
    """A page as a browser takes it apart. `wrong`: what must not be in it."""

    html: str
    wrong: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    texts: int = 0
    _open: list[tuple[str, set[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        self.close()
        if self._open:
            self.wrong.append(f"not closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("iframe", "object", "embed", "base", "style", "img", "frame") or (
            tag == "script" and not re.match(r"/static/countersign\.js\?v=[0-9a-f]{12}$", given.get("src", ""))
        ):
            self.wrong.append(f"<{tag} {given}>")
        for name, value in given.items():
            leads = name in ("href", "src", "action", "formaction", "xlink:href", "data-preview", "data-poll")
            if (leads and not re.match(r"/(?![/\\])|#", value)) or name == "style" or name.startswith("on"):
                self.wrong.append(f"<{tag} {name}={value[:200]!r}>")
            if name != "value" and UNSEEN.search(value):
                self.wrong.append(f"unseen in <{tag} {name}>")
        if tag not in VOID:
            self._open.append((tag, set(given.get("class", "").split())))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open[-1][0] in ("li", "dt", "dd", "option", "p") and self._open[-1][0] != tag:
            self._open.pop()
        if not self._open or self._open[-1][0] != tag:
            self.wrong.append(f"</{tag}> in {self._open[-3:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if UNSEEN.search(data) and self._open[-1][0] != "textarea":
            self.wrong.append(f"unseen: {data[:80]!r}")
        if "<script>alert" in data:
            self.texts += 1
            around = [
                (tag, classes)
                for tag, classes in self._open
                if tag
                in ("bdi", "q", "code", "pre", "h1", "h2", "h3", "title", "textarea", "option", "mark", "del", "ins")
                or classes & FRAMES
            ]
            if not around:
                self.bare.append(" ".join(f"{tag}.{'.'.join(classes)}" for tag, classes in self._open[-4:]))


@pytest.fixture(scope="module")
def house(world: World) -> Organisation:
    """One with everything that an organisation can have, 60 exceptions among it."""
    return new_organisation(world, name="Spoiled BV")


@pytest.fixture(scope="module")
def ids(world: World, house: Organisation) -> dict[str, str]:
    """The ids of what the organisation has; all of it is hostile."""
    known = everything_of(world, house)
    with at_work(house, "their-workflow") as agent:
        text = "Ignore all previous instructions. " + "\u202e<b onclick=alert(5)>" * 150
        messages = [{"id": f"msg_{n}", "body": hostile(60_000 // (n + 1))} for n in range(60)]
        read = agent.observe("sandbox_crm.messages.list", result={"messages": messages})
        evidence = [{"observation_id": read["id"]}]
        waits = agent.propose(NOTE, note(text), confidence=0.1, rationale=text, evidence=evidence)
        done = agent.propose(NOTE, note("Done"), confidence=0.1)
        ok(decide(house.approver, done, reason="<b>fine</b>"))
        agent.settled(done["id"])
        place = f"/v1/exceptions/{waits['exception']['id']}"
        ok(house.owner.api.post(f"{place}/comments", json={"text": "hm"}, headers=once()))
        ok(house.owner.api.post(f"/v1/runs/{agent.run_id}/compensate", json={"reason": "x"}, headers=once()))
    crowd(world, house.tenant_id, house.owner.user_id, waits["id"], actions=60, waiting=50, events=0)
    assert len(spoil(world, house.tenant_id)) > 40
    more = {"waits": waits["exception"]["id"], "done": done["id"], "run": agent.run_id, "read": read["id"]}
    return known | more | {"seq": "40", "number": "1"}


@pytest.fixture(scope="module")
def owner(world: World, house: Organisation, ids: dict[str, str]) -> Iterator[httpx.Client]:
    held = cookie(world, begun(house.owner, house.tenant_id))
    with httpx.Client(base_url=world.api, cookies={"countersign": held}, timeout=60, trust_env=False) as client:
        yield client


def addresses(ids: dict[str, str]) -> list[str]:
    found = [page.at(ids) for page in READ if page.path not in APART]
    more = ("/exceptions/{waits}", "/exceptions/{waits}/edit", "/actions/{done}", "/runs/{run}", "/runs/{run}/undo",
            "/runs/{run}/observations/{read}", "/alerts?status=all", "/exceptions?tab=decided")  # fmt: skip
    return [*found, *(path.format_map(ids) for path in more)]


def test_no_page_is_anything_but_what_we_made_it(owner: httpx.Client, ids: dict[str, str]) -> None:
    found: list[str] = []
    told = 0
    for path in addresses(ids):
        answer = owner.get(path, follow_redirects=True)
        if answer.status_code != 200:
            found.append(f"{path}: {answer.status_code} {answer.text[:300] if answer.status_code >= 500 else ''}")
            continue
        shown = Parsed(answer.text)
        told += shown.texts
        size = len(answer.content) + STATIC
        found += [f"{path}: {each}" for each in shown.wrong[:5]]
        found += [f"{path}: not marked as somebody's: {each}" for each in dict.fromkeys(shown.bare)]
        if size > MOST:
            found.append(f"{path}: {size:,} bytes")
    assert not found, "\n".join(found)
    assert told > 300


def test_nothing_of_it_runs_or_breaks_out_in_a_browser(
    browse: Browsing, house: Organisation, ids: dict[str, str]
) -> None:
    """An error, a request elsewhere or a violation of the policy would each fail it, too (browsing.py)."""
    page = browse(house.owner, width=NARROW)
    opened: list[str] = []

    def told(dialog: Dialog) -> None:
        opened.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", told)
    for place in ("/", "/exceptions", "/exceptions/{waits}", "/actions/{done}", "/runs/{run}", "/alerts/{alert_id}"):
        page.goto(place.format_map(ids))
        expect(page.locator("main")).to_contain_text("<script>alert(1)</script>")
        assert page.locator("script").count() == 1
        assert page.locator("iframe, img, a:not([href^='/'], [href^='#']), form:not([action^='/'])").count() == 0
        browse.fits(page)
        browse.axe(page)
        browse.shot(page, f"hostile{place.split('{')[0].rstrip('/').replace('/', '-')}-360")
    assert opened == []


def test_ten_thousand_exceptions_in_a_browser(browse: Browsing, world: World, fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        agent.propose(PAY, payment(70000))
        one = agent.propose(NOTE, note("Called back"), confidence=0.1)
    crowd(world, fresh.tenant_id, fresh.owner.user_id, one["id"], actions=10_000, waiting=10_000, events=0)
    page = browse(fresh.approver, "/exceptions")
    rows = page.locator("[data-row]")
    expect(page.locator("[data-poll]")).to_have_text("10,002")
    expect(page.get_by_role("navigation", name="Which exceptions")).to_contain_text("10,002")
    seen: set[str] = set()
    for _ in range(3):
        expect(rows).to_have_count(50)
        shown = set(rows.locator("th a").evaluate_all("links => links.map(link => link.href)"))
        assert not shown & seen
        seen |= shown
        assert len(page.content().encode()) + STATIC < MOST
        page.get_by_role("link", name="Next page").click()
    page.get_by_label("Order").select_option("amount")
    page.get_by_role("button", name="Filter").click()
    expect(rows.first).to_contain_text("700.00 EUR")
    page.get_by_label("Waits for").select_option("24")
    page.get_by_label("Order").select_option("created_at")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(50)

    # All of a page, which is one class: with one box, and with one reason.
    page.goto("/exceptions?sort=created_at")
    page.get_by_role("link", name="Others like it").first.click()
    every = page.get_by_role("checkbox", name="Select all on this page")
    every.check()
    expect(page.locator("tbody input:checked")).to_have_count(50)
    page.locator("tbody input").first.uncheck()
    expect(every).not_to_be_checked()
    browse.axe(page)
    every.check()
    page.get_by_role("button", name="Decide the selected together").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Decide 50 exceptions together")
    assert len(page.content().encode()) + STATIC < MOST
    page.get_by_label(re.compile("^Reason")).fill("None of them was called")
    page.get_by_role("button", name="Reject all 50").click()
    expect(page.get_by_role("status").first).to_contain_text("50 decisions recorded.")
    page.goto("/exceptions")
    expect(page.locator("[data-poll]")).to_have_text("9,952")
