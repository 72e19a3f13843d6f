"""What people write and others decide by says what it shows: no controls, and nothing that turns its direction."""

from typing import Any

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import access_spec, new_organisation, proposed
from tests.http.problems import problem, unchanged
from tests.http.world import World

WORKFLOW = "/v1/workflows/pay-vendor-bills"
CHANGE = {
    "kind": "create", "environment": "sandbox", "reason": "new vendor",
    "entry": {"kind": "vendor", "name": "Kestrel", "details": []},
}  # fmt: skip
RULE = {"id": "x", "title": "One", "principle": "Two", "when": "true", "effect": "deny"}
CONSTITUTION = {"rules": [RULE], "reason": "better", "expected_version": 1}
SWITCH = {"scope": "tenant", "reason": "stop"}
#: Where each text is written: the request, the pointer of the text in its body, and whether it may have several lines.
WRITTEN: dict[str, tuple[str, str, dict[str, Any], str, bool]] = {
    "a tenant's name": ("POST", "/v1/tenants", {"name": "A"}, "/name", False),
    "a tenant's new name": ("PATCH", "/v1/tenant", {"name": "A"}, "/name", False),
    "a founder's name": ("POST", "/v1/tenants", {"name": "A", "user_name": "B"}, "/user_name", False),
    "why a tenant changes": ("PATCH", "/v1/tenant", {"name": "A", "reason": "why"}, "/reason", True),
    "a service account's name": ("POST", "/v1/service-accounts", {"name": "A"}, "/name", False),
    "a service account's description": (
        "POST", "/v1/service-accounts", {"name": "A", "description": "B"}, "/description", True,
    ),
    "an invitation's name": (
        "POST", "/v1/invitations", {"email": "a@b.example", "role": "auditor", "name": "A"}, "/name", False,
    ),
    "an entry's name": ("POST", "/v1/directory/changes", CHANGE, "/entry/name", False),
    "why an entry is proposed": ("POST", "/v1/directory/changes", CHANGE, "/reason", True),
    "why a version is approved": ("POST", f"{WORKFLOW}/versions/1/approve", {"reason": "A"}, "/reason", True),
    "why a version is rejected": ("POST", f"{WORKFLOW}/versions/1/reject", {"reason": "A"}, "/reason", True),
    "why a constitution changes": ("POST", "/v1/constitution/versions", CONSTITUTION, "/reason", True),
    "a rule's title": ("POST", "/v1/constitution/versions", CONSTITUTION, "/rules/0/title", False),
    "a rule's principle": ("POST", "/v1/constitution/versions", CONSTITUTION, "/rules/0/principle", True),
    "why a kill switch is engaged": ("POST", "/v1/kill-switches", SWITCH, "/reason", True),
}  # fmt: skip
UNSEEN = ("\u202e", "\u202a", "\u2066", "\u2069", "\x01", "\t", "\r", "\x1b", "\x1f", "\x7f", "\x9b")


def _with(body: dict[str, Any], pointer: str, text: str) -> dict[str, Any]:
    """The body with another text at a pointer."""
    head, _, rest = pointer.removeprefix("/").partition("/")
    if not rest:
        return body | {head: text}
    if isinstance(body[head], list):
        return body | {head: [_with(body[head][0], rest.removeprefix("0/"), text)]}
    return body | {head: _with(body[head], rest, text)}


@pytest.mark.parametrize("what", WRITTEN)
def test_what_nobody_sees_is_refused_where_it_is_written(shared: Organisation, world: World, what: str) -> None:
    method, path, body, pointer, lines = WRITTEN[what]
    named = "/body/rules" if pointer.startswith("/rules") else f"/body{pointer}"
    headers = once() | {"If-Match": shared.owner.api.get("/v1/tenant").headers["etag"]}
    with unchanged(world):
        for unseen in UNSEEN + (() if lines else ("\n",)):
            sent = _with(body, pointer, f"Acme{unseen}emca")
            found = problem(shared.owner.api.request(method, path, json=sent, headers=headers), 422, "invalid_request")
            [error] = found["errors"]
            assert error["pointer"] == named
            assert f"U+{ord(unseen):04X}" in error["message"]
            assert unseen not in error["message"]


def test_a_purpose_and_a_title_say_what_they_show(shared: Organisation, world: World) -> None:
    body = {"slug": "other", "environment": "sandbox", "title": "Pay", "spec": access_spec(shared)}
    with unchanged(world):
        refused = shared.owner.api.post("/v1/workflows", json=body | {"title": "Pay\u202eyaP"}, headers=once())
        assert [e["pointer"] for e in problem(refused, 422, "invalid_request")["errors"]] == ["/body/title"]
        for member in ("purpose", "owner", "escalation_contact"):
            sent = body | {"spec": access_spec(shared, **{member: "Pay\u2067yaP"})}
            refused = shared.owner.api.post("/v1/workflows", json=sent, headers=once())
            [error] = problem(refused, 422, "invalid_access_spec")["errors"]
            assert error["pointer"] == f"/spec/{member}"
            assert "U+2067" in error["message"]


def test_what_people_write_in_any_language_and_in_lines_is_taken(world: World) -> None:
    company = new_organisation(world, connected=False)
    for name in ("Ægir & Søn", "株式会社", "שלום בע״מ", "الشركة", "Zoë 👩‍💻"):
        ok(company.owner.api.post("/v1/service-accounts", json={"name": name}, headers=once()))
    assert proposed(company.owner, CHANGE | {"reason": "They called.\nWe called back."})["status"] == "open"
    body = {"name": "lines", "description": "One\nTwo"}
    assert ok(company.owner.api.post("/v1/service-accounts", json=body, headers=once()))["description"] == "One\nTwo"
