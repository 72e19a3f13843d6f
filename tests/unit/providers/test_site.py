"""Where a provider is for one connection, and that no value leads anywhere else."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from api.config import ConfigurationError
from api.providers.manifest import Manifest, ParameterError
from api.providers.site import Site
from tests.unit.providers.acme import VALUES

ORIGINS = "COUNTERSIGN_PROVIDER_ORIGINS"


def test_addresses_are_those_of_the_environment(acme: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_SANDBOX_URL", "http://127.0.0.1:8100/base/")
    assert acme.site("production", VALUES).url("{api}/x/{company_id}") == "https://bright.acme.test/v2/x/4620"
    assert acme.site("sandbox", VALUES).url("{api}/x/{company_id}") == "http://127.0.0.1:8100/base/x/4620"
    assert acme.site("production", VALUES).url("{files}/x") == "https://eu1.files.acme.test/x"


def test_clients_are_those_of_the_environment(acme: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert acme.site("production").client()[0] == "id of ACME"
    assert acme.site("sandbox").client()[0] == "id of ACME_TEST"
    monkeypatch.delenv("ACME_TEST_CLIENT_SECRET")
    with pytest.raises(ConfigurationError, match="ACME_TEST_CLIENT_SECRET"):
        acme.site("sandbox").client()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subdomain", "evil.test/"), ("subdomain", "evil.test#"), ("subdomain", "a@evil.test"), ("subdomain", "a\n"),
        ("subdomain", ""), ("subdomain", "BRIGHT"), ("files_url", "https://evil.test"), ("company_id", "../1"),
        ("files_url", "http://eu1.files.acme.test"), ("files_url", "https://evil.test/.files.acme.test"),
        ("files_url", "https://a.files.acme.test\n"),
    ],
)  # fmt: skip
def test_a_kept_value_that_no_longer_fits_is_not_used(acme: Manifest, name: str, value: str) -> None:
    """Whoever can write to the table of connections does not get the tokens sent to their own host."""
    with pytest.raises(ConfigurationError, match=name):
        acme.site("production", VALUES | {name: value})


def test_values_that_the_provider_does_not_have_are_passed_over(acme: Manifest) -> None:
    assert acme.site("production", VALUES | {"other": "x"}).values == VALUES


def test_an_address_that_a_setting_gives_has_to_be_one(acme: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_SANDBOX_URL")
    with pytest.raises(ConfigurationError, match="ACME_SANDBOX_URL is missing"):
        acme.site("sandbox")
    for address in ("127.0.0.1", "http://a@evil.test", "http://evil.test?x", "file:///etc/passwd", "http://a b"):
        monkeypatch.setenv("ACME_SANDBOX_URL", address)
        with pytest.raises(ConfigurationError):
            acme.site("sandbox")


def test_an_environment_that_is_not_there(acme: Manifest) -> None:
    lonely = acme.model_copy(update={"origins": {"production": acme.origins["production"]}})
    with pytest.raises(ConfigurationError, match="no sandbox environment"):
        lonely.site("sandbox")


def test_what_is_not_known_yet_is_told_by_name(acme: Manifest) -> None:
    with pytest.raises(ConfigurationError, match="subdomain"):
        acme.site("production").url("{api}/x")


@pytest.mark.parametrize("value", [".", "..", ""])
def test_an_id_that_would_name_another_operation_is_not_used(acme: Manifest, value: str) -> None:
    with pytest.raises(ConfigurationError):
        Site(acme, "production", VALUES | {"company_id": value}).url("{api}/x/{company_id}")
    odd = Site(acme, "production", VALUES | {"company_id": "a/../b?c#d e"})
    assert odd.url("{api}/x/{company_id}") == "https://bright.acme.test/v2/x/a%2F..%2Fb%3Fc%23d%20e"


def test_the_deployment_may_rewrite_addresses(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = {
        "https://bright.acme.test": "http://127.0.0.1:8100/acme",
        "https://login.acme.test/": "http://127.0.0.1:8100",
    }
    monkeypatch.setenv(ORIGINS, json.dumps(replaced))
    assert site.url("{api}/x") == "http://127.0.0.1:8100/acme/v2/x"
    assert site.url("{auth}/token") == "http://127.0.0.1:8100/token"
    assert site.url("{files}/x") == "https://eu1.files.acme.test/x"
    assert site.issuer == "https://login.acme.test"


def test_an_address_is_rewritten_as_a_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host that only begins like the one that is replaced keeps its name."""
    monkeypatch.setenv(ORIGINS, json.dumps({"https://bright.acme": "http://127.0.0.1:8100"}))
    assert site.url("{api}/x") == "https://bright.acme.test/v2/x"


@pytest.mark.parametrize(
    "setting",
    ["{", "[]", '{"bright": "http://x"}', '{"https://a": 5}', '{"https://a": "x"}', '{"https://a/b": "http://c"}'],
)
def test_a_rewriting_that_cannot_be_read_is_told(site: Site, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv(ORIGINS, setting)
    with pytest.raises(ConfigurationError, match=ORIGINS):
        site.url("{api}/x")


def test_the_address_of_a_sign_in(site: Site) -> None:
    url = urlsplit(site.authorization_url("write", "https://us.test/callback", "st", "challenge"))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://login.acme.test/authorize"
    assert parse_qs(url.query) == {
        "response_type": ["code"], "client_id": ["id of ACME"], "redirect_uri": ["https://us.test/callback"],
        "user_scope": ["bills.read,bills.write"], "state": ["st"], "code_challenge": ["challenge"],
        "code_challenge_method": ["S256"], "access_type": ["offline"], "company": ["bright"],
    }  # fmt: skip


def test_scopes_that_are_set_at_the_provider_are_not_sent(site: Site) -> None:
    scopes = site.manifest.oauth.scopes.model_copy(update={"sent": False})
    oauth = site.manifest.oauth.model_copy(update={"scopes": scopes})
    silent = Site(site.manifest.model_copy(update={"oauth": oauth}), "production", VALUES)
    assert "scope" not in silent.authorization_url("read", "https://us.test/callback", "st", "challenge")


def test_what_a_person_has_to_say(acme: Manifest) -> None:
    said = {"subdomain": "bright", "base_currency": "EUR"}
    assert acme.parameters_of(said) == said
    with pytest.raises(ParameterError) as refused:
        acme.parameters_of({"subdomain": "evil.test/", "other": "x"})
    assert refused.value.errors.keys() == {"subdomain", "base_currency", "other"}
    assert "Your Acme subdomain" in refused.value.errors["subdomain"]
    with pytest.raises(ParameterError):
        acme.parameters_of(said | {"subdomain": "bright\n"})
