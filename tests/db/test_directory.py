"""The directory changes by what one proposed and another person approved, and no other way: for its owner, too."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import VANTAGES, refused_everywhere, standing
from tests.db.directory import (
    IBAN,
    OTHER_IBAN,
    account,
    agreed,
    change,
    domain,
    entry,
    settings,
    verdict,
    vouch,
)
from tests.db.names import ACME, GLOBEX, Row, soon
from tests.db.world import World

DENIED = psycopg.errors.InsufficientPrivilege
PROPOSE, DECIDE, WITHDRAW = (f"{word}_directory_change_v1" for word in ("propose", "decide", "withdraw"))


@pytest.fixture(scope="module")
def directory(shared_world: World) -> World:
    """A world whose tests make entries of their own."""
    return shared_world


def _accounts(world: World, entry_id: str) -> list[tuple[str, str, timedelta]]:
    """(account, status, how long it cools off) of every bank detail the entry ever had, the oldest first."""
    return [
        (key.removeprefix("iban:"), status, cools)
        for key, status, cools in world.rows(
            "select key, status, trusted_from - created_at from app.directory_details"
            " where entry_id = %s and type = 'bank_account' order by created_at, key",
            entry_id,
        )
    ]


def _open(world: World, proposed: Row, who: str = "operator") -> Row:
    world.call(ACME.user(who), PROPOSE, proposed)
    return proposed


# Maker and checker.


def test_an_approved_change_is_done_and_a_proposed_one_is_not(directory: World) -> None:
    proposed = _open(directory, change())
    count = "select count(*) from app.directory_entries where id = %s"
    assert directory.value(count, proposed["entry_id"]) == 0
    answer = directory.call(ACME.user("approver"), DECIDE, verdict(proposed))
    assert (answer["status"], answer["decided_by"]) == ("approved", ACME.person("approver"))
    assert directory.value(count, proposed["entry_id"]) == 1


def test_nobody_checks_what_they_made(directory: World) -> None:
    for maker in ("owner", "admin", "approver"):
        proposed = _open(directory, change(), maker)
        for word in ("approve", "reject"):
            with directory.refuses("own_change"):
                directory.call(ACME.user(maker), DECIDE, verdict(proposed, word))


def test_who_made_the_account_or_its_key_is_no_other_person(directory: World) -> None:
    proposed = change()
    directory.call(ACME.service(), PROPOSE, proposed)
    # founding.py: the developer made the account, the owner issued the key.
    with directory.refuses("own_change"):
        directory.call(ACME.user("owner"), DECIDE, verdict(proposed))
    directory.call(ACME.user("owner2"), DECIDE, verdict(proposed))


@pytest.mark.parametrize("who", ["operator", "developer", "auditor"])
def test_who_lacks_the_permission_does_not_check(directory: World, who: str) -> None:
    proposed = _open(directory, change(), "admin")
    with directory.refuses("permission_denied"):
        directory.call(ACME.user(who), DECIDE, verdict(proposed))


def test_only_people_check_and_with_a_second_factor(directory: World) -> None:
    proposed = _open(directory, change())
    for claims in (ACME.service(), ACME.system()):
        with directory.refuses("permission_denied"):
            directory.call(claims, DECIDE, verdict(proposed))
    with directory.refuses("aal2_required"):
        directory.call(ACME.user("approver", "aal1"), DECIDE, verdict(proposed))


def test_the_permission_to_check_cannot_be_given_to_machines(directory: World) -> None:
    for setting in ("service = true", "system = true", "aal2 = false"):
        statement = f"update private.permissions set {setting} where permission = 'directory.approve'"
        refused_everywhere(directory, statement, reasons=(psycopg.errors.CheckViolation,))


def test_an_approval_names_what_was_seen(directory: World) -> None:
    proposed = _open(directory, change())
    with directory.refuses("digest_mismatch"):
        directory.call(ACME.user("approver"), DECIDE, verdict(proposed) | {"digest": "sha256:" + "0" * 64})
    with directory.refuses("unknown_verdict"):
        directory.call(ACME.user("approver"), DECIDE, verdict(proposed, "withdraw"))


def test_what_is_decided_stays_decided(directory: World) -> None:
    for word in ("approve", "reject"):
        proposed = _open(directory, change())
        directory.call(ACME.user("approver"), DECIDE, verdict(proposed, word))
        for again in ("approve", "reject"):
            with directory.refuses("already_decided"):
                directory.call(ACME.user("approver2"), DECIDE, verdict(proposed, again))
        with directory.refuses("already_decided"):
            directory.call(ACME.user("operator"), WITHDRAW, {"id": proposed["id"], "reason": "late"})


def test_only_the_maker_withdraws(directory: World) -> None:
    proposed = _open(directory, change())
    for who in ("owner", "approver", "admin"):
        with directory.refuses("not_the_proposer"):
            directory.call(ACME.user(who), WITHDRAW, {"id": proposed["id"], "reason": "mine"})
    assert (
        directory.call(ACME.user("operator"), WITHDRAW, {"id": proposed["id"], "reason": "x"})["status"] == "withdrawn"
    )


def test_a_change_expires(directory: World) -> None:
    proposed = _open(directory, change() | {"expires_at": soon(seconds=-1)})
    with directory.refuses("change_expired"):
        directory.call(ACME.user("approver"), DECIDE, verdict(proposed))
    # And is in nobody's way: the same entry can be proposed once more.
    _open(directory, change(entry_id=proposed["entry_id"]))
    status = directory.value("select status from app.directory_changes where id = %s", proposed["id"])
    assert status == "expired"


def test_one_change_at_a_time(directory: World) -> None:
    known = vouch(directory, ACME)
    _open(directory, change(kind="change", entry_id=known, base_version=1))
    with directory.refuses("change_open"):
        again = change(kind="remove", entry_id=known, base_version=1, entry=None, details=[])
        directory.call(ACME.user("admin"), PROPOSE, again)


def test_a_change_is_of_what_was_seen(directory: World) -> None:
    known = vouch(directory, ACME)
    for version in (0, 2):
        with directory.refuses("version_moved", psycopg.errors.CheckViolation):
            directory.call(ACME.user(), PROPOSE, change(kind="change", entry_id=known, base_version=version))
    agreed(directory, ACME, change(kind="remove", entry_id=known, base_version=1, entry=None, details=[]))
    with directory.refuses("not_found"):
        directory.call(ACME.user(), PROPOSE, change(kind="change", entry_id=known, base_version=2))
    for stranger in (vouch(directory, GLOBEX), str(new_id())):
        with directory.refuses("not_found"):
            directory.call(ACME.user(), PROPOSE, change(kind="change", entry_id=stranger, base_version=1))


def test_a_key_stays_in_its_environment(directory: World) -> None:
    known = vouch(directory, ACME, "production")
    with directory.refuses("wrong_environment"):
        directory.call(ACME.service("sandbox"), PROPOSE, change("production"))
    with directory.refuses("not_found"):
        moved = change("sandbox", "change", entry_id=known, base_version=1)
        directory.call(ACME.service("sandbox"), PROPOSE, moved)
    for environment in ("sandbox", "production"):
        with directory.refuses("people_only", "wrong_environment"):
            directory.call(ACME.service(environment), PROPOSE, settings(0))


# Bank details cool off.


def test_new_bank_details_cool_off_and_the_rest_does_not(directory: World) -> None:
    known = vouch(directory, ACME, details=[account(), domain("northwind.example")])
    assert _accounts(directory, known) == [(IBAN, "active", timedelta(hours=72))]
    of_the_domain = (
        "select trusted_from = created_at from app.directory_details where entry_id = %s and type = 'domain'"
    )
    assert directory.value(of_the_domain, known)


def test_changed_bank_details_cool_off_anew_also_when_they_come_back(directory: World) -> None:
    known = vouch(directory, ACME)
    for version, iban in ((1, OTHER_IBAN), (2, IBAN)):
        new = change(kind="change", entry_id=known, base_version=version, details=[account(iban)])
        agreed(directory, ACME, new)
    hours = timedelta(hours=72)
    assert _accounts(directory, known) == [
        (IBAN, "removed", hours), (OTHER_IBAN, "removed", hours), (IBAN, "active", hours),
    ]  # fmt: skip
    told = "select count(distinct created_at) from app.directory_details where entry_id = %s"
    assert directory.value(told, known) == 3


def test_what_stays_keeps_its_trust(directory: World) -> None:
    known = vouch(directory, ACME)
    since = directory.value("select trusted_from from app.directory_details where entry_id = %s", known)
    kept = [account(), domain("northwind.example")]
    agreed(directory, ACME, change(kind="change", entry_id=known, base_version=1, details=kept))
    rows = directory.rows("select type, trusted_from from app.directory_details where entry_id = %s", known)
    assert ("bank_account", since) in rows
    assert len(rows) == 2


def test_removal_takes_effect_at_once(directory: World) -> None:
    known = vouch(directory, ACME)
    agreed(directory, ACME, change(kind="remove", entry_id=known, base_version=1, entry=None, details=[]))
    assert directory.value("select status from app.directory_entries where id = %s", known) == "removed"
    assert _accounts(directory, known) == [(IBAN, "removed", timedelta(hours=72))]


def test_the_cooling_off_period_changes_by_maker_and_checker_and_for_what_follows(world: World) -> None:
    before = vouch(world, ACME)
    agreed(world, ACME, settings(100))
    after = vouch(world, ACME)
    assert [_accounts(world, known)[0][2] for known in (before, after)] == [timedelta(hours=72), timedelta(hours=100)]
    assert _accounts(world, vouch(world, GLOBEX))[0][2] == timedelta(hours=72)
    for hours in (-1, 721):
        proposed = _open(world, settings(hours, 1))
        with world.refuses(psycopg.errors.CheckViolation):
            world.call(ACME.user("approver"), DECIDE, verdict(proposed))
        world.call(ACME.user("operator"), WITHDRAW, {"id": proposed["id"]})
    with world.refuses("version_moved"):
        world.call(ACME.user(), PROPOSE, settings(2, 0))


# What the gate depends on, and what is told.


def test_every_change_raises_the_epoch_and_is_told_without_names_and_accounts(directory: World) -> None:
    seq, epoch = directory.last_event(), directory.epoch(ACME)
    proposed = _open(directory, change(entry=entry("Very Secret Name")))
    assert directory.epoch(ACME) == epoch
    directory.call(ACME.user("approver"), DECIDE, verdict(proposed))
    assert directory.epoch(ACME) > epoch
    events = directory.events(ACME, seq)
    assert {event["type"] for event in events} >= {
        "directory_change.proposed", "directory_change.approved", "directory_entry.created", "directory_detail.added",
    }  # fmt: skip
    told = json.dumps(events)
    assert proposed["digest"] in told
    assert "Secret" not in told
    assert IBAN not in told


# The same against whoever writes rows.


def test_nothing_is_in_the_directory_without_an_approved_change(directory: World) -> None:
    known = vouch(directory, ACME)
    proposed = _open(directory, change(kind="change", entry_id=known, base_version=1))
    entries, details = "app.directory_entries", "app.directory_details"
    values = f"'{ACME.id}', '{new_id()}', 'production', 'vendor', 'Mule', 'mule', 'mule', 1"
    columns = "tenant_id, id, environment, kind, name, key, skeleton, version"
    approved = f"(select id from app.directory_changes where entry_id = '{known}' and status = 'approved')"
    for statement in (
        f"insert into {entries} ({columns}, change_id) values ({values}, '{proposed['id']}')",
        f"insert into {entries} ({columns}, change_id) values ({values}, {approved})",
        f"update {entries} set name = 'Mule' where id = '{known}'",
        f"update {entries} set name = 'Mule', version = 2, change_id = '{proposed['id']}' where id = '{known}'",
        f"update {entries} set status = 'removed', version = 2, change_id = {approved} where id = '{known}'",
        f"update {details} set trusted_from = now() where entry_id = '{known}'",
        f"update {details} set key = 'iban:{OTHER_IBAN}' where entry_id = '{known}'",
        f"update {details} set status = 'removed', removed_by_change_id = {approved} where entry_id = '{known}'",
        (
            f"insert into {details} (tenant_id, environment, entry_id, type, key, value, trusted_from, change_id)"
            f" values ('{ACME.id}', 'production', '{known}', 'bank_account', 'iban:{OTHER_IBAN}', '{{}}', now(),"
            f" {approved})"
        ),
        (
            f"insert into app.directory_settings (tenant_id, version, cooling_off_hours, change_id) values"
            f" ('{ACME.id}', 1, 0, {approved})"
        ),
    ):
        refused_everywhere(
            directory, statement, claims=ACME.user("approver"),
            reasons=("change_not_approved", "immutable_column", "not_what_was_approved"),
        )  # fmt: skip


def test_nothing_of_its_history_goes_away(directory: World) -> None:
    vouch(directory, ACME)
    for table in ("changes", "entries", "details"):
        reasons = ("append_only",)
        refused_everywhere(directory, f"delete from app.directory_{table}", claims=ACME.user(), reasons=reasons)
        refused_everywhere(directory, f"truncate app.directory_{table} cascade", claims=ACME.user(), reasons=reasons)


def test_settings_are_history_too(world: World) -> None:
    agreed(world, ACME, settings(5))
    for statement in (
        "delete from app.directory_settings",
        "update app.directory_settings set cooling_off_hours = 0",
        "truncate app.directory_settings",
    ):
        refused_everywhere(world, statement, claims=ACME.user(), reasons=("append_only",))


def test_a_change_is_not_approved_past_its_checker(directory: World) -> None:
    """By row: by its maker, by nobody, in another's name, at aal1, by a machine, or with another payload."""
    proposed = _open(directory, change(), "admin")
    where = f"where id = '{proposed['id']}'"
    for by, claims, reason in (
        ("admin", ACME.user("admin"), "own_change"),
        ("approver", ACME.user("admin"), "people_only"),
        ("approver", ACME.user("approver", "aal1"), "aal2_required"),
        ("approver", ACME.user("operator"), "permission_denied"),
        ("approver", ACME.service(), "permission_denied"),
        ("approver", ACME.system(), "permission_denied"),
        ("approver", GLOBEX.user("approver"), "people_only"),
        ("approver", {}, "unauthenticated"),
    ):
        statement = f"update app.directory_changes set status = 'approved', decided_by = '{ACME.person(by)}' {where}"
        refused_everywhere(directory, statement, claims=claims, reasons=(reason,))
    for changed in (
        "payload = payload || ' '", "digest = 'sha256:0'", "entry_id = null", "proposed_by = decided_by",
        "expires_at = now() + interval '9 days'", "environment = 'sandbox'", "reason = 'mine'",
    ):  # fmt: skip
        statement = f"update app.directory_changes set {changed} {where}"
        reasons = ("immutable_column", "invalid_transition", psycopg.errors.CheckViolation)
        refused_everywhere(directory, statement, claims=ACME.user("approver"), reasons=reasons)


def test_an_approval_by_row_does_what_was_proposed_and_nothing_else(directory: World) -> None:
    """The owner of the tables with an approver's claims: what he approves is what was proposed, and is done."""
    proposed = _open(directory, change())
    approve = "update app.directory_changes set status = 'approved', decided_by = %s where id = %s"
    mule = (
        "insert into app.directory_details (tenant_id, environment, entry_id, type, key, value, trusted_from,"
        " change_id) values (%s, 'production', %s, 'bank_account', %s, '{}', now(), %s)"
    )
    approver = (ACME.person("approver"), proposed["id"])
    details = (ACME.id, proposed["entry_id"], f"iban:{OTHER_IBAN}", proposed["id"])
    with directory.refuses("not_what_was_approved"), standing(directory, "owner", ACME.user("approver")) as owner:
        owner.execute(approve.encode(), approver)
        owner.execute(mule.encode(), details)
    with standing(directory, "owner, replica", ACME.user("approver")) as owner:
        owner.execute(approve.encode(), approver)
    assert _accounts(directory, proposed["entry_id"]) == [(IBAN, "active", timedelta(hours=72))]
    # The transaction is over, and with it what this change could do.
    with directory.refuses("change_not_approved"), standing(directory, "owner", ACME.user("approver")) as owner:
        owner.execute(mule.encode(), details)


@pytest.mark.parametrize("vantage", VANTAGES)
def test_a_proposal_is_the_proposers_own_and_says_what_its_digest_covers(directory: World, vantage: str) -> None:
    insert = (
        "insert into app.directory_changes (tenant_id, id, environment, kind, entry_id, base_version, payload, digest,"
        " reason, evidence, proposed_by_kind, proposed_by, expires_at, status) values"
        " (%s, %s, %s, %s, %s, %s, %s, %s, 'x', '[]', %s, %s, now() + interval '1 day', %s)"
    )
    operator, approver = ACME.person("operator"), ACME.person("approver")
    for differs, by, status in (
        ({}, approver, "open"),
        ({}, operator, "approved"),
        ({"payload": "{}"}, operator, "open"),
        ({"digest": "sha256:" + sha256(b"else").hexdigest()}, operator, "open"),
        ({"kind": "remove", "base_version": 1}, operator, "open"),
        ({"environment": "sandbox"}, operator, "open"),
        ({"entry_id": str(new_id())}, operator, "open"),
    ):
        made = change() | differs
        columns = ("id", "environment", "kind", "entry_id", "base_version", "payload", "digest")
        values = (ACME.id, *(made[name] for name in columns), "user", by, status)
        reasons = ("not_the_proposer", "invalid_transition", "payload_mismatch", "wrong_isolation", DENIED)
        with directory.refuses(*reasons), standing(directory, vantage, ACME.user("operator")) as connection:
            connection.execute(insert.encode(), values)


def test_what_is_not_normalised_is_not_kept(directory: World) -> None:
    for detail in (
        account("DE89370400440532013001"),
        account("de89370400440532013000"),
        domain("Northwind.example"),
        domain("münchen.example"),
        {"type": "email", "key": "A@b.example", "skeleton": None, "value": {"email": "A@b.example"}},
        {"type": "phone", "key": "030901820", "skeleton": None, "value": {"phone": "030901820"}},
        {"type": "pigeon", "key": "grey", "skeleton": None, "value": {"pigeon": "grey"}},
        {"type": "address", "key": "1 mill lane", "skeleton": None, "value": None},
    ):
        proposed = _open(directory, change(details=[detail]))
        with directory.refuses(psycopg.errors.CheckViolation, psycopg.errors.NotNullViolation, note=detail):
            directory.call(ACME.user("approver"), DECIDE, verdict(proposed))


def test_who_may_not_read_the_directory_reads_nothing_of_it(world: World) -> None:
    vouch(world, ACME)
    world.call(ACME.user("developer"), "narrow_api_key_v1", {"id": ACME.key(), "scopes": ["tenant.read"]})
    with standing(world, "authenticated", ACME.service()) as key:
        for table in ("changes", "entries", "details", "settings"):
            assert key.execute(f"select count(*) from app.directory_{table}".encode()).fetchone() == (0,)
