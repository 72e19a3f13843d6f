"""Invariant 8 through a connection's life: what renews, revokes and rewraps tokens hands them to nobody else."""

from __future__ import annotations

import json
from hashlib import sha256

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, Row, soon
from tests.db.world import World

READ, WRITE = ACME.connection("bank/read"), ACME.connection("bank/write")


def _tokens(connection: str, **more: object) -> Row:
    return {"connection_id": connection, "envelope": "sealed:new", "token_expires_at": soon()} | more


def _envelope(kek: str, data: str = "tokens", key: str = "wrapped") -> str:
    return json.dumps({"v": 1, "kek": kek, "key": f"{key} by {kek}", "data": data})


def _secrets(world: World, connection: str) -> list[str]:
    name = f"countersign/{connection}/%"
    return [
        envelope
        for (envelope,) in world.rows("select decrypted_secret from vault.decrypted_secrets where name like %s", name)
    ]


def _store(world: World, connection: str, **more: object) -> Row:
    generation = world.value("select generation from app.credentials where connection_id = %s", connection)
    return world.call(ACME.system(), "store_credential_v1", _tokens(connection, replaces=generation, **more))


def _later(world: World, statement: str, *values: object) -> None:
    """A change that only time brings about, past every guard."""
    table = statement.split()[1]
    with world.root.transaction():
        world.root.execute(f"alter table {table} disable trigger user".encode())
        world.root.execute(statement.encode(), values)
        world.root.execute(
            f"do $$ declare t name; begin for t in select tgname from pg_trigger where tgrelid = '{table}'::regclass"
            f" and not tgisinternal loop execute format('alter table {table} enable always trigger %I', t);"
            " end loop; end $$".encode()
        )


# Kept alive.


def test_a_credential_is_kept_alive_when_it_is_due_and_by_one_at_a_time(world: World) -> None:
    args = {"connection_id": WRITE}
    keeper = ACME.system("refresh_tokens")
    with world.nothing_released():
        assert world.call(keeper, "claim_keep_alive_v1", args) == {"claimed": False}  # nothing says that it is due
    _later(world, "update app.credentials set renew_at = now() + interval '1 hour' where connection_id = %s", WRITE)
    with world.nothing_released():
        assert world.call(keeper, "claim_keep_alive_v1", args) == {"claimed": False}
    _later(world, "update app.credentials set renew_at = now() where connection_id = %s", WRITE)
    for claims in (ACME.user(), ACME.user("admin"), ACME.service()):
        with world.refuses("permission_denied"):
            world.call(claims, "claim_keep_alive_v1", args)
    with world.nothing_released():
        assert world.call(GLOBEX.system(), "claim_keep_alive_v1", args) == {"claimed": False}
    seen = world.last_event()
    assert world.call(keeper, "claim_keep_alive_v1", args)["credential"]["envelope"] == ACME.envelope("bank/write")
    (released,) = [event for event in world.events(after=seen) if event["type"] == "credential.released"]
    assert (released["why"]["purpose"], released["principal"]["id"]) == ("keep_alive", "refresh_tokens")
    with world.nothing_released():
        assert world.call(keeper, "claim_keep_alive_v1", args) == {"claimed": False}


def test_the_schedule_is_given_ids_and_tenants_take_turns(world: World) -> None:
    for tenant in (ACME, GLOBEX):
        for kind in ("bank/read", "bank/write", "crm/read", "crm/write"):
            statement = "update app.credentials set renew_at = now() - interval '1 hour' where connection_id = %s"
            _later(world, statement, tenant.connection(kind))
    with standing(world, "countersign_api") as worker:
        worker.execute("set local role countersign_worker")
        row = worker.execute("select app.claim_connection_upkeep_v1(4)").fetchone()
    assert row is not None
    assert sorted(item["tenant_id"] for item in row[0]) == sorted([ACME.id] * 2 + [GLOBEX.id] * 2)
    assert {frozenset(item) for item in row[0]} == {frozenset(("tenant_id", "connection_id", "provider", "work"))}


# Other scopes than were asked for.


@pytest.mark.parametrize(("granted", "drift"), [(["all", "more"], "wider"), ([], "narrower"), (["else"], "wider")])
def test_a_connection_that_drifted_gives_its_tokens_for_no_call(world: World, granted: list[str], drift: str) -> None:
    action, reading = world.authorized(), world.observation()
    held = world.claim(world.authorized())["attempt_id"]
    for connection in (WRITE, READ):
        assert _store(world, connection, scopes_granted=granted)["status"] == "degraded"
    refresh = {"connection_id": WRITE, "claimed_for": held, "generation": 1}
    with world.nothing_released():
        assert world.claim(action)["claimed"] is False
        for function, claims, args in (
            ("claim_observation_v1", ACME.service(), reading | {"epoch": world.epoch(ACME)}),
            ("claim_refresh_v1", ACME.system(), refresh),  # also for who waits for it with a claim
        ):
            with world.refuses("connection_not_active"):
                world.call(claims, function, args)
    raised = "select kind, severity, status from app.alerts where subject_id = %s"
    assert world.rows(raised, WRITE) == [
        (f"connection.scopes_{drift}", "critical" if drift == "wider" else "warning", "open")
    ]
    assert _store(world, WRITE, scopes_granted=["all"])["status"] == "active"  # the provider thought better of it
    assert world.rows(raised, WRITE)[0][2] == "resolved"
    assert world.claim(action)["claimed"]


def test_a_first_grant_that_is_wider_is_not_stored(world: World) -> None:
    connection, state = str(new_id()), sha256(b"first").hexdigest()
    begin = {
        "id": connection, "provider": "sandbox_bank", "environment": "production", "access": "read", "scopes": ["all"],
        "state_hash": state, "binding_hash": state, "verifier": "sealed", "redirect_uri": "https://x.example",
        "expires_at": soon(minutes=1),
    }  # fmt: skip
    world.call(ACME.user("admin"), "create_connection_v1", begin)
    with world.refuses("scopes_differ"):
        tokens = _tokens(connection, replaces=None, scopes_granted=["all", "more"])
        world.call(ACME.user("admin"), "store_credential_v1", tokens)


# Signed in anew.


def _begun_again(world: World, connection: str = WRITE, who: str = "admin") -> str:
    """A new sign-in of a connection, come back from the provider; its state's hash."""
    state = sha256(str(new_id()).encode()).hexdigest()
    begin = {
        "id": connection, "scopes": ["all"], "state_hash": state, "binding_hash": state, "verifier": "sealed",
        "redirect_uri": "https://x.example", "expires_at": soon(minutes=5),
    }  # fmt: skip
    world.call(ACME.user(who), "begin_reconnect_v1", begin)
    world.owner.execute("select app.claim_oauth_flow_v1(decode(%s, 'hex'), decode(%s, 'hex'))", (state, state))
    return state


def _again(world: World, state: str, **more: object) -> Row:
    account = {"account": {"id": ACME.mark("production")}, "scopes_granted": ["all"]}
    return _tokens(WRITE, replaces=1, state_hash=state) | account | more


def test_tokens_are_replaced_by_who_signed_in_and_as_they_asked(world: World) -> None:
    state = _begun_again(world)
    other = _begun_again(world, READ)
    for wrong, reason in (
        ({"state_hash": other}, "no_sign_in"),
        ({"state_hash": sha256(b"made up").hexdigest()}, "no_sign_in"),
        ({"account": {"id": "another"}}, "another_account"),
        ({"account": {}}, "another_account"),
        ({"scopes_granted": ["all", "more"]}, "scopes_differ"),
        ({"scopes_granted": []}, "scopes_differ"),
    ):
        with world.refuses(reason, note=wrong):
            world.call(ACME.user("admin"), "complete_reconnect_v1", _again(world, state, **wrong))
    for claims in (ACME.user(), ACME.user("admin", "aal1"), ACME.user("approver"), ACME.system(), ACME.service()):
        with world.refuses("no_sign_in", "permission_denied", "aal2_required"):
            world.call(claims, "complete_reconnect_v1", _again(world, state))
    _store(world, WRITE)  # a refresh is faster
    with world.unchanged():
        late = world.call(ACME.user("admin"), "complete_reconnect_v1", _again(world, state))
    assert late == {"stored": False, "generation": 2}
    done = world.call(ACME.user("admin"), "complete_reconnect_v1", _again(world, state, replaces=2))
    assert (done["stored"], done["generation"]) == (True, 3)
    with world.unchanged():  # once more, as after an answer that was lost
        again = world.call(ACME.user("admin"), "complete_reconnect_v1", _again(world, state, replaces=3))
    assert again["stored"]
    with world.refuses("generation_moved"):
        world.call(ACME.system(), "store_credential_v1", _tokens(WRITE, replaces=2))  # by who still holds the old ones


def test_an_expired_connection_comes_back_with_new_tokens_only(world: World) -> None:
    world.call(
        ACME.system(), "fail_refresh_v1", {"connection_id": WRITE, "generation": 1, "reason": "gone", "final": True}
    )
    for status in ("active", "degraded", "pending"):
        refused_everywhere(
            world,
            f"update app.connections set status = '{status}' where id = '{WRITE}'",
            claims=ACME.user(),
            reasons=("invalid_transition",),
        )
    refused_everywhere(
        world,
        f"update app.connections set scopes_requested = array['more'] where id = '{WRITE}'",
        claims=ACME.user(),
        reasons=("immutable_column",),
    )
    with world.refuses("connection_closed"):
        world.call(ACME.system(), "store_credential_v1", _tokens(WRITE, replaces=1))
    state = _begun_again(world)
    world.call(ACME.user("admin"), "complete_reconnect_v1", _again(world, state))
    assert world.value("select status from app.connections where id = %s", WRITE) == "active"
    kinds = world.rows("select kind, status from app.alerts where subject_id = %s", WRITE)
    assert kinds == [("connection.expired", "resolved")]


# Disconnected, step by step.


def test_a_closed_connection_gives_its_tokens_to_be_revoked_and_for_nothing_else(world: World) -> None:
    action, attempt = world.authorized(), world.claim(world.authorized())["attempt_id"]
    with world.nothing_released():
        closed = world.call(ACME.user("admin"), "revoke_connection_v1", {"id": WRITE, "reason": "left"})
    assert (closed["credential"], closed["disconnect"]["step"]) == (None, "revoking_at_provider")
    assert _secrets(world, WRITE) == [ACME.envelope("bank/write")]
    refresh = {"connection_id": WRITE, "claimed_for": attempt, "generation": 1}
    with world.nothing_released():
        assert world.claim(action)["claimed"] is False
        with world.refuses("no_live_claim"):
            world.call(ACME.system(), "claim_refresh_v1", refresh)
        with world.refuses("connection_closed"):
            world.call(ACME.system(), "store_credential_v1", _tokens(WRITE, replaces=1))
        _later(world, "update app.credentials set renew_at = now() where connection_id = %s", WRITE)
        assert world.call(ACME.system(), "claim_keep_alive_v1", {"connection_id": WRITE}) == {"claimed": False}
        for claims in (ACME.user(), ACME.service()):
            with world.refuses("permission_denied"):
                world.call(claims, "claim_revocation_v1", {"connection_id": WRITE})
    claimed = world.call(ACME.system(), "claim_revocation_v1", {"connection_id": WRITE})
    assert claimed["credential"]["envelope"] == ACME.envelope("bank/write")
    assert world.call(ACME.system(), "claim_revocation_v1", {"connection_id": WRITE})["claimed"] is False
    ended = {"connection_id": WRITE, "attempt": 1, "generation": 1, "outcome": "confirmed"}
    for late in ({"attempt": 0}, {"attempt": 2}):
        with world.refuses("lease_lost"):
            world.call(ACME.system(), "finish_revocation_v1", ended | late)
    refused_everywhere(
        world,
        "update app.disconnections set status = 'finished', at_provider = 'confirmed', next_attempt_at = null"
        f" where connection_id = '{WRITE}'",
        claims=ACME.user(),
        vantages=OWNER,
        reasons=("invalid_transition",),
    )
    done = world.call(ACME.system(), "finish_revocation_v1", ended)
    assert (done["step"], done["at_provider"]) == ("finished", "confirmed")
    assert _secrets(world, WRITE) == []
    with world.refuses("lease_lost"):
        world.call(ACME.system(), "finish_revocation_v1", ended)
    with world.unchanged():
        again = world.call(ACME.user("admin"), "revoke_connection_v1", {"id": WRITE})
    assert again["disconnect"]["at_provider"] == "confirmed"
    for statement in (
        f"delete from app.disconnections where connection_id = '{WRITE}'",
        f"update app.disconnections set status = 'revoking', finished_at = null where connection_id = '{WRITE}'",
        f"update app.connections set status = 'active' where id = '{WRITE}'",
    ):
        reasons = ("append_only", "invalid_transition")
        refused_everywhere(world, statement, claims=ACME.user(), vantages=OWNER, reasons=reasons)


def test_a_refresh_under_way_at_a_disconnect_is_revoked_with_its_own_tokens(world: World) -> None:
    """The provider has replaced the tokens that we hold: only the new ones end the grant."""
    attempt = world.claim(world.authorized())["attempt_id"]
    world.call(ACME.system(), "claim_refresh_v1", {"connection_id": WRITE, "claimed_for": attempt, "generation": 1})
    world.call(ACME.user("admin"), "revoke_connection_v1", {"id": WRITE})
    assert world.call(ACME.system(), "claim_revocation_v1", {"connection_id": WRITE})["reason"] == "busy"
    stored = world.call(ACME.system(), "store_credential_v1", _tokens(WRITE, replaces=1))
    assert stored["status"] == "revoked"  # so that whoever refreshed makes no call with them
    claimed = world.call(ACME.system(), "claim_revocation_v1", {"connection_id": WRITE})
    assert (claimed["credential"]["generation"], claimed["credential"]["envelope"]) == (2, "sealed:new")


def test_a_grant_that_another_connection_holds_is_left_to_the_last_of_them(world: World) -> None:
    """Nobody gets the tokens of what is closed before; and no word of the caller's makes a grant shared."""
    asked: Row = {"connection_id": WRITE, "ends": "grant"}
    world.call(ACME.user("admin"), "revoke_connection_v1", {"id": WRITE})
    with world.nothing_released():
        left = world.call(ACME.system(), "claim_revocation_v1", asked)
    assert (left["claimed"], left["reason"], left["disconnect"]["at_provider"]) == (False, "shared", "shared")
    assert _secrets(world, WRITE) == []
    world.call(ACME.user("admin"), "revoke_connection_v1", {"id": READ})
    claimed = world.call(ACME.system(), "claim_revocation_v1", asked | {"connection_id": READ})
    assert claimed["credential"]["envelope"] == ACME.envelope("bank/read")
    ended = {"connection_id": READ, "attempt": 1, "generation": 1, "outcome": "shared"}
    with world.refuses("invalid_outcome"):
        world.call(ACME.system(), "finish_revocation_v1", ended)
    for claims in (ACME.user(), ACME.service()):
        for function in ("grant_lives_on_v1", "expire_sign_in_v1"):
            with world.refuses("permission_denied"):
                world.call(claims, function, asked)
    with world.refuses("not_found"):
        world.call(ACME.system(), "grant_lives_on_v1", {"connection_id": GLOBEX.connection("bank/read")})
    assert world.call(ACME.system(), "expire_sign_in_v1", asked) == {"expired": False}  # it was no sign-in


# Wrapped under another key.


def test_what_is_closed_is_wrapped_for_nobody(world: World) -> None:
    _store(world, WRITE, envelope=_envelope("old"))
    world.call(ACME.user("admin"), "revoke_connection_v1", {"id": WRITE})
    with world.nothing_released():
        for function in ("rotate_keys", "refresh_tokens"):
            claim = {"connection_id": WRITE, "kek": "new"}
            assert world.call(ACME.system(function), "claim_rewrap_v1", claim) == {"claimed": False}
    with standing(world, "countersign_api") as worker:
        worker.execute("set local role countersign_worker")
        row = worker.execute("select app.claim_rewraps_v1('new', '{new,old}', 10)").fetchone()
    assert row is not None
    assert WRITE not in [item["connection_id"] for item in row[0]["work"]]
    assert row[0]["left"]["old"] == 1  # until its disconnect has destroyed it


def test_an_envelope_is_wrapped_anew_and_stays_the_same(world: World) -> None:
    _store(world, WRITE, envelope=_envelope("old"))
    keeper = ACME.system("rotate_keys")
    claim: Row = {"connection_id": WRITE, "kek": "new"}
    for claims in (ACME.user(), ACME.service()):
        with world.refuses("permission_denied"):
            world.call(claims, "claim_rewrap_v1", claim)
    claimed = world.call(keeper, "claim_rewrap_v1", claim)
    assert json.loads(claimed["credential"]["envelope"])["kek"] == "old"
    secret = "select secret_id from app.credentials where connection_id = %s"
    before = world.value(secret, WRITE)
    rewrapped = {"connection_id": WRITE, "generation": 2, "envelope": _envelope("new", key="again")}
    for other in (_envelope("new", data="of somebody else"), "mine", json.dumps({"kek": "new"})):
        with world.refuses("generation_moved"):
            world.call(keeper, "store_rewrapped_v1", rewrapped | {"envelope": other})
    for stale in ({"generation": 1}, {"generation": 3}, {"envelope": _envelope("old", key="again")}):
        with world.unchanged():
            assert world.call(keeper, "store_rewrapped_v1", rewrapped | stale) == {"stored": False}
    assert world.call(keeper, "store_rewrapped_v1", rewrapped) == {"stored": True}
    assert world.value(secret, WRITE) != before  # a new secret: an updated one would keep its nonce
    assert _secrets(world, WRITE) == [rewrapped["envelope"]]
    assert world.claim(world.authorized())["credential"]["envelope"] == rewrapped["envelope"]
    with world.unchanged():
        assert world.call(keeper, "claim_rewrap_v1", claim) == {"claimed": False}
    refused_everywhere(
        world,
        "update app.credentials set wrapping = wrapping + 1, secret_id = (select secret_id from app.credentials"
        " where connection_id = %s) where connection_id = %s",
        READ,
        WRITE,
        claims=ACME.user(),
        reasons=("generation_moved",),
    )


def test_a_refresh_that_comes_first_wins(world: World) -> None:
    _store(world, WRITE, envelope=_envelope("old"))
    claimed = world.call(ACME.system(), "claim_rewrap_v1", {"connection_id": WRITE, "kek": "new"})["credential"]
    _store(world, WRITE, envelope=_envelope("new", data="fresher"))
    late = {"connection_id": WRITE, "generation": claimed["generation"], "envelope": _envelope("new")}
    with world.unchanged():
        assert world.call(ACME.system(), "store_rewrapped_v1", late) == {"stored": False}


def test_a_verifier_becomes_no_other(world: World) -> None:
    state = sha256(b"verifier").hexdigest()
    begin = {
        "id": str(new_id()), "provider": "sandbox_bank", "environment": "production", "access": "read",
        "scopes": ["all"], "state_hash": state, "binding_hash": state, "verifier": _envelope("old"),
        "redirect_uri": "https://x.example", "expires_at": soon(minutes=5),
    }  # fmt: skip
    world.call(ACME.user("admin"), "create_connection_v1", begin)
    where: Row = {"connection_id": begin["id"], "state_hash": state}
    assert world.call(ACME.system(), "claim_rewrap_v1", where | {"kek": "new"})["claimed"]
    with world.refuses("immutable_column"):
        world.call(ACME.system(), "store_rewrapped_v1", where | {"envelope": _envelope("new", data="other")})
    assert world.call(ACME.system(), "store_rewrapped_v1", where | {"envelope": _envelope("new")}) == {"stored": True}
    statement = f"update app.oauth_flows set verifier = 'mine' where state_hash = decode('{state}', 'hex')"
    refused_everywhere(world, statement, claims=ACME.user(), reasons=("immutable_column",))
    with standing(world, "countersign_api") as worker:
        worker.execute("set local role countersign_worker")
        take = "select app.claim_oauth_flow_v1(decode(%s, 'hex'), decode(%s, 'hex'))"
        row = worker.execute(take.encode(), (state, state)).fetchone()
    assert row is not None
    assert json.loads(row[0]["verifier"])["kek"] == "new"
    assert world.value("select verifier from app.oauth_flows where state_hash = decode(%s, 'hex')", state) == ""


def test_what_looks_for_older_keys_tells_ids_and_counts(world: World) -> None:
    _store(world, WRITE, envelope=_envelope("old"))
    _store(world, READ, envelope=_envelope("lost"))
    with standing(world, "countersign_api") as worker:
        worker.execute("set local role countersign_worker")
        row = worker.execute("select app.claim_rewraps_v1('new', '{new,old}', 10)").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege), worker.transaction():
            worker.execute("select app.claim_rewrap_v1('{}')")
    assert row is not None
    assert row[0]["work"] == [{"tenant_id": ACME.id, "connection_id": WRITE, "state_hash": None}]
    assert (row[0]["left"]["old"], row[0]["left"]["lost"]) == (1, 1)
