"""The manifest of each provider against a server made from that provider's documents, every tool of it."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from api.gate.models import Access
from api.providers import client
from api.providers.manifest import FOLDER, Manifest, ManifestError, load
from tests.providers import exercise, shapes
from tests.providers.exercise import Provider, running, settings_of
from tests.providers.facts import contradictions
from tests.providers.shapes import Call, Shape

#: The sandbox's own providers run for real in tests/http.
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml") if not path.stem.startswith("sandbox_"))


@cache
def manifest_of(name: str) -> Manifest:
    return load(FOLDER / f"{name}.toml")


@cache
def shape_of(name: str) -> Shape:
    return shapes.load(shapes.FOLDER / f"{name}.toml")


def _legible(name: str) -> bool:
    """Whether both files can be read; where one cannot, the tests that need nothing else say so."""
    try:
        return bool(manifest_of(name)) and bool(shape_of(name))
    except (OSError, ManifestError, shapes.ShapeError):
        return False


def _calls(*, refused: bool = False) -> list[Any]:
    """Every documented call of a tool; or those whose refusal is documented, too."""
    return [
        pytest.param(name, call, id=f"{name}.{call.tool}-{number}")
        for name in filter(_legible, NAMES)
        for number, call in enumerate(shape_of(name).calls)
        if call.tool is not None and (call.refused is not None or not refused)
    ]


def _tools(*, read_back: bool = False) -> list[tuple[str, str]]:
    return [
        (name, tool.name)
        for name in filter(_legible, NAMES)
        for tool in manifest_of(name).tools
        if tool.read_back is not None or not read_back
    ]


@pytest.fixture
def provider(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """The provider that the test names, running, and configured as a deployment would."""
    with running(manifest_of(name), shape_of(name)) as started:
        for setting, value in settings_of(started).items():
            monkeypatch.setenv(setting, value)
        yield started


def test_every_provider_has_a_shape_and_every_shape_a_provider() -> None:
    assert sorted(path.stem for path in shapes.FOLDER.glob("*.toml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_shape_can_be_read_and_covers_every_tool(name: str) -> None:
    named = {call.tool for call in shape_of(name).calls} - {None}
    assert named == {tool.name for tool in manifest_of(name).tools}


@pytest.mark.parametrize("name", NAMES)
def test_facts_have_a_source_and_a_date(name: str) -> None:
    manifest = manifest_of(name)
    assert manifest.sources
    assert all(source.startswith("https://") for source in (*manifest.sources, *shape_of(name).sources))
    assert manifest.facts_checked >= "2026"


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_says_what_the_documents_say(provider: Provider) -> None:
    assert contradictions(provider) == []


@pytest.mark.parametrize("access", ["read", "write"])
@pytest.mark.parametrize("name", NAMES)
def test_signing_in(provider: Provider, access: Access) -> None:
    exercise.check_sign_in(provider, access)


@pytest.mark.parametrize("name", NAMES)
def test_a_spent_code_signs_nobody_in(provider: Provider) -> None:
    exercise.check_spent_code(provider)


@pytest.mark.parametrize("name", NAMES)
def test_refreshing(provider: Provider) -> None:
    exercise.check_refresh(provider)


@pytest.mark.parametrize("name", NAMES)
def test_disconnecting(provider: Provider) -> None:
    exercise.check_revocation(provider)


@pytest.mark.parametrize(("name", "call"), _calls())
def test_calling_a_tool(provider: Provider, call: Call) -> None:
    exercise.check_call(provider, call)


@pytest.mark.parametrize(("name", "call"), _calls(refused=True))
def test_a_refusal_is_one(provider: Provider, call: Call) -> None:
    exercise.check_refusal(provider, call)


@pytest.mark.parametrize(("name", "tool"), _tools())
def test_what_is_said_of_an_answer_is_in_it(provider: Provider, tool: str) -> None:
    exercise.check_labels(provider, tool)


@pytest.mark.parametrize(("name", "tool"), _tools(read_back=True))
def test_a_read_back_finds_what_it_looks_for(provider: Provider, tool: str) -> None:
    exercise.check_read_back(provider, tool)


@pytest.mark.parametrize("name", ["wise"])
def test_a_browser_alone_does_not_say_which_account_it_is(provider: Provider) -> None:
    """It names a profile that these tokens do not reach."""
    verifier = "v" * 43
    callback = exercise.consent(provider, "read", verifier)
    tokens = exercise.run(client.exchange(provider.site, exercise.grant_of(callback, verifier)))
    with pytest.raises(client.AccountError):
        exercise.run(client.account_of(provider.site, callback | {"profileId": "30000009"}, tokens))
    assert exercise.run(client.account_of(provider.site, callback, tokens)).id == "30000000"
