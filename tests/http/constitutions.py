"""Publishing constitutions as organisations do: what widens takes a second person."""

from typing import Any

import httpx

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.integrator import join

DRAFTS = "/v1/constitution/drafts"


def rule(identity: str = "a-rule", effect: str = "deny", when: str = "true", **more: Any) -> dict[str, Any]:
    return {"id": identity, "title": identity, "principle": "Because.", "effect": effect, "when": when} | more


def in_force(organisation: Organisation) -> dict[str, Any]:
    constitution: dict[str, Any] = ok(organisation.owner.api.get("/v1/constitution"))
    return constitution


def drafted(author: Member, rules: list[dict[str, Any]], base: int, **more: Any) -> dict[str, Any]:
    """A draft of the author's."""
    body = {"rules": rules, "reason": "learnt", "base_version": base} | more
    draft: dict[str, Any] = ok(author.api.post(DRAFTS, json=body, headers=once()))
    return draft


def submitted(author: Member, rules: list[dict[str, Any]], base: int) -> dict[str, Any]:
    """A draft that waits for its publisher."""
    draft = drafted(author, rules, base)
    return ask(author, draft, "submit").raise_for_status().json()  # type: ignore[no-any-return]


def ask(person: Member, draft: dict[str, Any], what: str, **body: Any) -> httpx.Response:
    """Submits, publishes, rejects or withdraws a draft."""
    named = {"digest": draft["digest"], "reason": "read"} if what in ("publish", "reject") else {}
    sent = {"json": named | body} if what != "submit" else {}
    return person.api.post(f"{DRAFTS}/{draft['id']}/{what}", headers=once(), **sent)  # type: ignore[arg-type]


def publish(organisation: Organisation, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """The next version, whatever it lets happen: drafted by the owner, published by an admin."""
    draft = submitted(organisation.owner, rules, in_force(organisation)["version"])
    published: dict[str, Any] = ok(ask(join(organisation, "admin"), draft, "publish"))
    return published
