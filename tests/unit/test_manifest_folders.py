"""A deployment's own providers: folders beside ours, and no provider described twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.config import ConfigurationError
from api.providers.manifest import FOLDER, ManifestError, contracts, files, manifest, manifests

PRIVATE = (FOLDER / "sandbox_crm.toml").read_text().replace('name = "sandbox_crm"', 'name = "private_crm"')
PRIVATE = PRIVATE.replace('tool = "sandbox_crm.', 'tool = "private_crm.')


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    manifest.cache_clear()
    manifests.cache_clear()
    contracts.cache_clear()


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two folders that the deployment names."""
    made = [tmp_path / "one", tmp_path / "two"]
    for folder in made:
        folder.mkdir()
    monkeypatch.setenv("COUNTERSIGN_MANIFESTS", os.pathsep.join(map(str, made)))
    manifest.cache_clear()
    manifests.cache_clear()
    contracts.cache_clear()
    return made


def test_a_folder_adds_its_providers_to_ours(folders: list[Path]) -> None:
    (folders[1] / "private_crm.toml").write_text(PRIVATE)
    assert manifests().keys() == {path.stem for path in FOLDER.glob("*.toml")} | {"private_crm"}
    found = manifest("private_crm")
    assert found is not None
    assert found.contracts()[0].name == "private_crm.companies.list"


def test_without_the_setting_there_are_only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERSIGN_MANIFESTS", raising=False)
    assert {path.parent for path in files().values()} == {FOLDER}


@pytest.mark.parametrize("name", ["private_crm", "sandbox_crm"])
def test_a_provider_is_described_once(folders: list[Path], name: str) -> None:
    for folder in folders:
        (folder / f"{name}.toml").write_text(PRIVATE)
    with pytest.raises(ConfigurationError, match=f"{name}.toml describes {name}"):
        files()


def test_a_folder_that_is_not_there_is_named(folders: list[Path]) -> None:
    folders[0].rmdir()
    with pytest.raises(ConfigurationError, match=r"COUNTERSIGN_MANIFESTS names .*one"):
        manifest("sandbox_crm")


def test_a_file_of_a_folder_is_held_to_the_format(folders: list[Path]) -> None:
    (folders[0] / "private_crm.toml").write_text(PRIVATE.replace('kind = "crm"', 'kind = "club"'))
    with pytest.raises(ManifestError, match=r"private_crm\.toml:\d+: kind"):
        manifests()
