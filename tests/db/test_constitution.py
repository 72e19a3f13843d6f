"""The life of a constitution: what widens needs two, whoever writes the rows, and a version is what was read."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from api.constitution.diff import widens
from api.ids import new_id
from tests.db.attacks import OWNER, VANTAGES, refused_everywhere, standing
from tests.db.constitutions import (
    CREATE,
    DECIDE,
    PUBLISH,
    SUBMIT,
    UPDATE,
    WITHDRAW,
    digest_of,
    draft,
    published,
    rule,
    submitted,
    verdict,
)
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import DENIED, World

ALLOW = rule("trust", "allow", lifts=["confidence"])
DENY = rule("never", "deny")
ASK = rule("ask", "require_approval", approvals={"count": 2, "roles": ["owner", "approver"], "aal": "aal1"})


def _version(world: World) -> int:
    return int(world.value("select max(version) from app.constitution_versions where tenant_id = %s", ACME.id))


def _newest(world: World, columns: str) -> tuple[Any, ...]:
    found = f"select {columns} from app.constitution_versions where tenant_id = %s order by version desc limit 1"
    return world.rows(found, ACME.id)[0]


# The ordinary way.


def test_from_draft_to_force(world: World) -> None:
    seq, epoch = world.last_event(), world.epoch(ACME)
    first = world.call(ACME.user("approver", "aal1"), CREATE, draft(ALLOW))
    assert (first["status"], first["revision"], first["widens"]) == ("draft", 1, True)
    edited = draft(ALLOW, DENY, id=first["id"])
    second = world.call(ACME.user("approver"), UPDATE, edited | {"if_match": ["1"]})
    assert (second["revision"], second["digest"]) == (2, digest_of(edited))
    world.call(ACME.user("approver"), SUBMIT, {"id": first["id"]})
    assert (_version(world), world.epoch(ACME)) == (1, epoch)
    done = world.call(ACME.user("admin"), DECIDE, verdict(second))
    assert (done["status"], done["version"], done["decided_by"]) == ("published", 2, ACME.person("admin"))
    assert world.epoch(ACME) > epoch
    author, by, digest, widened, rules = _newest(world, "author, published_by, digest, widened, rules")
    assert (str(author), str(by)) == (ACME.person("approver"), ACME.person("admin"))
    assert (digest, widened, rules) == (second["digest"], True, [ALLOW, DENY])
    assert [event["type"] for event in world.events(ACME, seq)] == [
        "constitution_draft.drafted", "constitution_draft.updated", "constitution_draft.in_review",
        "constitution_draft.published", "constitution.published",
    ]  # fmt: skip
    told = world.events(ACME, seq)[-1]["what"]
    assert (told["author"], told["widened"]) == (ACME.person("approver"), True)


def test_what_widens_nothing_is_published_by_one(world: World) -> None:
    made = world.call(ACME.user(), PUBLISH, {"rules": [DENY, ASK], "reason": "stop", "expected_version": 1})
    assert (made["version"], made["widened"]) == (2, False)
    own = submitted(world, ACME, draft(ASK, DENY, rule("more"), base=2))
    assert world.call(ACME.user(), DECIDE, verdict(own))["version"] == 3


@pytest.mark.parametrize("rules", [[], [ASK], [DENY, ASK, ALLOW]], ids=["none", "one less", "one that allows"])
def test_what_widens_needs_a_second_person(world: World, rules: list[Row]) -> None:
    world.call(ACME.user(), PUBLISH, {"rules": [DENY, ASK], "reason": "stop", "expected_version": 1})
    with world.refuses("second_person_needed"):
        world.call(ACME.user(), PUBLISH, {"rules": rules, "reason": "less", "expected_version": 2})
    own = submitted(world, ACME, draft(*rules, base=2))
    with world.refuses("second_person_needed"):
        world.call(ACME.user(), DECIDE, verdict(own))
    with world.refuses("aal2_required"):
        world.call(ACME.user("admin", "aal1"), DECIDE, verdict(own))
    for who in ("approver", "operator", "developer", "auditor"):
        with world.refuses("permission_denied"):
            world.call(ACME.user(who), DECIDE, verdict(own))
    assert world.call(ACME.user("owner2"), DECIDE, verdict(own))["version"] == 3


def test_a_draft_in_review_is_what_it_was(world: World) -> None:
    made = submitted(world, ACME, draft(DENY))
    with world.refuses("invalid_transition"):
        world.call(ACME.user(), UPDATE, draft(id=made["id"]) | {"if_match": None})
    with world.refuses("invalid_transition"):
        world.call(ACME.user(), SUBMIT, {"id": made["id"]})
    with world.refuses("digest_mismatch"):
        world.call(ACME.user("admin"), DECIDE, verdict(made) | {"digest": digest_of(draft(ALLOW))})
    with world.refuses("own_draft"):
        world.call(ACME.user(), DECIDE, verdict(made, "reject"))
    assert world.call(ACME.user("admin"), DECIDE, verdict(made, "reject"))["status"] == "rejected"
    for function, args in ((DECIDE, verdict(made)), (WITHDRAW, {"id": made["id"], "reason": "x"})):
        with world.refuses("already_decided"):
            world.call(ACME.user("owner"), function, args)


def test_a_draft_is_its_authors(world: World) -> None:
    made = world.call(ACME.user("approver"), CREATE, draft(DENY))
    for function, args in (
        (UPDATE, draft(id=made["id"]) | {"if_match": None}), (SUBMIT, {"id": made["id"]}),
        (WITHDRAW, {"id": made["id"], "reason": "x"}),
    ):  # fmt: skip
        with world.refuses("not_the_author"):
            world.call(ACME.user("owner"), function, args)
        for stranger in (GLOBEX.user("owner"), GLOBEX.user("approver")):
            with world.refuses("not_found"):
                world.call(stranger, function, args)
        for machine in (ACME.service(), ACME.system(), ACME.user("operator")):
            with world.refuses("permission_denied"):
                world.call(machine, function, args)
    with world.refuses("precondition_failed"):
        world.call(ACME.user("approver"), UPDATE, draft(id=made["id"]) | {"if_match": ["2"]})
    # What nobody submitted, nobody else publishes.
    with world.refuses("invalid_transition"):
        world.call(ACME.user("owner"), DECIDE, verdict(made))
    gone = world.call(ACME.user("approver"), WITHDRAW, {"id": made["id"], "reason": "a mistake"})
    assert (gone["status"], gone["decision_reason"]) == ("withdrawn", "a mistake")


def test_what_was_written_against_an_older_version_is_refused(world: World) -> None:
    stale, early = submitted(world, ACME, draft(DENY)), world.call(ACME.user(), CREATE, draft(ASK))
    published(world, ACME, ALLOW)
    with world.refuses("version_moved"):
        world.call(ACME.user("admin"), DECIDE, verdict(stale))
    for base in (0, 1, 3):
        with world.refuses("version_moved"):
            world.call(ACME.user(), CREATE, draft(DENY, base=base))
        with world.refuses("version_moved"):
            world.call(ACME.user(), PUBLISH, {"rules": [], "reason": "x", "expected_version": base})
    # Its author writes it anew against what is in force.
    anew = world.call(ACME.user(), UPDATE, draft(ALLOW, ASK, base=2, id=early["id"]) | {"if_match": ["1"]})
    assert (anew["base_version"], anew["widens"]) == (2, False)


def test_an_older_version_is_published_anew(world: World) -> None:
    published(world, ACME, ALLOW)
    world.call(ACME.user(), PUBLISH, {"rules": [DENY], "reason": "stop", "expected_version": 2})
    back = submitted(world, ACME, draft(ALLOW, base=3, origin_version=2))
    done = world.call(ACME.user("admin"), DECIDE, verdict(back))
    assert (done["version"], done["origin_version"], done["widens"]) == (4, 2, True)
    with world.refuses(psycopg.errors.ForeignKeyViolation):
        world.call(ACME.user(), CREATE, draft(ALLOW, base=4, origin_version=9))


# The same against whoever writes rows.


def test_no_version_without_a_draft_that_is_published_with_it(world: World) -> None:
    theirs, own = submitted(world, ACME, draft(ALLOW)), submitted(world, ACME, draft(ALLOW), "admin")
    past = published(world, ACME, DENY)
    columns = "(tenant_id, version, rules, reason, published_by, draft_id)"
    for number, rules, drafted in (
        (3, "[]", "null"), (3, "[]", f"'{theirs['id']}'"), (3, "[]", f"'{own['id']}'"), (3, "[]", f"'{past['id']}'"),
        (2, "[]", f"'{past['id']}'"), (3, "[{}]", f"'{past['id']}'"),
    ):  # fmt: skip
        statement = (
            f"insert into app.constitution_versions {columns} values"
            f" ('{ACME.id}', {number}, '{rules}', 'mine', '{ACME.person('admin')}', {drafted})"
        )
        refused_everywhere(world, statement, claims=ACME.user("admin"), reasons=("draft_not_published",))


@pytest.mark.parametrize("vantage", OWNER)
def test_a_publication_by_row_is_of_what_was_drafted_and_by_somebody_else(world: World, vantage: str) -> None:
    made = submitted(world, ACME, draft(ALLOW), "admin")
    publish = "update app.constitution_drafts set status = 'published', decided_by = %s where id = %s"
    for who, aal, by, reason in (
        ("admin", "aal2", "admin", "second_person_needed"),
        ("admin", "aal2", "owner", "people_only"),
        ("owner", "aal1", "owner", "aal2_required"),
        ("operator", "aal2", "operator", "permission_denied"),
    ):
        with (
            world.refuses(reason, "wrong_isolation", note=(who, by)),
            standing(world, vantage, ACME.user(who, aal)) as owner,
        ):
            owner.execute(publish.encode(), (ACME.person(by), made["id"]))
    for claims in (ACME.service(), ACME.system(), GLOBEX.user(), {}):
        reasons = ("permission_denied", "people_only", "unauthenticated", "wrong_isolation")
        with world.refuses(*reasons), standing(world, vantage, claims) as owner:
            owner.execute(publish.encode(), (ACME.person("owner"), made["id"]))
    for changed in (
        "rules = '[]'", "payload = '{}'", "digest = 'sha256:0'", "reason = 'mine'", "base_version = 2",
        "author = decided_by", "amendment_id = id", "origin_version = 1", "created_at = now()",
    ):  # fmt: skip
        statement = publish.replace("set ", f"set {changed}, ")
        refusals = ("invalid_transition", "immutable_column", "wrong_isolation", psycopg.errors.ForeignKeyViolation)
        with world.refuses(*refusals, note=changed), standing(world, vantage, ACME.user("owner")) as owner:
            owner.execute(statement.encode(), (ACME.person("owner"), made["id"]))
    if vantage in ("owner", "owner, replica"):
        with standing(world, vantage, ACME.user("owner")) as owner:
            owner.execute(f"{publish} and not widens is null".encode(), (ACME.person("owner"), made["id"]))
        assert _newest(world, "version, rules, widened") == (2, [ALLOW], True)


@pytest.mark.parametrize("vantage", VANTAGES)
def test_nobody_drafts_in_anothers_name_or_another_digest(world: World, vantage: str) -> None:
    insert = (
        "insert into app.constitution_drafts (tenant_id, id, base_version, rules, reason, payload, digest, status,"
        " author, widens, amendment_id) values (%s, %s, %s, %s, 'mine', %s, %s, %s, %s, false, %s)"
    )
    good = draft(ALLOW)
    owner2, admin = ACME.person("owner2"), ACME.person("admin")
    for differs, status, author, amendment in (
        ({}, "in_review", owner2, None),
        ({}, "in_review", owner2, str(new_id())),
        ({}, "published", admin, None),
        ({}, "rejected", admin, None),
        ({"payload": "{}"}, "draft", admin, None),
        ({"rules": [DENY]}, "in_review", admin, None),
        ({"base_version": 2}, "draft", admin, None),
    ):
        made = good | differs
        values = (
            ACME.id, str(new_id()), made["base_version"], Jsonb(made["rules"]), made["payload"], digest_of(good),
            status, author, amendment,
        )  # fmt: skip
        refusals = ("not_the_author", "invalid_transition", "payload_mismatch", "version_moved", "wrong_isolation")
        with (
            world.refuses(*refusals, DENIED, note=(status, differs)),
            standing(world, vantage, ACME.user("admin")) as connection,
        ):
            connection.execute(insert.encode(), values)


def test_a_draft_in_review_is_locked_and_none_goes_away(world: World) -> None:
    made = submitted(world, ACME, draft(ALLOW), "admin")
    reasons = ("invalid_transition", "immutable_column", "append_only", "not_the_author", "people_only")
    for statement in (
        "update app.constitution_drafts set rules = '[]'",
        "update app.constitution_drafts set status = 'draft'",
        "update app.constitution_drafts set status = 'draft', rules = '[]'",
        "update app.constitution_drafts set reason = 'other'",
        f"update app.constitution_drafts set author = '{ACME.person('owner2')}'",
        f"update app.constitution_drafts set status = 'withdrawn', decided_by = '{ACME.person('owner')}'",
        "update app.constitution_drafts set version = 7",
        "delete from app.constitution_drafts",
    ):
        statement += f" where id = '{made['id']}'"
        refused_everywhere(world, statement, claims=ACME.user("admin"), reasons=reasons)
    # And it does not say that it widens nothing.
    with standing(world, "owner", ACME.user("admin")) as owner:
        withdrawn = f"status = 'withdrawn', decided_by = '{ACME.person('admin')}', widens = false, revision = 9"
        owner.execute(f"update app.constitution_drafts set {withdrawn} where id = '{made['id']}'".encode())
    kept = world.rows("select widens, revision from app.constitution_drafts where id = %s", made["id"])
    assert kept == [(True, 1)]


# What widens: the database and the explanation say the same.


def _widens(world: World, old: list[Row], new: list[Row]) -> bool:
    return bool(world.value("select private.constitution_widens(%s, %s)", Jsonb(old), Jsonb(new)))


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ([], [], False),
        ([], [DENY, ASK], False),
        ([DENY, ASK], [ASK, DENY], False),
        ([DENY], [DENY | {"id": "other", "title": "T", "principle": "P", "origin": {"kind": "library", "ref": "x"}}],
         False),
        ([ALLOW], [], False),
        ([ALLOW, DENY], [DENY, ALLOW], False),
        ([DENY], [], True),
        ([], [ALLOW], True),
        ([ALLOW], [ALLOW | {"when": "false"}], True),
        ([ALLOW], [ALLOW | {"expires_at": "2030-01-01T00:00:00Z"}], True),
        ([ALLOW], [ALLOW | {"lifts": ["confidence", "confidence"]}], False),
        ([DENY], [DENY | {"effect": "require_approval"}], True),
        ([DENY], [DENY | {"when": "true "}], True),
        ([DENY], [DENY | {"expires_at": "2030-01-01T00:00:00Z"}], True),
        ([DENY | {"expires_at": "2001-01-01T00:00:00Z"}], [], True),
        ([DENY], [DENY | {"applies_to": ["*", "*"]}], False),
        ([DENY], [DENY | {"applies_to": ["a.*"]}], True),
        ([DENY], [DENY | {"bounds": DENY["bounds"] | {"tiers": ["gold"]}}], True),
        ([DENY], [DENY | {"bounds": DENY["bounds"] | {"amounts": {"EUR": [0, 1]}}}], True),
        ([DENY], [DENY | {"something": "new"}], True),
        ([{k: v for k, v in DENY.items() if k not in ("bounds", "origin", "lifts", "expires_at")}], [DENY], False),
        ([ASK], [ASK | {"approvals": {"count": 3, "roles": ["owner"], "aal": "aal2"}}], False),
        ([ASK], [ASK | {"approvals": None}], True),
        ([ASK], [ASK | {"approvals": {"count": 1, "roles": ["owner"], "aal": "aal2"}}], True),
        ([ASK], [ASK | {"approvals": {"count": 2, "roles": ["owner", "admin"], "aal": "aal2"}}], True),
        ([ASK | {"approvals": {"count": 2, "roles": ["owner"], "aal": "aal2"}}], [ASK], True),
        ([ASK | {"approvals": None}], [ASK], False),
        ([], [DENY | {"effect": "permit"}], True),
    ],
)  # fmt: skip
def test_what_widens(still_world: World, old: list[Row], new: list[Row], answer: bool) -> None:
    assert _widens(still_world, old, new) is answer
    assert widens(old, new) is answer


_RULES = st.builds(
    lambda effect, when, where, asks, bounds, expires: rule(
        effect=effect, when=when, applies_to=where, approvals=asks, bounds=bounds, expires_at=expires,
        lifts=["risk"] if effect == "allow" else [],
    ),
    st.sampled_from(["deny", "require_approval", "allow"]),
    st.sampled_from(["true", "false"]),
    st.sampled_from([["*"], ["a.*", "b.*"], ["b.*", "a.*"]]),
    st.none() | st.builds(
        lambda count, roles, aal: {"count": count, "roles": roles, "aal": aal},
        st.integers(1, 3),
        st.sampled_from([["owner"], ["owner", "approver"], ["approver", "owner"], ["admin"]]),
        st.sampled_from(["aal1", "aal2"]),
    ),
    st.sampled_from([{}, {"tiers": ["a", "b"]}, {"tiers": ["b", "a"]}, {"amounts": {"EUR": (0, 5)}}]),
    st.sampled_from([None, "2020-01-01T00:00:00Z"]),
)  # fmt: skip
_CONSTITUTIONS = st.lists(_RULES, max_size=4)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_CONSTITUTIONS, _CONSTITUTIONS, st.booleans())
def test_the_explanation_and_the_database_agree(
    still_world: World, old: list[Row], new: list[Row], related: bool
) -> None:
    new = [*new, *old] if related else new
    assert widens(old, new) is _widens(still_world, old, new)
