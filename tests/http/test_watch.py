"""What watches the product: a log that was tampered with is told of, and a schedule that stops is seen from outside."""

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from api.monitoring.heartbeats import FUNCTIONS
from sandbox.organisation import Organisation, ok
from tests.http.emissions import crash_reports
from tests.http.functions import function
from tests.http.world import World

CHANGED = (
    "update app.audit_events set record = replace(record, '\"v\": 1', '\"v\": 2') where tenant_id = %s and seq = 5"
)
RESTORED = CHANGED.replace('": 1', '": 0').replace('": 2', '": 1').replace('": 0', '": 2')


def _tampered(world: World, statement: str, *values: object) -> None:
    """A statement of who owns the database, with the guards of the log off, which then stand again."""
    tables = ("audit_events", "audit_heads", "audit_checkpoints")
    with world.database.connect("superuser") as connection, connection.transaction():
        for table in tables:
            connection.execute(f"alter table app.{table} disable trigger user".encode())
        connection.execute(statement.encode(), values)
        for table in tables:
            connection.execute(f"select private.guard_table('app.{table}')".encode())
        connection.execute("update private.audit_watches set next_at = now()")


def _deep(world: World) -> tuple[int, list[str]]:
    """What an outside watcher is told by an instance that has told nobody before."""
    with function("api.index", world) as instance:
        status, body, _ = instance.call("GET", "/v1/health/deep")
    assert body.get("code", "ok") == ("ok" if status == 200 else "not_well")
    return status, [each["reason"] for each in body.get("errors", [])]


@contextmanager
def _everything_runs(world: World) -> Iterator[None]:
    """Every scheduled function has run just now, the watch indeed; at exit the watch finds everything well again."""
    with world.database.connect("superuser") as connection:
        for name in FUNCTIONS:
            connection.execute("select app.note_function_run_v1(%s, now(), true)", (name,))
    world.stack.tick("watch")
    yield
    assert world.stack.tick("watch")["broken"] == 0


def _alerts(organisation: Organisation) -> list[tuple[str, str, str]]:
    found = ok(organisation.owner.api.get("/v1/alerts", params={"kind": "audit.chain_broken"}))["items"]
    return [(each["severity"], each["status"], each["owner"]["user_id"]) for each in found]


def _verified_by_anybody(world: World, organisation: Organisation) -> int:
    """The newest signed head holds under the published keys, and names an event that has this hash; its number."""
    head = ok(organisation.owner.api.get("/v1/audit/checkpoints"))["items"][0]
    [key] = [k for k in ok(world.client().get("/.well-known/jwks.json"))["keys"] if k["kid"] == head["key_id"]]
    said = f"countersign-audit-head {organisation.tenant_id} {head['seq']} {head['hash']}".encode()
    Ed25519PublicKey.from_public_bytes(_bytes(key["x"])).verify(_bytes(head["signature"]), said)
    event = ok(organisation.owner.api.get(f"/v1/audit/events/{head['seq']}"))
    assert (event["hash"], event["signed_at_seq"]) == (head["hash"], head["seq"])
    return int(head["seq"])


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_log_that_was_tampered_with_is_told_of_wherever_it_can_be(fresh: Organisation, world: World) -> None:
    with _everything_runs(world):
        signed = _verified_by_anybody(world, fresh)
        _tampered(world, CHANGED, fresh.tenant_id)
        assert world.stack.tick("watch")["broken"] == 1
        assert _alerts(fresh) == [("critical", "open", fresh.owner.user_id)]
        incidents = ok(fresh.owner.api.get("/v1/incidents"))["items"]
        assert [(each["severity"], each["title"]) for each in incidents] == [
            ("critical", "The audit log does not verify: event 5 is the first that does not fit.")
        ]
        controls = ok(fresh.owner.api.get("/v1/controls"))
        assert (controls["chain"]["broken_at"], controls["controls"][2]["verified"]) == (5, False)
        status, told = _deep(world)
        assert (status, len(told)) == (503, 1)
        assert fresh.tenant_id not in str(told)
        _tampered(world, RESTORED, fresh.tenant_id)
        assert world.stack.tick("watch")["broken"] == 0
        assert _alerts(fresh) == [("critical", "resolved", fresh.owner.user_id)]
        # A head that no key of ours signed.
        forged = "update app.audit_checkpoints set signature = reverse(signature) where tenant_id = %s and seq = %s"
        newest = _verified_by_anybody(world, fresh)
        assert newest > signed
        _tampered(world, forged, fresh.tenant_id, newest)
        assert world.stack.tick("watch")["broken"] == 1
        assert ok(fresh.owner.api.get("/v1/controls"))["chain"]["broken_at"] == newest
        _tampered(world, forged, fresh.tenant_id, newest)
        world.stack.tick("watch")
        assert [status for _, status, _ in _alerts(fresh)] == ["resolved", "resolved"]


def test_what_cannot_be_written_down_any_more_is_told_by_other_doors(fresh: Organisation, world: World) -> None:
    """Without its head no event can be written, nor an alert: the heartbeat, the health and a report say so."""
    with _everything_runs(world):
        with world.database.connect("superuser") as connection:
            head = connection.execute(
                "select seq, hash from app.audit_heads where tenant_id = %s", (fresh.tenant_id,)
            ).fetchone()
        assert head is not None
        _tampered(world, "delete from app.audit_heads where tenant_id = %s", fresh.tenant_id)
        with crash_reports() as reports, function("functions.watch", world, SENTRY_DSN=reports.dsn) as scheduled:
            found = scheduled.invoke({})
        assert (found["broken"], found["untold"]) == (1, 1)
        assert [fresh.tenant_id.encode() in each and b"broken at event 1" in each for each in reports.received] == [
            True
        ]
        assert _alerts(fresh) == []
        with world.database.connect("superuser") as connection:
            beat = connection.execute("select ok from private.function_runs where function = 'watch'").fetchone()
        assert beat == (False,)
        assert _deep(world)[0] == 503
        _tampered(world, "insert into app.audit_heads values (%s, %s, %s)", fresh.tenant_id, *head)


def test_a_schedule_that_stopped_is_seen_from_outside(world: World) -> None:
    """Though nothing inside runs that could say so."""
    with _everything_runs(world), world.database.connect("superuser") as connection:
        assert _deep(world) == (200, [])
        late = "update private.function_runs set succeeded_at = succeeded_at - %s where function = %s"
        for name in ("deliver_notifications", "watch"):
            age = FUNCTIONS[name]
            connection.execute(late.encode(), (age, name))
            status, told = _deep(world)
            assert (status, len(told)) == (503, 1)
            assert name in told[0]
            connection.execute(late.encode(), (-age, name))
