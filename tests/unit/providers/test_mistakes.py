"""Every mistake in a manifest is told with its line, with what is wrong and what would be right."""

from pathlib import Path

import pytest

from api.providers.manifest import ManifestError, load
from tests.unit.providers.acme import ACME, file

#: What is changed, into what; where the mistake is, and what is said of it.
MISTAKES = [
    ('facts_checked = "2026-11"', 'facts_checked = "lately"', "facts_checked", "pattern"),
    # Addresses.
    (
        'api = "https://{subdomain}.acme.test/v2/"',
        'api = "http://{subdomain}.acme.test"',
        "origins.production.api",
        "https://host",
    ),
    (
        'api = "https://{subdomain}.acme.test/v2/"',
        'api = "https://acme.test?x=1"',
        "origins.production.api",
        "without query",
    ),
    (
        'api = "https://{subdomain}.acme.test/v2/"',
        'api = "https://{company}.acme.test"',
        "origins.production.api",
        "always there",
    ),
    (
        'api = "https://{subdomain}.acme.test/v2/"',
        'api = "https://{nobody}.acme.test"',
        "origins.production.api",
        "{nobody}",
    ),
    ('api = "$ACME_SANDBOX_URL"', 'api = "$acme"', "origins.sandbox.api", "$SETTING"),
    ('api = "$ACME_SANDBOX_URL"', 'app = "$ACME_SANDBOX_URL"', "origins.sandbox", "no address named api"),
    (
        "[origins.sandbox]\nauth",
        "[origins.sandbox]\nlogin",
        "origins.production",
        "named login, which the other environment has",
    ),
    ("[origins.sandbox]", "[origins.staging]", "origins.staging.[key]", "'sandbox' or 'production'"),
    ('sandbox = "ACME_TEST"', 'sandbox = "acme"', "client.sandbox", "pattern"),
    # What a person says, and what is kept.
    ('pattern = "^[a-z0-9][a-z0-9-]{0,62}$"', 'pattern = "[a-z]+"', "parameters.subdomain.pattern", "anchored"),
    (
        'pattern = "^[a-z0-9][a-z0-9-]{0,62}$"',
        'pattern = "^[a-z/]+$"',
        "origins.production.api",
        "letters, digits, dots",
    ),
    ('pattern = "^[a-z0-9][a-z0-9-]{0,62}$"', 'pattern = "^a|b$"', "parameters.subdomain.pattern", "anchored"),
    ('title = "Your Acme subdomain"', 'name = "x"', "parameters.subdomain.title", "required"),
    ("[parameters.base_currency]", "[parameters.token]", "parameters.token", "taken"),
    ("[parameters.base_currency]", "[parameters.api]", "parameters.api", "taken"),
    ('company_id = { from = "callback"', 'subdomain = { from = "callback"', "account.keep.subdomain", "taken"),
    (
        'company_id = { from = "callback"',
        'company_id = { from = "cookie"',
        "account.keep.company_id.from",
        "'callback'",
    ),
    ('at = "/files_url"', 'at = "files_url"', "account.keep.files_url.at", "JSON pointer"),
    ('pattern = "^https://[a-z0-9-]+', 'pattern = "^https://.+', "origins.production.files", "pin its domain"),
    ('pattern = "^[0-9]{1,20}$" }', 'pattern = { production = "^1$" } }', "account.keep.company_id.pattern", "sandbox"),
    (
        'pattern = "^[0-9]{1,20}$" }',
        'pattern = "^[0-9$" }',
        "account.keep.company_id.pattern",
        "not a regular expression",
    ),
    ('lookup = "{api}/companies/{company_id}"', "", "account.keep.company.from", "no lookup"),
    ('lookup = "{api}/companies/{company_id}"', 'lookup = "{api}/{company}"', "account.lookup", "not known when"),
    ('lookup = "{api}/companies/{company_id}"', 'lookup = "/companies"', "account.lookup", "begin with an address"),
    ('id = "{company_id}"', 'id = "{company}"', "account.id", "needs an id"),
    ('id = "{company_id}"', 'id = "{nobody}"', "account.id", "{nobody}"),
    # Signing in.
    ('token_url = "{auth}/token"', 'token_url = "{files}/token"', "oauth.token_url", "{files_url} is not known"),
    ('token_url = "{auth}/token"', 'token_url = "{auth}/token?a=b"', "oauth.token_url", "without query"),
    (
        'authorize_url = "{auth}/authorize"',
        'authorize_url = "{login}/x"',
        "oauth.authorize_url",
        "begin with an address",
    ),
    ('access_type = "offline"', 'state = "x"', "oauth.authorize_parameters", "state is said by the request"),
    ('access_type = "offline"', 'user_scope = "x"', "oauth.authorize_parameters", "user_scope is said"),
    ('company = "{subdomain}"', 'company = "{company_id}"', "oauth.authorize_parameters.company", "no parameter"),
    ('audience = "acme"', 'code = "x"', "oauth.token_parameters", "code is said by the request"),
    (
        'client_authentication = "client_secret_post"',
        'client_authentication = "mtls"',
        "oauth.client_authentication",
        "secret_as_username",
    ),
    ('implied = ["oauth"]', 'implied = ["bills.read"]', "oauth.scopes.implied", "not implied"),
    ('write = ["bills.write"]', 'write = ["bills.read"]', "oauth.scopes.write", "as well"),
    ('separator = ","', 'separator = ", "', "oauth.scopes.separator", "at most 1"),
    ('read_enforced_by = "provider"', 'read_enforced_by = "nobody"', "oauth.scopes.read_enforced_by", "'gateway'"),
    ("default_expires_in = 1800", "never_expires = true", "oauth.never_expires", "no refresh token"),
    ('send = "json"', 'send = "path"', "oauth.revoke.url", "{token}"),
    ('send = "json"', 'send = "json"\nmethod = "GET"', "oauth.revoke.method", "bearer or in the path"),
    ('url = "{auth}/revoke"', 'url = "{auth}/revoke/{token}"', "oauth.revoke.url", "{token} is not known"),
    # Requests.
    ('origin = "files"', 'origin = "uploads"', "tools.2.http.origin", "[origins] name no uploads"),
    ('path = "/bills/{bill_id}/payments"', 'path = "/bills/{memo}/payments"', "tools.1.http.path", "does not require"),
    (
        'path = "/bills/{bill_id}/payments"',
        'path = "/bills/{nobody}/payments"',
        "tools.1.http.path",
        "{nobody} is neither",
    ),
    (
        'path = "/bills/{bill_id}/payments"',
        'path = "/{company}/{bill_id}"',
        "tools.1.http.path",
        "a connection may lack it",
    ),
    ('fields = "id,total"', 'fields = "{id,total}"', "tools.0.http.query.fields", "a brace that is no placeholder"),
    ('fields = "id,total"', 'limit = "5"', "tools.0.http.query", "limit twice"),
    ('fields = "id,total"', 'fields = "{idempotency_key}"', "tools.0.http.query.fields", "neither an argument"),
    ('"X-Company"', '"X Company"', "tools.0.http.headers.X Company.[key]", "no header"),
    ('"X-Company"', '"Authorization"', "tools.0.http.headers.Authorization.[key]", "no header that a manifest may set"),
    ('"pattern": "^[A-Z0-9-]{1,20}$"', '"pattern": "^.{1,20}$"', "tools.0.http.query.q", "excludes quotes"),
    ('"pattern": "^[A-Z0-9-]{1,20}$"', '"pattern": "[A-Z]"', "tools.0.http.query.q", "excludes quotes"),
    ('"pattern": "^[A-Z0-9-]{1,20}$"', '"maxLength": 5', "tools.0.http.query.q", "excludes quotes"),
    ('requestid = "{idempotency_uuid}"', 'requestid = "{memo|text}"', "tools.1.http.query.requestid", "in a body only"),
    ("{memo|text} [", "{memo} [", "tools.1.http.template", "{name|text}"),
    ('"street": "{street}"', '"{street}": 1', "tools.1.http.template", "not for the name of a member"),
    ('"street": "{street}"', '"a": 1, "a": 2', "tools.1.http.template", "a member twice"),
    ('"street": "{street}"', '"street": 1', "tools.1.http.template", "street is in no template"),
    ('"street": "{street}"', '"street": }', "tools.1.http.template", "not JSON"),
    ('"amount": "{amount|major}"', '"amount": "{memo|major}"', "tools.1.http.template", "role amount"),
    ('"amount": "{amount|major}"', '"amount": "{amount|minor}"', "tools.1.http.template", "a brace"),
    ("{amount|major_text} {currency}", "{urgent} {currency}", "tools.1.http.template", "each of them required"),
    (
        '"required": ["bill_id", "amount", "currency"]',
        '"required": ["bill_id"]',
        "tools.1.http.template",
        "required currency",
    ),
    ("idempotency_seconds = 86400", "idempotency_seconds = 0", "tools.1.idempotency_seconds", "greater than 0"),
    ('idempotency_header = "Idempotency-Key"', "", "tools.2.idempotency", "needs http.idempotency_header"),
    ('must_equal = { currency = "{base_currency}" }', "", "tools.2.http.template", "currency is in no template"),
    ('currency = "{base_currency}" }', 'memo = "x" }', "tools.2.http.must_equal.memo", "does not require memo"),
    ('currency = "{base_currency}" }', 'currency = "{company}" }', "tools.2.http.must_equal.currency", "always there"),
    ('"expand[]": "{expand}"', '"expand": ["{expand}"]', "tools.2.http.template", "one flat object"),
    ('"Subject": "{subject}"', '"Subject": "{subject|text}"', "tools.3.http.template", "in no header"),
    ('"Subject": "{subject}"', '"Sub ject": "{subject}"', "tools.3.http.template", "headers of a message"),
    ('"text": "{text|text}', '"body": "{text|text}', "tools.3.http.body", "rfc822 needs a template"),
    ('body = "rfc822"', 'body = "none"', "tools.3.http.template", "nothing to fill"),
    ('equals = "{idempotency_key}"', 'equals = "{nobody}"', "tools.1.read_back.args", "{nobody}"),
    ('equals = "{idempotency_key}"', "equals = 0.5", "tools.1.read_back.equals", "a whole number or a truth value"),
    ('"/amount|major" }', '"/amounts|major" }', "tools.1.rests_on.0.enough", "no argument /amounts"),
    ('"/amount|major" }', '"/memo|major" }', "tools.1.rests_on.0.enough", "role amount and a required currency"),
    ('"/amount|major" }', '"/amount|lower" }', "tools.1.rests_on.0.enough", "as /amount|major"),
    (
        'success = { at = "/ok", equals = true }',
        'success = { at = "ok", equals = true }',
        "answers.success.at",
        "pattern",
    ),
    ('success = { at = "/status", equals = "PAID" }', "succes = 1", "tools.1.answers.succes", "not permitted"),
]


@pytest.mark.parametrize(("old", "new", "where", "what"), MISTAKES)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, where: str, what: str) -> None:
    assert ACME.count(old) >= 1
    text = ACME.replace(old, new, 1)
    with pytest.raises(ManifestError) as refused:
        load(file(tmp_path, text))
    message = str(refused.value)
    place, _, rest = message.partition(": ")
    assert rest.startswith(f"{where}: "), message
    assert what in message
    assert "\n" not in message
    name, _, line = place.partition(":")
    assert name == "acme.toml"
    # The line is that of the part, or of the closest part around it.
    shown = text.splitlines()[int(line) - 1]
    parts = [part for part in where.split(".") if not part.isdecimal() and part != "[key]"]
    assert any(part in shown for part in parts) or shown.startswith("[["), (message, shown)


def test_a_body_that_says_its_own_type(tmp_path: Path) -> None:
    text = ACME.replace('body = "rfc822"', 'body = "rfc822"\nheaders = { Content-Type = "text/html" }')
    with pytest.raises(ManifestError, match="says its Content-Type itself"):
        load(file(tmp_path, text))


def test_a_get_has_no_body(tmp_path: Path) -> None:
    text = ACME.replace('method = "GET"', 'method = "GET"\nbody = "json"')
    with pytest.raises(ManifestError, match="a GET has no body"):
        load(file(tmp_path, text))


def test_a_read_has_no_key(tmp_path: Path) -> None:
    text = ACME.replace('method = "GET"', 'method = "GET"\nidempotency_header = "Idempotency-Key"')
    with pytest.raises(ManifestError, match="reads has no idempotency key"):
        load(file(tmp_path, text))


def test_a_name_stands_for_one_thing(tmp_path: Path) -> None:
    """An argument must not take the place of an id of the connection, or the other way round."""
    text = ACME.replace('"limit": {"type": "integer"}', '"company_id": {"type": "string"}').replace(
        ', limit = "{amount}"', ""
    )
    with pytest.raises(ManifestError, match="rename one of them"):
        load(file(tmp_path, text))
