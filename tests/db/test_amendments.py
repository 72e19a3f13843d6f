"""Amendments: proposed by people from what people decided, and adopted by somebody else, whoever writes the rows."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.ids import new_id
from tests.db import constitutions
from tests.db.amendments import (
    ADOPT,
    BACKTEST,
    PROPOSE,
    REJECT,
    WITHDRAW,
    adoption,
    decided,
    denial,
    proposal,
    proposed,
    rule_of,
    waiting,
)
from tests.db.attacks import OWNER, VANTAGES, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, Row, soon
from tests.db.world import DENIED, World


def _rules(world: World) -> list[Row]:
    newest = "select rules from app.constitution_versions where tenant_id = %s order by version desc limit 1"
    found: list[Row] = world.value(newest, ACME.id)
    return found


def _alerts(world: World) -> list[tuple[Any, ...]]:
    return world.rows(
        "select subject_id, owner_id::text, occurrences, detail from app.alerts where kind = 'amendment.class_returned'"
    )


def test_from_a_decision_to_force(world: World) -> None:
    made = proposed(world, decided(world, ACME))
    seq, epoch = world.last_event(), world.epoch(ACME)
    done = world.call(ACME.user(), ADOPT, adoption(made, expected_version=1))
    assert (done["status"], done["decided_by"], done["constitution_version"]) == ("adopted", ACME.person("owner"), 2)
    assert _rules(world) == [made["rule"]]
    assert world.epoch(ACME) > epoch
    author, by, widened = world.rows(
        "select author::text, published_by::text, widened from app.constitution_versions where version = 2"
    )[0]
    assert (author, by, widened) == (ACME.person("approver"), ACME.person("owner"), True)
    assert [event["type"] for event in world.events(ACME, seq)] == [
        "constitution_draft.drafted", "constitution_draft.published", "constitution.published", "amendment.adopted",
    ]  # fmt: skip


def test_what_lets_less_happen_is_adopted_by_who_proposed_it(world: World) -> None:
    action = decided(world, ACME, verdict="reject")
    made = world.call(ACME.user(), PROPOSE, denial(action))
    done = world.call(ACME.user(), ADOPT, adoption(made))
    assert (done["kind"], done["constitution_version"]) == ("tighten", 2)


def test_who_proposes_neither_adopts_nor_rejects(world: World) -> None:
    made = proposed(world, decided(world, ACME), "admin")
    with world.refuses("second_person_needed"):
        world.call(ACME.user("admin"), ADOPT, adoption(made))
    with world.refuses("own_amendment"):
        world.call(ACME.user("admin"), REJECT, {"id": made["id"], "reason": "no"})
    with world.refuses("own_amendment"):
        world.call(ACME.user("approver"), WITHDRAW, {"id": made["id"], "reason": "no"})
    with world.refuses("aal2_required"):
        world.call(ACME.user("owner", "aal1"), ADOPT, adoption(made))
    for who in ("approver", "operator", "developer", "auditor"):
        with world.refuses("permission_denied", note=who):
            world.call(ACME.user(who), ADOPT, adoption(made))
    with world.refuses("not_found"):
        world.call(GLOBEX.user(), ADOPT, adoption(made))
    assert world.call(ACME.user("owner"), REJECT, {"id": made["id"], "reason": "no"})["status"] == "rejected"
    with world.refuses("already_decided"):
        world.call(ACME.user("owner"), ADOPT, adoption(made))


def test_what_is_adopted_was_tried_on_the_rules_in_force_and_read(world: World) -> None:
    action = decided(world, ACME)
    made = proposed(world, action, backtest={"flips": [], "contradictions_to_allow": 2})
    assert made["contradictions"] == 2
    with world.refuses("contradicts_people"):
        world.call(ACME.user(), ADOPT, adoption(made))
    with world.refuses("digest_mismatch"):
        world.call(ACME.user(), ADOPT, adoption(made) | {"digest": "sha256:0"})
    with world.refuses("version_moved"):
        world.call(ACME.user(), ADOPT, adoption(made, expected_version=2))
    stop = {"rules": [constitutions.rule()], "reason": "stop", "expected_version": 1}
    world.call(ACME.user(), constitutions.PUBLISH, stop)
    with world.refuses("backtest_outdated"):
        world.call(ACME.user(), ADOPT, adoption(made, acknowledge=True))
    again = {"id": made["id"], "backtest": {"flips": [], "contradictions_to_allow": 1}, "backtest_version": 2}
    assert world.call(ACME.user("approver2"), BACKTEST, again)["contradictions"] == 1
    done = world.call(ACME.user(), ADOPT, adoption(made, acknowledge=True))
    assert (done["constitution_version"], done["acknowledged"]) == (3, True)
    assert [rule["id"] for rule in _rules(world)] == ["a-rule", made["rule"]["id"]]


def test_one_proposal_of_a_class_and_what_nobody_decides_lapses(world: World) -> None:
    first, second = decided(world, ACME), decided(world, ACME)
    made = proposed(world, first)
    with world.refuses("amendment_open"):
        proposed(world, second, "admin")
    # Its rule has ended before anybody adopted it.
    with standing(world, "owner") as owner:
        owner.execute("alter table app.amendments disable trigger amendments_keep_columns")
        owner.execute("alter table app.amendments disable trigger amendments_guard")
        ended = "update app.amendments set rule = jsonb_set(rule, '{expires_at}', to_jsonb(%s::text)) where id = %s"
        owner.execute(ended.encode(), (soon(days=-1), made["id"]))
        owner.execute("set constraints all immediate")
        owner.execute("alter table app.amendments enable always trigger amendments_keep_columns")
        owner.execute("alter table app.amendments enable always trigger amendments_guard")
    with world.refuses("rule_expired"):
        world.call(ACME.user(), ADOPT, adoption(made))
    assert proposed(world, second, "admin")["status"] == "proposed"
    assert world.value("select status from app.amendments where id = %s", made["id"]) == "lapsed"


def test_a_class_that_returns_is_told_to_who_adopted(world: World) -> None:
    made = proposed(world, decided(world, ACME))
    waiting(world, ACME)
    assert _alerts(world) == []
    world.call(ACME.user(), ADOPT, adoption(made))
    waiting(world, ACME, name="another class")
    waiting(world, GLOBEX)
    assert _alerts(world) == []
    back = waiting(world, ACME)
    waiting(world, ACME)
    [(subject, owner, occurrences, detail)] = _alerts(world)
    assert (subject, owner, occurrences) == (made["id"], ACME.person("owner"), 2)
    assert detail["class_key"] == back.arguments["class"]["key"]
    assert (detail["worth"], detail["outside"]) == ({"EUR": 1299}, [])


def test_what_lies_out_of_its_bounds_is_said(world: World) -> None:
    action, identity = decided(world, ACME), str(new_id())
    bounds = {"workflows": [ACME.slug("production")], "amounts": {"EUR": (0, 1000)}}
    rule = rule_of(identity, ACME, bounds=bounds)
    made = world.call(ACME.user("approver"), PROPOSE, proposal(action, rule, id=identity))
    world.call(ACME.user(), ADOPT, adoption(made))
    waiting(world, ACME)
    assert _alerts(world)[0][3]["outside"] == ["EUR"]


def test_a_class_that_no_rule_covers_any_more_returns_in_silence(world: World) -> None:
    made = proposed(world, decided(world, ACME))
    world.call(ACME.user(), ADOPT, adoption(made))
    world.call(ACME.user(), constitutions.PUBLISH, {"rules": [], "reason": "enough", "expected_version": 2})
    waiting(world, ACME)
    assert _alerts(world) == []


# The same against whoever writes rows.

_INSERT = """
    insert into app.amendments (tenant_id, id, environment, exception_id, class_key, kind, rule, payload, digest,
        reason, proposed_by, backtest, backtest_version, status, acknowledged)
    values (%(tenant_id)s, %(id)s, %(environment)s, %(exception_id)s, %(class_key)s, %(kind)s, %(rule)s, %(payload)s,
        'sha256:' || encode(sha256(convert_to(%(digest_of)s, 'UTF8')), 'hex'), 'mine', %(proposed_by)s, '{}', 1,
        %(status)s, %(acknowledged)s)
"""


def _row(action: Any, **changes: Any) -> Row:
    args = proposal(action)
    row: Row = {
        "tenant_id": ACME.id, "environment": "production", "class_key": action.arguments["class"]["key"],
        "proposed_by": ACME.person("admin"), "status": "proposed", "acknowledged": False, "digest_of": args["payload"],
    } | args | changes  # fmt: skip
    if "rule" in changes and "payload" not in changes:
        row["payload"] = row["digest_of"] = json.dumps(changes["rule"])
    return row | {"rule": Jsonb(row["rule"]), "backtest": None}


@pytest.mark.parametrize("vantage", VANTAGES)
def test_no_row_is_proposed_that_is_not_what_was_decided(world: World, vantage: str) -> None:
    action, rejected, open_ = decided(world, ACME), decided(world, ACME, verdict="reject"), waiting(world, ACME)
    identity = str(new_id())

    def rule(**changes: Any) -> Row:
        return {"id": identity, "rule": rule_of(identity, ACME, **changes)}

    attacks: list[Row] = [
        _row(action, proposed_by=ACME.person("owner")),
        _row(action, status="adopted"),
        _row(action, status="withdrawn"),
        _row(action, acknowledged=True),
        _row(action, class_key="0" * 64),
        _row(action, environment="sandbox"),
        _row(action, payload="{}"),
        _row(action, digest_of="another"),
        _row(action, kind="tighten"),
        _row(action, id=str(new_id()), rule=rule_of(str(new_id()), ACME)),
        _row(action, **rule(applies_to=["*"])),
        _row(action, **rule(bounds={})),
        _row(action, **rule(bounds={"workflows": ["another"]})),
        _row(action, **rule(lifts=[])),
        _row(action, **rule(lifts=["value"])),
        _row(action, **rule(lifts=["counterparty"])),
        _row(action, **rule(expires_at=None)),
        _row(action, **rule(expires_at=soon(days=400))),
        _row(action, **rule(effect="require_approval", lifts=[])),
        _row(rejected),
        _row(open_),
    ]
    for number, row in enumerate(attacks):
        with world.refuses(note=(number, row)), standing(world, vantage, ACME.user("admin")) as connection:
            connection.execute(_INSERT.encode(), row)
    for claims in (ACME.user("operator"), ACME.service(), ACME.system(), GLOBEX.user(), {}):
        with world.refuses(note=claims), standing(world, vantage, claims) as connection:
            connection.execute(_INSERT.encode(), _row(action))
    if vantage in ("owner", "owner, replica"):  # what none of the attacks is stopped by
        with standing(world, vantage, ACME.user("admin")) as connection:
            connection.execute(_INSERT.encode(), _row(action))


def test_no_row_is_adopted_whose_rule_is_not_in_force(world: World) -> None:
    made = proposed(world, decided(world, ACME))
    # Another amendment's publication, of the past, does not do for this one.
    other = proposed(world, decided(world, ACME, name="another"))
    world.call(ACME.user(), ADOPT, adoption(other))
    world.call(ACME.user("approver"), BACKTEST, {"id": made["id"], "backtest": {}, "backtest_version": 1})
    for set_to in (
        "constitution_version = 2",
        "constitution_version = 1",
        "constitution_version = null",
        "constitution_version = 2, acknowledged = true, backtest_version = 1",
    ):
        statement = (
            f"update app.amendments set status = 'adopted', decided_by = '{ACME.person('owner')}', {set_to}"
            f" where id = '{made['id']}'"
        )
        reasons = ("not_in_force", "backtest_outdated", psycopg.errors.CheckViolation)
        refused_everywhere(world, statement, claims=ACME.user("owner"), reasons=reasons)


@pytest.mark.parametrize("vantage", OWNER)
def test_no_amendment_is_in_force_while_it_waits(world: World, vantage: str) -> None:
    """A draft in the name of who proposed it, published past the amendment, which would stay open."""
    made = proposed(world, decided(world, ACME))
    draft = (
        "select private.write_draft(%s, %s,"
        " jsonb_build_object('base_version', 1, 'rules', %s::jsonb, 'reason', 'mine'), 'in_review', %s)"
    )
    publish = "update app.constitution_drafts set status = 'published', decided_by = %s where amendment_id = %s"
    author, owner_id = ACME.person("approver"), ACME.person("owner")
    with (
        world.refuses("not_adopted", "wrong_isolation"),
        standing(world, vantage, ACME.user("owner")) as owner,
    ):
        owner.execute(draft.encode(), (ACME.id, author, Jsonb([made["rule"]]), made["id"]))
        owner.execute(publish.encode(), (owner_id, made["id"]))
    for rules in ([], [made["rule"], made["rule"] | {"id": "more"}], [made["rule"] | {"when": "false"}]):
        with world.refuses("not_the_author", "wrong_isolation"), standing(world, vantage, ACME.user("owner")) as owner:
            owner.execute(draft.encode(), (ACME.id, author, Jsonb(rules), made["id"]))
    with world.refuses("not_the_author", "wrong_isolation"), standing(world, vantage, ACME.user("owner")) as owner:
        owner.execute(draft.encode(), (ACME.id, ACME.person("admin"), Jsonb([made["rule"]]), made["id"]))
    assert _rules(world) == []


def test_what_was_proposed_stays_what_it_was(world: World) -> None:
    made = proposed(world, decided(world, ACME), "admin")
    reasons = (
        "immutable_column", "invalid_transition", "append_only", "not_expired", "own_amendment", "people_only",
        "second_person_needed",
    )  # fmt: skip
    for changed in (
        "rule = '{}'", "payload = '{}'", "digest = 'sha256:0'", "reason = 'other'", "kind = 'tighten'",
        "class_key = 'x'", "exception_id = id", "created_at = now()", f"proposed_by = '{ACME.person('owner')}'",
        "acknowledged = true", "decision_reason = 'x'", "status = 'lapsed'", "status = 'rejected'",
        f"status = 'withdrawn', decided_by = '{ACME.person('owner')}'",
        f"status = 'withdrawn', decided_by = '{ACME.person('admin')}', contradictions = 3",
    ):  # fmt: skip
        statement = f"update app.amendments set {changed} where id = '{made['id']}'"
        refused_everywhere(world, statement, claims=ACME.user("admin"), reasons=reasons)
    refused_everywhere(
        world, f"delete from app.amendments where id = '{made['id']}'", claims=ACME.user("admin"), reasons=reasons
    )


def test_a_class_stays_what_it_was(world: World) -> None:
    action = waiting(world, ACME)
    for changed in (
        "class_key = null, class = null",
        "class = class || '{\"worth\": {}}'",
        f"class_key = '{'0' * 64}'",
    ):
        statement = f"update app.exceptions set {changed} where id = '{action.exception}'"
        refused_everywhere(world, statement, claims=ACME.user("owner"), reasons=("immutable_column",))


def test_what_is_not_shown_to_others(world: World) -> None:
    made = proposed(world, decided(world, ACME))
    theirs = [GLOBEX.user(), ACME.service("sandbox")]
    for claims in theirs:
        with standing(world, "authenticated", claims) as connection:
            assert connection.execute("select id from app.amendments").fetchall() == []
    with standing(world, "authenticated", ACME.user("auditor")) as connection:
        assert [str(row[0]) for row in connection.execute("select id from app.amendments")] == [made["id"]]
    with world.refuses(DENIED), standing(world, "authenticated", ACME.user()) as connection:
        connection.execute("select private.run_facts(null, null)")
