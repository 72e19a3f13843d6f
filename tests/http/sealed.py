"""Opens what the application sealed, with its key and without its code: what a test compares the world with."""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.privacy import run_keys
from tests.http.world import World


@contextmanager
def keys_of_application(world: World) -> Iterator[None]:
    """Within, api.privacy opens what the application sealed."""
    keys = dict(key.split(":") for key in world.stack.environment()["COUNTERSIGN_KEK"].split(","))
    settings = SimpleNamespace(kek={name: bytes.fromhex(key) for name, key in keys.items()})
    with mock.patch.object(run_keys, "settings", return_value=settings):
        yield


def force(world: World, table: str, statement: str, *values: object) -> None:
    """Changes rows of a table past its guards, as only the cluster's superuser can."""
    guards = "select quote_ident(tgname) from pg_trigger where tgrelid = %s::regclass and not tgisinternal"
    with world.database.connect("superuser") as connection, connection.transaction():
        names = [name for (name,) in connection.execute(guards.encode(), (table,))]
        connection.execute(f"alter table {table} disable trigger user".encode())
        connection.execute(statement.encode(), values)
        for name in names:
            connection.execute(f"alter table {table} enable always trigger {name}".encode())


def spoil(world: World, *run_ids: str) -> None:
    """Breaks the seal of everything financial that was read in these runs."""
    broken = "jsonb_set(keys, '{observation:financial,key}', '\"AAAA\"')"
    force(world, "app.run_keys", f"update app.run_keys set keys = {broken} where run_id = any (%s::uuid[])", [*run_ids])


def tokens_of(world: World, connection_id: str) -> dict[str, str]:
    """The connection's tokens, opened with whichever of the application's keys they are sealed under."""
    [(envelope, tenant, environment, generation)] = world.rows(
        "select s.decrypted_secret, k.tenant_id, k.environment, c.generation from app.credentials c"
        " join app.connections k on k.id = c.connection_id join vault.decrypted_secrets s on s.id = c.secret_id"
        " where c.connection_id = %s",
        connection_id,
    )
    keys = dict(key.split(":") for key in world.stack.environment()["COUNTERSIGN_KEK"].split(","))
    kek = bytes.fromhex(keys[json.loads(envelope)["kek"]])
    return unseal(kek, envelope, f"{tenant}|{connection_id}|{environment}|{generation}")


def unseal(kek: bytes, envelope: str, bound_to: str) -> dict[str, str]:
    document = json.loads(envelope)
    wrapped, sealed = b64decode(document["key"]), b64decode(document["data"])
    data_key = AESGCM(kek).decrypt(wrapped[:12], wrapped[12:], bound_to.encode())
    opened: dict[str, str] = json.loads(AESGCM(data_key).decrypt(sealed[:12], sealed[12:], bound_to.encode()))
    return opened
