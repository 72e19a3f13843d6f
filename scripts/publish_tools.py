"""Publishes the tool contracts of all manifests to the database, as the owner of the schema.

    python -m scripts.publish_tools [--url postgresql://postgres@...]

Part of every deployment, after the migrations. A contract that differs from the published one of the same
version is refused: a change needs a new version, because approvals name the version they were given for.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from api.providers.manifest import Manifest, ManifestError, manifests


def publish(url: str, log: Callable[[str], None] = print) -> list[str]:
    """Publishes what is new; answers `name vN` of each.

    Raises ManifestError when a published contract was changed without a new version.
    """
    published: list[str] = []
    with psycopg.connect(url) as connection:
        for manifest in manifests().values():
            _publish_limits(connection, manifest)
            for contract in manifest.contracts():
                document = contract.model_dump(mode="json", exclude={"version"})
                row = connection.execute(
                    "select contract from private.tool_catalog where name = %s and version = %s",
                    (contract.name, contract.version),
                ).fetchone()
                if row is None:
                    connection.execute(
                        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
                        " values (%s, %s, %s, %s, %s, %s)",
                        (
                            contract.name,
                            contract.version,
                            manifest.name,
                            contract.access,
                            contract.effect,
                            Jsonb(document),
                        ),
                    )
                    published.append(f"{contract.name} v{contract.version}")
                elif row[0] != document:
                    raise ManifestError(
                        f"{manifest.name}.toml: {contract.name} differs from its published version "
                        f"{contract.version}; raise its version."
                    )
    for name in published:
        log(f"published {name}")
    return published


def _publish_limits(connection: psycopg.Connection[tuple[Any, ...]], manifest: Manifest) -> None:
    """Puts a provider's limits in the place of those that were published; what was counted on them stays."""
    names = [limit.name for limit in manifest.limits]
    connection.execute(
        "delete from private.provider_limits where provider = %s and name <> all (%s)", (manifest.name, names)
    )
    for limit in manifest.limits:
        connection.execute(
            "insert into private.provider_limits (provider, name, requests, seconds, per, environment)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (provider, name) do update set requests = excluded.requests,"
            " seconds = excluded.seconds, per = excluded.per, environment = excluded.environment",
            (manifest.name, limit.name, limit.requests, limit.seconds, limit.per, limit.environment),
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Publish the tool contracts of all manifests.")
    parser.add_argument("--url", default=os.environ.get("MIGRATIONS_DATABASE_URL"))
    options = parser.parse_args(arguments)
    if not options.url:
        print("Give --url or set MIGRATIONS_DATABASE_URL.", file=sys.stderr)
        return 2
    try:
        publish(options.url)
    except (ManifestError, psycopg.Error) as error:
        print(f"publish_tools: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
