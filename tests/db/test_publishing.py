"""Publishing contracts over those that a deployment has: a change is a further version, and the earlier one stays."""

from collections.abc import Iterator

import psycopg
import pytest

from api.providers.manifest import Manifest, ManifestError, manifests
from sandbox.postgres import Server
from scripts import publish_tools
from tests.cluster import cloned

TOOL = "bill_payments.create"
NAME = f"quickbooks.{TOOL}"


@pytest.fixture(scope="module")
def url(cluster: Server) -> Iterator[str]:
    with cloned(cluster) as database:
        yield database.url("postgres")


def published(url: str, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(publish_tools, "manifests", lambda: {manifest.name: manifest})
    return publish_tools.publish(url, log=lambda _: None)


def with_tool(**changes: object) -> Manifest:
    """QuickBooks with one of its tools described in another way."""
    known = manifests()["quickbooks"]
    tools = [tool.model_copy(update=changes) if tool.name == TOOL else tool for tool in known.tools]
    return known.model_copy(update={"tools": tools})


def versions(url: str) -> dict[int, bool]:
    """The versions that are published, and which of them rest on anything."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select version, contract ? 'rests_on' from private.tool_catalog where name = %s order by version", (NAME,)
        ).fetchall()
    return dict(rows)


def test_what_is_published_is_not_published_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert published(url, with_tool(), monkeypatch) == []


def test_another_description_under_the_same_version_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions(url)
    with pytest.raises(ManifestError, match=f"{NAME} differs from its published version 2; raise its version"):
        published(url, with_tool(rests_on=[]), monkeypatch)
    assert versions(url) == before


def test_a_further_version_comes_into_force_beside_the_earlier_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert published(url, with_tool(version=3, rests_on=[]), monkeypatch) == [f"{NAME} v3"]
    assert versions(url) == {2: True, 3: False}
    with psycopg.connect(url) as connection:
        statement = "select version from private.tools_in_force where name = %s"
        assert connection.execute(statement, (NAME,)).fetchone() == (3,)
        with pytest.raises(psycopg.Error, match="append-only"):
            connection.execute("delete from private.tool_catalog where name = %s", (NAME,))
