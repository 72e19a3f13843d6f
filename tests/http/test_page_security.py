"""What holds for every page of the dashboard, asked of each one that the application has: who gets it, who may send
its forms, what its answers carry, and that nothing in it runs.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from api.dashboard.session import LIFETIME, RENEW_AFTER, Session
from sandbox.organisation import Organisation, ok, sign_up
from tests.http.integrator import new_organisation
from tests.http.operations import MISSING
from tests.http.pages import PageOf, begun, cookie, deployment, pages, seen
from tests.http.possessions import everything_of
from tests.http.problems import unchanged
from tests.http.world import World

ALL = pages()
READ = [page for page in ALL if page.method == "GET"]
SENT = [page for page in ALL if page.method == "POST"]
#: Where somebody comes who is not signed in.
OPEN = {"/sign-in", "/sign-in/link", "/sign-in/code", "/auth/confirm"}
COOKIE = "countersign"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "same-origin",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
OUTSIDE = (
    "https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "\\/elsewhere.example",
    " //elsewhere.example", "/\t/elsewhere.example", "/\n/elsewhere.example", "javascript:alert(1)",
    "elsewhere.example", "/a\\b", "/\u202e", "",
)  # fmt: skip
#: What is no page of what the company has, and what it is instead.
ELSE = {
    "/audit/export": (200, "application/jsonl"),
    "/exceptions/count": (200, "text/plain"),
    "/exceptions/{exception_id}/payload": (200, "text/plain"),
    "/exceptions/together": (422, "text/html"),  # a payment is decided alone
}
#: What every tenant has from its founding on.
FIRST = {"seq": "1", "number": "1"}
#: Enough for any form to be looked at by what is behind it.
FILLED = {
    "reason": "x", "digest": "a" * 64, "verdict": "approve", "name": "x", "role": "auditor", "email": "a@b.example",
    "version": "1", "code": "000000", "outcome": "succeeded",
}  # fmt: skip


def _guarded(answer: httpx.Response) -> None:
    """Every answer to a browser of this module carries these, whatever else is asked of it."""
    carried = {name: answer.headers.get(name) for name in HEADERS}
    assert carried == HEADERS, answer.request.url
    assert "Traceback" not in answer.headers.get("location", "")


def browser(world: World, held: str = "") -> httpx.Client:
    """A browser that holds this cookie, if any, and sends what it sends from pages of ours."""
    return httpx.Client(
        base_url=world.api, headers={"Origin": world.api}, cookies={COOKIE: held} if held else {}, timeout=60,
        trust_env=False, event_hooks={"response": [_guarded]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def company(world: World) -> Organisation:
    return new_organisation(world, name="Another BV")


@pytest.fixture(scope="module")
def ids(world: World, company: Organisation) -> dict[str, str]:
    """The ids of one of everything that the company has."""
    return everything_of(world, company)


@pytest.fixture(scope="module")
def session(company: Organisation) -> Session:
    """The session of the company's owner, at aal2."""
    return begun(company.owner, company.tenant_id)


@pytest.fixture(scope="module")
def csrf(world: World, session: Session) -> str:
    with deployment(world):
        return session.csrf


@pytest.fixture(scope="module")
def owner(world: World, session: Session) -> Iterator[httpx.Client]:
    """The browser of the company's owner."""
    with browser(world, cookie(world, session)) as client:
        yield client


def wanted(answer: httpx.Response) -> str:
    """The page that the answer's sign-in leads back to."""
    assert answer.status_code == 303, (answer.request.url, answer.status_code)
    where = urlsplit(answer.headers["location"])
    assert (where.scheme, where.netloc, where.path) == ("", "", "/sign-in")
    return parse_qs(where.query)["next"][0]


def test_the_pages_that_ask_for_no_session_are_those_that_lead_to_one() -> None:
    assert {page.path for page in ALL if page.open} == OPEN
    assert {page.method for page in ALL} == {"GET", "POST"}
    assert len(ALL) > 100


def test_who_is_not_signed_in_is_led_to_the_sign_in_and_back_and_sends_nothing(
    world: World, ids: dict[str, str]
) -> None:
    with browser(world) as nobody, unchanged(world):
        for page in READ:
            if not page.open:
                path = f"{page.at(ids)}?of=a%26b&next=//elsewhere.example"
                assert wanted(nobody.get(path)) == path
        for page in SENT:
            if not page.open:
                answer = nobody.post(page.at(ids), data={"once": str(uuid.uuid4()), "csrf": "0" * 64})
                assert wanted(answer) == "/"
                # Another site's form comes without the cookie: its answer must not take the cookie away.
                assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", None])
def test_a_form_of_another_site_is_refused(
    world: World, session: Session, ids: dict[str, str], csrf: str, origin: str | None
) -> None:
    with browser(world, cookie(world, session)) as client, unchanged(world):
        del client.headers["origin"]
        if origin:
            client.headers["origin"] = origin
        for page in SENT:
            fields = FILLED | {"csrf": csrf, "once": str(uuid.uuid4()), "next": "/"}
            for headers in ({},) if origin else ({}, {"Sec-Fetch-Site": "same-site"}):
                answer = client.post(page.at(ids), data=fields, headers=headers)
                assert answer.status_code == 403, page
                assert "was not sent from a page of Countersign" in answer.text


def test_a_form_without_the_sessions_own_token_is_refused(
    world: World, company: Organisation, owner: httpx.Client, ids: dict[str, str]
) -> None:
    with deployment(world):
        of_another_browser = begun(company.owner).csrf
    with unchanged(world):
        for page in SENT:
            for token in ("\u00e9", of_another_browser):
                if not page.open:
                    fields = FILLED | {"csrf": token, "once": str(uuid.uuid4())}
                    answer = owner.post(page.at(ids), data=fields)
                    assert answer.status_code == 403, page
                    assert "belongs to another session" in answer.text


def test_nothing_that_runs_is_written_into_any_page(owner: httpx.Client, ids: dict[str, str], csrf: str) -> None:
    others = {}
    for page in READ:
        answer = owner.get(page.at(ids | FIRST), params={"id": ids["exception_id"]}, follow_redirects=True)
        kind = answer.headers.get("content-type", "none").partition(";")[0]
        if (answer.status_code, kind) != (200, "text/html"):
            others[page.path] = (answer.status_code, kind)
        if kind == "text/html":
            inert(answer, csrf)
    assert others == ELSE


def inert(answer: httpx.Response, csrf: str) -> None:
    """Nothing that runs, and nothing from elsewhere, is in a page; its forms carry the session's token."""
    shown = seen(answer)
    assert shown.inline == [], answer.url
    for tag, attributes in shown.tags:
        assert tag not in ("style", "base", "iframe", "object", "embed"), answer.url
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (answer.url, tag)
        for name in ("src", "action", "formaction", "href", "xlink:href"):
            if tag != "a" and name in attributes:
                assert re.match(r"/(?!/)|#|data:image/|$", attributes[name]), (answer.url, tag, attributes)
        if tag == "a":
            assert not re.match(r"\s*(javascript|data|vbscript):", attributes.get("href", ""), re.IGNORECASE)
    assert all(script["src"].startswith("/static/") for script in shown.all("script"))
    sent = [form for form in shown.all("form") if form.get("method", "").lower() == "post"]
    tokens = [field for field in shown.all("input") if field.get("name") == "csrf"]
    if "/sign-in" not in str(answer.url.path) and "/auth/" not in str(answer.url.path):
        assert len(tokens) == len(sent), answer.url
    assert {field["value"] for field in tokens} <= {csrf}


def test_no_filter_of_a_page_breaks_it_or_leaves_a_mark(
    world: World, owner: httpx.Client, ids: dict[str, str], csrf: str
) -> None:
    names = {name for page in READ for name in page.queries} | {"next", "done", "cursor"}
    for page in READ:
        answer = owner.get(page.at(ids), follow_redirects=True)
        if "text/html" in answer.headers.get("content-type", ""):
            shown = seen(answer)
            names |= {field["name"] for tag in ("input", "select") for field in shown.all(tag) if "name" in field}
    with unchanged(world):
        for page in READ:
            for text in ("\x00", "9\"><script>alert(1)</script><i onclick='x'>\u202e"):
                asked_for = dict.fromkeys(sorted(names - {"csrf", "once"}), text)
                answer = owner.get(page.at(ids), params=asked_for, follow_redirects=True)
                assert answer.status_code < 500, (page, answer.text)
                if "text/html" in answer.headers.get("content-type", ""):
                    inert(answer, csrf)


@pytest.mark.parametrize("outside", OUTSIDE)
def test_next_never_leads_outside(world: World, owner: httpx.Client, outside: str) -> None:
    with browser(world) as nobody:
        for path in ("/sign-in", "/auth/confirm"):
            assert seen(nobody.get(path, params={"next": outside})).value("next") == "/"
        fields = {"email": "nobody@elsewhere.example", "next": outside}
        for path in ("/sign-in", "/sign-in/link", "/sign-in/code"):
            assert seen(nobody.post(path, data=fields | {"password": "x", "code": "1"})).value("next") == "/"
    assert owner.get("/sign-in", params={"next": outside}).headers["location"] == "/"
    assert seen(owner.get("/sign-in/second-factor", params={"next": outside})).value("next") == "/"


def test_a_sign_in_leads_inside_and_the_session_is_one_cookie(world: World) -> None:
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    with browser(world) as client:
        fields = {"email": person.email, "password": person.password, "next": "//elsewhere.example"}
        answer = client.post("/sign-in", data=fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        [kept] = answer.headers.get_list("set-cookie")
        assert {part.strip().lower() for part in kept.split(";")[1:]} == {
            "httponly", "path=/", "samesite=lax", f"max-age={LIFETIME}",
        }  # fmt: skip


def test_only_this_deployments_own_and_young_cookie_is_a_session(
    world: World, session: Session, owner: httpx.Client
) -> None:
    good = cookie(world, session)
    old = replace(session, issued=int(time.time()) - LIFETIME - 1)
    key_id = world.stack.environment()["COUNTERSIGN_KEK"].partition(":")[0]
    forged = {
        "another key": cookie(world, session, COUNTERSIGN_KEK=f"{key_id}:{'5a' * 32}"),
        "another key's name": cookie(world, session, COUNTERSIGN_KEK=f"other:{'5a' * 32}"),
        "another deployment": cookie(world, session, COUNTERSIGN_PUBLIC_URL="http://elsewhere.example"),
        "too old": cookie(world, old),
        "no text": f"{key_id}.",
        "no seal": f"{key_id}.{'A' * 200}",
        "cut": good[:-4],
        "longer": f"{good}AAAA",
        "with what is no letter": f"{good[:30]}!{good[30:]}",
    }
    places = [0, len(key_id) + 1, len(good) // 2, len(good.rstrip("=")) - 1]
    for place in places:
        forged[f"changed at {place}"] = f"{good[:place]}{chr(ord(good[place]) ^ 1)}{good[place + 1 :]}"
    assert owner.get("/account").status_code == 200
    for what, value in forged.items():
        with browser(world, value) as client:
            answer = client.get("/account")
            assert wanted(answer) == "/account", what
            assert f'{COOKIE}=""; ' in answer.headers["set-cookie"], what  # the browser forgets it


def test_what_belongs_to_another_tenant_is_not_there(world: World, shared: Organisation, ids: dict[str, str]) -> None:
    """Nor does any page tell another tenant's id from none."""
    mine = begun(shared.owner, shared.tenant_id)
    with deployment(world):
        token = mine.csrf
    found: list[object] = []
    with browser(world, cookie(world, mine)) as client, unchanged(world):
        for page in ALL:
            if page.named and page.path != "/audit/events/{seq}":
                theirs, none = (asked(client, page, of, token) for of in (ids, MISSING))
                if not (theirs.status_code == 404 if page.method == "GET" else 400 <= theirs.status_code < 500):
                    found.append((page.method, page.path, theirs.status_code, none.status_code))
                elif seen(theirs).main != seen(none).main:
                    found.append((page.method, page.path, theirs.status_code, seen(theirs).main, seen(none).main))
    assert found == []


def asked(client: httpx.Client, page: PageOf, ids: dict[str, str], token: str) -> httpx.Response:
    """A page, or its form sent as a page of ours sends it."""
    if page.method == "GET":
        return client.get(page.at(ids), follow_redirects=True)
    fields = FILLED | {"csrf": token, "once": str(uuid.uuid4())}
    return client.post(page.at(ids), data=fields, follow_redirects=True)


def test_who_has_left_a_tenant_finds_it_on_no_page(world: World, shared: Organisation, ids: dict[str, str]) -> None:
    """A session says which tenant it looks at; whether the person is in it, the database says each time."""
    with browser(world, cookie(world, begun(shared.owner, ids["tenant_id"]))) as client:
        for page in READ:
            if not page.open and not page.path.startswith(("/tenants", "/account", "/sign-in")):
                answer = client.get(page.at(ids))
                assert (answer.status_code, answer.headers["location"]) == (303, "/tenants"), page


def test_what_no_page_of_ours_sends_is_refused_in_words(world: World, owner: httpx.Client, csrf: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    whole = urlencode({"csrf": csrf, "once": str(uuid.uuid4()), "name": "x"})
    told: list[tuple[int, str, dict[str, str], str | bytes]] = [
        (415, "Send the form as the page has it", {"Content-Type": "multipart/form-data; boundary=b"}, "--b--"),
        (415, "Send the form as the page has it", {"Content-Type": "application/json"}, json.dumps({"csrf": csrf})),
        (415, "Send the form as the page has it", {}, whole),
        (413, "at most 1,000,000 bytes", form, f"{whole}&reason={'x' * 2_000_000}"),
        (413, "at most 2,000 fields", form, whole + "&a=1" * 3000),
        (413, "at most 2,000 fields", form, whole + "&" * 3000),
        (422, "cannot be kept (NUL)", form, f"{whole}&reason=a%00b"),
        (422, "cannot be kept (NUL)", form, f"{whole}&a%00b=1"),
        (400, "cannot be read", form, f"{whole}&reason=%ff"),
        (400, "cannot be read", form, f"{whole}&reason=%ed%a0%80"),
        (400, "cannot be read", form, f"{whole}&reason=\u00e9".encode()),
        (400, "cannot be read", form, f"{whole}&noname"),
        (403, "belongs to another session", form, ""),
        (403, "belongs to another session", form, f"{whole}&csrf=x"),
    ]
    with unchanged(world):
        for status, words, headers, body in told:
            answer = owner.post("/settings/tenant", content=body, headers=headers)
            assert (answer.status_code, words in answer.text) == (status, True), (
                words,
                answer.status_code,
                answer.text,
            )
            inert(answer, csrf)


def test_who_is_signed_out_everywhere_is_so_at_once_in_every_other_browser_and_client(world: World) -> None:
    """What a browser would ask next, with a token that is good for an hour: pages, what it types there, and the API."""
    fresh = new_organisation(world, connected=False, name="Signed out BV")
    person = fresh.owner
    here, elsewhere = begun(person, fresh.tenant_id), begun(person, fresh.tenant_id)
    with browser(world, cookie(world, elsewhere)) as other, browser(world, cookie(world, here)) as client:
        once = seen(other.get("/settings")).value("once")
        token = seen(client.get("/account")).value("csrf")
        answer = client.post("/sign-out", data={"csrf": token, "everywhere": "yes"})
        assert answer.headers["location"] == "/sign-in?done=signed_out"
        with deployment(world):
            typed = {"csrf": elsewhere.csrf, "once": once, "name": "Changed BV"}
        for path in ("/", "/exceptions", "/tenants", "/account"):
            answer = other.get(path)
            assert wanted(answer) == path
            assert f'{COOKIE}=""; ' in answer.headers["set-cookie"]
        assert wanted(other.post("/settings/tenant", data=typed)) == "/"
        assert wanted(other.post("/tenants", data=typed)) == "/"
    for path in ("/v1/me", "/v1/tenants", "/v1/exceptions"):
        refused = person.api.get(path)
        assert (refused.status_code, refused.json()["code"]) == (401, "session_ended")
        assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    ok(fresh.approver.api.get("/v1/me"))
    with fresh.agent() as key:
        ok(key.get("/v1/me"))  # which has no session
    assert world.rows("select name from app.tenants where tenant_id = %s", fresh.tenant_id) == [("Signed out BV",)]


def test_a_session_that_cannot_be_renewed_is_over(world: World) -> None:
    assert RENEW_AFTER <= 300
    person = sign_up(world.stack, "Lena Kovac", second_factor=False)
    old = begun(person)
    world.rows("delete from auth.sessions where user_id = %s returning 1", person.user_id)
    with browser(world, cookie(world, replace(old, issued=old.issued - RENEW_AFTER - 1))) as client:
        assert wanted(client.get("/account")) == "/account"
