"""The constitution over HTTP: written by one, read and published by another, compared, restored."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from sandbox.organisation import Member, Organisation, ok, once
from tests.concurrency.patience import eventually
from tests.http.constitutions import DRAFTS, ask, drafted, in_force, publish, rule, submitted
from tests.http.integrator import NOTE, Agent, join, new_organisation, note
from tests.http.problems import problem, unchanged
from tests.http.world import World

TRUST = rule("trust-notes", "allow", lifts=["confidence"], applies_to=["sandbox_crm.notes.create"])
NEVER = rule("never", "deny", "args.contact_id == 'con_ada'", applies_to=["sandbox_crm.notes.create"])


@pytest.fixture(scope="module")
def company(world: World) -> Organisation:
    return new_organisation(world, connected=False)


@pytest.fixture(scope="module")
def second(company: Organisation) -> Member:
    return join(company, "admin")


def _now(company: Organisation) -> tuple[int, list[dict[str, Any]]]:
    constitution = in_force(company)
    return constitution["version"], constitution["rules"]


def test_from_draft_to_force_and_back(company: Organisation, second: Member) -> None:
    base, rules = _now(company)
    written = company.approver.api.post(
        DRAFTS, json={"rules": [*rules, TRUST], "reason": "notes are harmless", "base_version": base}, headers=once()
    )
    draft = ok(written)
    assert (draft["status"], draft["widens"], written.headers["ETag"]) == ("draft", True, '"1"')
    shown = ok(company.owner.api.get(f"{DRAFTS}/{draft['id']}/diff"))
    assert shown["widens"]
    [change] = shown["changes"]
    assert (change["kind"], change["rule_id"], change["widens"]) == ("added", "trust-notes", True)
    ok(ask(company.approver, draft, "submit"))
    done = ok(ask(second, draft, "publish"))
    assert (done["status"], done["version"]) == ("published", base + 1)
    newest = in_force(company)
    assert (newest["author"], newest["published_by"]) == (company.approver.user_id, second.user_id)
    assert (newest["digest"], newest["widened"], newest["draft_id"]) == (draft["digest"], True, draft["id"])

    body = {"reason": "it did harm"}
    back = ok(company.owner.api.post(f"/v1/constitution/versions/{base}/restore", json=body, headers=once()))
    assert (back["origin_version"], back["base_version"], back["widens"]) == (base, base + 1, False)
    ok(ask(company.owner, back, "submit"))
    ok(ask(company.owner, back, "publish"))
    assert _now(company) == (base + 2, rules)
    compared = ok(company.owner.api.get(f"/v1/constitution/versions/{base + 1}/diff", params={"with": base + 2}))
    assert [(c["kind"], c["widens"]) for c in compared["changes"]] == [("added", True)]
    compared = ok(company.owner.api.get(f"/v1/constitution/versions/{base + 2}/diff", params={"with": base + 1}))
    assert [(c["kind"], c["widens"]) for c in compared["changes"]] == [("removed", False)]


def test_what_widens_is_not_published_by_who_wrote_it(company: Organisation, second: Member, world: World) -> None:
    base, rules = _now(company)
    with unchanged(world):
        body = {"rules": [*rules, TRUST], "reason": "mine", "expected_version": base}
        refused = company.owner.api.post("/v1/constitution/versions", json=body, headers=once())
        assert "/v1/constitution/drafts" in problem(refused, 409, "second_person_needed")["detail"]
    draft = submitted(company.owner, [*rules, TRUST], base)
    with unchanged(world):
        problem(ask(company.owner, draft, "publish"), 409, "second_person_needed")
        problem(ask(company.approver, draft, "publish"), 403, "permission_denied")
        problem(ask(second, draft, "publish", digest=f"sha256:{'0' * 64}"), 409, "digest_mismatch")
        problem(ask(company.owner, draft, "reject"), 403, "own_draft")
        problem(ask(second, draft, "withdraw"), 403, "not_the_author")
    assert ok(ask(second, draft, "reject", reason="not yet"))["decision_reason"] == "not yet"
    problem(ask(second, draft, "publish"), 409, "already_decided")
    found = ok(second.api.get(DRAFTS, params={"status": "rejected"}))["items"]
    assert draft["id"] in [each["id"] for each in found]


def test_a_draft_is_changed_by_its_author_who_has_read_it(company: Organisation, second: Member, world: World) -> None:
    base, rules = _now(company)
    draft = drafted(company.owner, rules, base)
    path, body = f"{DRAFTS}/{draft['id']}", {"rules": [*rules, NEVER], "reason": "better", "base_version": base}
    with unchanged(world):
        problem(company.owner.api.put(path, json=body), 428, "precondition_required")
        problem(company.owner.api.put(path, json=body, headers={"If-Match": '"9"'}), 412, "precondition_failed")
        problem(second.api.put(path, json=body, headers={"If-Match": '"1"'}), 403, "not_the_author")
        problem(ask(second, draft, "submit"), 403, "not_the_author")
    changed = company.owner.api.put(path, json=body, headers={"If-Match": '"1"'})
    assert (ok(changed)["revision"], changed.headers["ETag"]) == (2, '"2"')
    assert changed.json()["digest"] != draft["digest"]
    ok(ask(company.owner, draft, "submit"))
    problem(company.owner.api.put(path, json=body, headers={"If-Match": "*"}), 409, "invalid_transition")
    problem(ask(second, draft, "publish"), 409, "digest_mismatch")
    assert ok(ask(company.owner, draft, "withdraw", reason="no"))["status"] == "withdrawn"


def test_a_draft_against_another_version_is_refused(company: Organisation, second: Member) -> None:
    base, rules = _now(company)
    stale = submitted(company.owner, [*rules, NEVER], base)
    publish(company, [*rules, rule("more")])
    problem(ask(second, stale, "publish"), 412, "version_moved")
    body = {"rules": rules, "reason": "late", "base_version": base}
    problem(company.owner.api.post(DRAFTS, json=body, headers=once()), 412, "version_moved")
    publish(company, rules)


def _rebased(person: Member, draft: dict[str, Any], to: int, **keep: str) -> httpx.Response:
    body = {"to_version": to, "keep": {name.replace("_", "-"): side for name, side in keep.items()}}
    return person.api.post(f"{DRAFTS}/{draft['id']}/rebase", json=body, headers=once())


def test_an_overtaken_draft_is_brought_up_to_what_is_in_force(
    company: Organisation, second: Member, world: World
) -> None:
    """What it changed is kept; what both changed is its author's to decide; what was handed over is written anew."""
    base, rules = _now(company)
    mine = [rule("both", principle="Mine."), rule("only-mine")]
    draft, handed = drafted(company.owner, [*rules, *mine], base), submitted(company.owner, [*rules, *mine], base)
    problem(_rebased(company.owner, draft, base), 409, "not_overtaken")
    publish(company, [*rules, rule("both", principle="Theirs."), rule("only-theirs")])
    to, theirs = _now(company)
    seen = ok(company.approver.api.get(f"{DRAFTS}/{draft['id']}/rebase"))
    assert (seen["overtaken"], seen["from_version"], seen["to_version"]) == (True, base, to)
    assert [each["rule_id"] for each in seen["since"]] == ["both", "only-theirs"]
    assert [each["rule_id"] for each in seen["changes"]] == ["only-mine"]
    [conflict] = seen["conflicts"]
    assert [conflict[side] and conflict[side]["principle"] for side in ("base", "mine", "theirs")] == [
        None, "Mine.", "Theirs.",
    ]  # fmt: skip
    with unchanged(world):
        refused = problem(_rebased(company.owner, draft, to), 409, "conflicts")
        assert [each["pointer"] for each in refused["errors"]] == ["/keep/both"]
        problem(_rebased(company.owner, draft, to - 1, both="mine"), 412, "version_moved")
        problem(_rebased(second, draft, to, both="mine"), 403, "not_the_author")
    done = ok(_rebased(company.owner, draft, to, both="mine"))
    assert (done["id"], done["base_version"], done["revision"]) == (draft["id"], to, 2)
    kept = {each["id"]: each["principle"] for each in done["rules"]}
    assert kept == {each["id"]: each["principle"] for each in theirs} | {"both": "Mine.", "only-mine": "Because."}
    ok(ask(company.owner, done, "submit"))

    key = once()
    address, body = f"{DRAFTS}/{handed['id']}/rebase", {"to_version": to, "keep": {"both": "theirs"}}
    # The first request ends between the new draft and taking back the old one: asked again, it goes on from there.
    # In this database alone: others of the cluster are at work, and wait for locks, too.
    waiting = (
        "select pg_cancel_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name = 'countersign' and wait_event_type = 'Lock'"
    )
    with world.database.connect("superuser") as held, held.transaction(), ThreadPoolExecutor() as pool:
        held.execute("select from app.constitution_drafts where id = %s for update", [handed["id"]])
        cut = pool.submit(company.owner.api.post, address, json=body, headers=key)
        eventually(lambda: cut.done() or world.rows(waiting), "the request waits for nothing")
    assert cut.result().status_code >= 500
    assert ok(company.owner.api.get(f"{DRAFTS}/{handed['id']}"))["status"] == "in_review"
    anew = ok(company.owner.api.post(address, json=body, headers=key))
    assert (anew["status"], anew["rules"]) == (
        "draft",
        [*theirs, ok(ask(company.owner, done, "withdraw"))["rules"][-1]],
    )
    assert ok(company.owner.api.post(address, json=body, headers=key))["id"] == anew["id"] != handed["id"]
    assert ok(company.owner.api.get(f"{DRAFTS}/{handed['id']}"))["status"] == "withdrawn"
    problem(_rebased(company.owner, handed, to, both="mine"), 409, "already_decided")
    ok(ask(company.owner, anew, "submit"))
    assert ok(ask(company.owner, anew, "publish"))["version"] == to + 1
    publish(company, rules)


def test_a_draft_and_what_is_in_force_are_together_no_more_than_may_be(company: Organisation) -> None:
    base, rules = _now(company)
    draft = drafted(company.owner, [*rules, *(rule(f"mine-{n}") for n in range(150))], base)
    publish(company, [*rules, *(rule(f"theirs-{n}") for n in range(150))])
    refused = problem(_rebased(company.owner, draft, base + 1), 422, "invalid_rules")
    assert "200 is the most" in refused["errors"][0]["message"]
    publish(company, rules)
    ok(ask(company.owner, draft, "withdraw"))


def test_the_history_is_listed_without_its_rules(company: Organisation) -> None:
    newest, rules = _now(company)
    first = ok(company.owner.api.get("/v1/constitution/history", params={"limit": 1}))
    assert [(each["version"], each["rules"]) for each in first["items"]] == [(newest, len(rules))]
    found, page = first["items"], first
    while page["has_more"]:
        page = ok(company.owner.api.get("/v1/constitution/history", params={"cursor": page["next_cursor"]}))
        found += page["items"]
    assert [each["version"] for each in found] == list(range(newest, 0, -1))
    ages = ok(company.owner.api.get("/v1/constitution/since"))
    assert {each["id"] for each in ages} == {each["id"] for each in rules}
    assert {each["version"] <= newest for each in ages} == {True}


def test_a_repeated_draft_is_the_same_one(company: Organisation) -> None:
    base, rules = _now(company)
    body, key = {"rules": rules, "reason": "again", "base_version": base}, once()
    first = company.owner.api.post(DRAFTS, json=body, headers=key)
    again = company.owner.api.post(DRAFTS, json=body, headers=key)
    assert (again.headers["Idempotent-Replayed"], again.json()) == ("true", first.json())
    ok(ask(company.owner, first.json(), "withdraw"))


@pytest.mark.parametrize(
    ("bad", "pointer", "said"),
    [
        (rule(when="args.ammount > 5", applies_to=["sandbox_bank.payments.create"]), "/rules/0/when", "amount"),
        (rule(when="'contcat_id' in args", applies_to=["sandbox_crm.notes.*"]), "/rules/0/when", "contact_id"),
    ],
)
def test_a_rule_that_names_what_no_tool_takes_is_refused(
    company: Organisation, world: World, bad: dict[str, Any], pointer: str, said: str
) -> None:
    base, _ = _now(company)
    draft = {"rules": [bad], "reason": "x", "base_version": base}
    with unchanged(world):
        for path, body in (
            (DRAFTS, draft),
            ("/v1/constitution/versions", {"rules": [bad], "reason": "x", "expected_version": base}),
        ):
            [error] = problem(company.owner.api.post(path, json=body, headers=once()), 422, "invalid_rules")["errors"]
            assert error["pointer"] == pointer
            assert said in error["message"]


def test_rules_are_validated_before_they_are_saved(company: Organisation, world: World) -> None:
    base, rules = _now(company)
    asked = [
        *rules,
        rule("twice", when="size(action.citations) == 9"),
        rule("twice", when="action.colour == 'red'"),
        rule("broken", when="args.(") | {"title": "A\u202eB"},
        {"id": "nothing"},
        rule("elsewhere", applies_to=["no.such.tool"]),
        rule("over", expires_at="2001-01-01T00:00:00Z"),
        rule("idle", "allow"),
        rule("wide", "allow", lifts=["risk"]),
        rule("same", "allow", lifts=["risk"]),
        rule("shaded", "require_approval"),
        rule("shade", "deny"),
        rule("bounds", bounds={"amounts": {"EUR": [5, 1]}}),
    ]
    with unchanged(world):
        answer = ok(company.owner.api.post("/v1/constitution/validate", json={"rules": asked}))
    at = len(rules)
    assert (answer["valid"], answer["widens"], answer["from_version"], answer["to_version"]) == (
        False,
        True,
        base,
        None,
    )
    errors = {(e["rule_id"], e["pointer"].removeprefix("/rules/"), e["kind"]) for e in answer["errors"]}
    assert {
        ("twice", f"{at + 1}/when", "expression"), ("twice", f"{at + 1}/id", "duplicate_id"),
        ("broken", f"{at + 2}/when", "expression"), ("broken", f"{at + 2}/title", "unseen_characters"),
        ("nothing", f"{at + 3}/when", "invalid"), ("bounds", f"{at + 11}/bounds/amounts/EUR", "empty_bounds"),
    } <= errors  # fmt: skip
    warned = {(w["rule_id"], w["kind"]) for w in answer["warnings"]}
    assert {
        ("elsewhere", "no_such_tool"), ("over", "expired"), ("idle", "lifts_nothing"), ("wide", "unbounded"),
        ("same", "duplicate"), ("shaded", "shadowed"),
    } <= warned  # fmt: skip
    fine = ok(company.owner.api.post("/v1/constitution/validate", json={"rules": rules}))
    assert (fine["valid"], fine["errors"], fine["widens"], fine["changes"]) == (True, [], False, [])


def test_there_is_no_version_but_those_that_were_published(company: Organisation) -> None:
    api = company.owner.api
    for number in (9_999, 2**31, 10**30):
        problem(api.get(f"/v1/constitution/versions/{number}"), 404, "not_found")
        problem(api.get("/v1/constitution/versions/1/diff", params={"with": number}), 404, "not_found")
    for number in (0, -1):
        problem(api.get(f"/v1/constitution/versions/{number}"), 422, "invalid_request")
    assert ok(api.get("/v1/constitution/versions/1"))["widened"] is False


def test_an_agent_reads_and_does_not_draft(company: Organisation) -> None:
    base, rules = _now(company)
    with company.agent() as agent:
        assert ok(agent.get("/v1/constitution"))["version"] == base
        body = {"rules": rules, "reason": "x", "base_version": base}
        problem(agent.post(DRAFTS, json=body, headers=once()), 403, "permission_denied")


def test_a_proposal_is_decided_under_other_rules_and_nothing_is_recorded(
    shared: Organisation, agent: Agent, world: World
) -> None:
    proposal = agent.proposal(NOTE, note())
    rules = in_force(shared)["rules"]
    draft = drafted(shared.owner, [*rules, NEVER], in_force(shared)["version"])
    ok(shared.owner.api.post("/v1/constitution/simulate", json={"proposal": proposal, "rules": rules}))
    with unchanged(world):
        for given in ({"rules": [*rules, NEVER]}, {"draft_id": draft["id"]}):
            body = {"proposal": proposal} | given
            found = ok(shared.owner.api.post("/v1/constitution/simulate", json=body))
            assert (found["candidate"]["outcome"], found["differs"]) == ("deny", True)
            assert found["candidate"]["rules_matched"] == ["never"]
            assert "never" not in found["in_force"]["rules_evaluated"]
            assert found["in_force"]["outcome"] != "deny"
        same = ok(agent.api.post("/v1/constitution/simulate", json={"proposal": proposal, "rules": rules}))
        assert not same["differs"]
        for body, status, code in (
            ({"proposal": proposal}, 422, "invalid_request"),
            ({"proposal": proposal, "rules": [rule(when="nope")]}, 422, "invalid_request"),
            ({"proposal": proposal, "draft_id": shared.tenant_id}, 404, "not_found"),
            ({"proposal": proposal | {"run_id": shared.tenant_id}, "rules": []}, 404, "not_found"),
            ({"proposal": proposal | {"workflow": "none"}, "rules": []}, 404, "not_found"),
            ({"proposal": proposal | {"args": {"x": 1}}, "rules": []}, 422, "contract_violation"),
        ):
            problem(shared.owner.api.post("/v1/constitution/simulate", json=body), status, code)


def test_who_has_signed_out_or_left_tries_no_rules(shared: Organisation, agent: Agent, world: World) -> None:
    """What a decision rests on may be in memory; who asks is looked up each time."""
    body = {"proposal": agent.proposal(NOTE, note()), "rules": in_force(shared)["rules"]}
    left, out = (join(shared, "approver", name=name) for name in ("Left Us", "Signed Out"))
    for person in (left, out):
        for _ in range(2):
            ok(person.api.post("/v1/constitution/simulate", json=body))
    ok(shared.owner.api.delete(f"/v1/members/{left.user_id}", headers=once()))
    world.rows("delete from auth.sessions where user_id = %s returning 1", out.user_id)
    problem(out.api.post("/v1/constitution/simulate", json=body), 401, "session_ended")
    assert left.api.post("/v1/constitution/simulate", json=body).status_code in (401, 403)


def test_the_library_is_listed_and_can_be_taken_over(company: Organisation) -> None:
    ready = ok(company.owner.api.get("/v1/constitution/library"))
    assert len(ready) >= 25
    assert {each["area"] for each in ready} == {"finance", "crm", "support", "outbound"}
    finance = ok(company.owner.api.get("/v1/constitution/library", params={"area": "finance"}))
    assert {each["area"] for each in finance} == {"finance"}
    base, rules = _now(company)
    publish(company, [*rules, *(each["rule"] for each in ready)])
    assert in_force(company)["widened"] is True  # it has rules that allow
    assert len(in_force(company)["rules"]) == len(rules) + len(ready)
    assert in_force(company)["rules"][-1]["origin"]["kind"] == "library"
    assert base + 1 == in_force(company)["version"]


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ([rule(f"r-{n}") for n in range(201)], 422),
        ([rule(f"r-{n}") for n in range(5_000)], 422),
        ([rule(f"r-{n}", principle="x" * 2000) for n in range(190)], 422),
        ([rule(when="x" * 2001)], 422),
        ([rule(when="(" * 500 + "true" + ")" * 500)], 422),
        ([rule(when="[1, 2].all(a, [1, 2].all(b, [1, 2].all(c, true)))")], 422),
        ([rule(when="args.body.matches('^(a+)+$')")], 422),
        ([rule(when="'a' + 'a' == 'aa'")], 422),
        ([rule(when="\u0430rgs.amount == 1")], 422),
        ([rule(when="action.t\u043eol == 'x'")], 422),
        ([rule(when="args['\u0430mount'] == 1", applies_to=["sandbox_bank.payments.create"])], 422),
        ([rule("ru\u04cfe")], 422),
        ([rule(applies_to=["s\u0430ndbox_bank.*"])], 422),
        ([rule(applies_to=["*"] * 51)], 422),
        ([rule(bounds={"counterparties": ["x"] * 201})], 422),
        ([rule(bounds={"amounts": {"EUR": [0, 2**53]}})], 400),
        ([rule(bounds={"amounts": {"EUR": [0, 1.5]}})], 422),
    ],
    ids=lambda value: str(value)[:50],
)
def test_hostile_rules_are_refused_and_nothing_is_saved(
    company: Organisation, world: World, rules: list[dict[str, Any]], status: int
) -> None:
    base, _ = _now(company)
    with unchanged(world):
        for path, numbered in ((DRAFTS, "base_version"), ("/v1/constitution/versions", "expected_version")):
            body = {"rules": rules, "reason": "x", numbered: base}
            problem(company.owner.api.post(path, json=body, headers=once()), status)


@pytest.mark.parametrize(
    "text",
    [
        '{"rules": [], "rules": [], "reason": "x", "base_version": 1}',
        '{"rules": [{"id": "a", "id": "b"}], "reason": "x", "base_version": 1}',
        '{"rules": [], "reason": "x", "base_version": NaN}',
        '{"rules": [], "reason": "x", "base_version": 9007199254740993}',
        '{"rules": [], "reason": "x", "base_version": 1e999}',
        '{"rules": ' + "[" * 60 + "]" * 60 + ', "reason": "x", "base_version": 1}',
    ],
    ids=lambda text: text[:40],
)
def test_what_two_readers_would_read_differently_is_no_body(company: Organisation, world: World, text: str) -> None:
    with unchanged(world):
        headers = once() | {"Content-Type": "application/json"}
        problem(company.owner.api.post(DRAFTS, content=text, headers=headers), (400, 422))
