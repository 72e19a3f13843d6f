"""People see what a connection can do, not the names of scopes: every manifest of ours says each in words."""

import pytest

from api.providers.manifest import FOLDER, load
from api.providers.service import list_providers


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_every_scope_that_is_asked_for_is_said_in_words(name: str) -> None:
    scopes = load(FOLDER / f"{name}.toml").oauth.scopes
    assert set(scopes.words) == {*scopes.read, *scopes.write, *scopes.implied}
    assert all(text[0].islower() and not text.endswith(".") for text in scopes.words.values())


def test_the_api_says_them_too() -> None:
    bank = next(each for each in list_providers() if each.name == "sandbox_bank")
    assert bank.scopes.words["payments:write"] == "pay"
