"""Provider manifests: what is published loads, and every mistake is told with its line."""

import json
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from api.config import ConfigurationError
from api.gate.models import Contract
from api.providers.manifest import FOLDER, Manifest, ManifestError, load, manifest, manifests
from api.providers.toml_lines import line_of, lines_of

FILES = sorted(FOLDER.glob("*.toml"))

#: A manifest that loads. A text inside of it looks like keys and headers, to mislead whoever only searches for those.
GOOD = """\
name = "acme"
title = "Acme"
kind = "billing"
facts_checked = "2026-11"

[origins.production]
api = "https://api.acme.test/"
[origins.sandbox]
api = "$ACME_URL"

[oauth]
authorize_url = "{api}/authorize"
token_url = "{api}/token"
default_expires_in = 600

[oauth.scopes]
read = ["a"]
write = ["b"]

[account]
lookup = "{api}/whoami"
id = "{number}"
label = "{name}"
[account.keep]
number = { from = "lookup", at = "/id", pattern = "^[0-9]+$" }
name = { from = "lookup", at = "/name", pattern = "^.{1,200}$", optional = true }

[[tools]]
name = "bills.get"
version = 1
title = '''
[[tools]]
effect = "write"
[tools.http]
path = 5
'''
access = "read"
effect = "read"
reversible = true
idempotency = "natural"
input_schema = '''
{"type": "object", "additionalProperties": false, "required": ["bill_id"],
 "properties": {"bill_id": {"type": "string"}}}'''
[tools.output]
trust = { "" = "untrusted", "/id" = "trusted" }
[tools.http]
method = "GET"
path = "/bills/{bill_id}"

[[tools]]
name = "bills.pay"
version = 2
title = "Pay a bill"
access = "write"
effect = "money_movement"
reversible = false
idempotency = "key"
input_schema = '''
{"type": "object", "additionalProperties": false, "required": ["bill_id"],
 "properties": {"bill_id": {"type": "string"}, "amount": {"type": "integer"}, "currency": {"type": "string"},
                "lines": {"type": "array", "items": {"type": "object", "additionalProperties": false,
                          "properties": {"amount": {"type": "integer"}}}}}}'''
[tools.arguments]
"/bill_id" = { role = "object_id" }
"/amount" = { role = "amount", currency = "/currency" }
"/lines/*/amount" = { role = "amount", currency = "/currency" }
[tools.http]
method = "POST"
path = "/bills/{bill_id}/payments"
body = "json"
idempotency_header = "Idempotency-Key"
[tools.read_back]
tool = "acme.bills.get"
args = { bill_id = "{bill_id}" }
found = "/payment"
"""


def _file(folder: Path, text: str, name: str = "acme.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _mistake(folder: Path, text: str, name: str = "acme.toml") -> str:
    with pytest.raises(ManifestError) as refused:
        load(_file(folder, text, name))
    return str(refused.value)


def _changed(old: str, new: str) -> tuple[str, int]:
    """The manifest with one part replaced, and the line on which that part begins."""
    at = GOOD.index(old)
    return GOOD[:at] + new + GOOD[at + len(old) :], GOOD[:at].count("\n") + 1


def test_the_example_loads(tmp_path: Path) -> None:
    manifest = load(_file(tmp_path, GOOD))
    assert [contract.name for contract in manifest.contracts()] == ["acme.bills.get", "acme.bills.pay"]
    assert manifest.site("production").url(manifest.oauth.token_url) == "https://api.acme.test/token"
    assert manifest.scopes("read") == ["a"]
    assert manifest.scopes("write") == ["a", "b"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_manifest_loads(path: Path) -> None:
    manifest = load(path)
    assert manifests()[path.stem] == manifest
    assert all(contract.name.startswith(f"{path.stem}.") for contract in manifest.contracts())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_contracts_survive_storage(path: Path) -> None:
    """What the database keeps and hands back, with its members in another order, is the same contract."""
    for contract in load(path).contracts():
        assert Contract.model_validate_json(contract.model_dump_json()) == contract
        stored = json.loads(json.dumps(contract.model_dump(mode="json", exclude={"version"}), sort_keys=True))
        assert Contract.model_validate(stored | {"version": contract.version}) == contract
        jsonschema_rs.Draft202012Validator(json.dumps(stored["input_schema"]), offline=True)


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('title = "Acme"', "title = 5", "title", "valid string"),
        ('title = "Acme"', 'title = "Acme"\nextra = 1', "extra", "not permitted"),
        ('kind = "billing"', 'kind = "casino"', "kind", "'bank'"),
        ('name = "acme"', 'name = "Acme!"', "name", "pattern"),
        ('name = "acme"', f'name = "{"a" * 41}"', "name", "40"),
        ('name = "acme"', 'name = "other"', "name", "must be called other.toml"),
        ("default_expires_in = 600", "default_expires_in = 0", "oauth.default_expires_in", "greater than 0"),
        ("default_expires_in = 600", "title = 'x'", "oauth.title", "not permitted"),
        ('read = ["a"]', 'read = "a"', "oauth.scopes.read", "valid list"),
        ('pattern = "^[0-9]+$"', 'pattern = "[0-9]+"', "account.keep.number.pattern", "anchored"),
        ('pattern = "^[0-9]+$"', 'pattern = "^[0-9+$"', "account.keep.number.pattern", "not a regular expression"),
        ('effect = "read"', 'effect = "pricing"', "tools.0.effect", "disagree"),
        ('method = "GET"', 'method = "get"', "tools.0.http.method", "'GET'"),
        ('path = "/bills/{bill_id}"', 'path = "bills"', "tools.0.http.path", "pattern"),
        ('path = "/bills/{bill_id}"', 'path = "/bills?all=1"', "tools.0.http.path", "pattern"),
        ('path = "/bills/{bill_id}"', 'path = "/bills/{bill-id}"', "tools.0.http.path", "pattern"),
        ('path = "/bills/{bill_id}"', 'path = "/bills//x"', "tools.0.http.path", "pattern"),
        ('path = "/bills/{bill_id}"', 'path = "/bills/{other}"', "tools.0.http.path", "{other}"),
        ('path = "/bills/{bill_id}/payments"', 'path = "/bills/{amount}"', "tools.1.http.path", "does not require"),
        ('name = "bills.pay"', 'name = "bills.get"', "tools.1.name", "same name"),
        ('name = "bills.pay"', 'name = "Bills"', "tools.1.name", "pattern"),
        ('name = "bills.pay"', 'name = "a.b.c.d"', "tools.1.name", "pattern"),
        ("version = 2", "version = 0", "tools.1.version", "greater than or equal to 1"),
        ("version = 2", 'version = "two"', "tools.1.version", "integer"),
        ('access = "write"', 'access = "admin"', "tools.1.access", "'read' or 'write'"),
        ('effect = "money_movement"', 'effect = "read"', "tools.1.effect", "disagree"),
        ('effect = "money_movement"', 'effect = "theft"', "tools.1.effect", "money_movement"),
        ('idempotency = "key"', 'idempotency = "maybe"', "tools.1.idempotency", "'natural'"),
        ('"/amount" = { role', '"/amuont" = { role', "tools.1.arguments./amuont", "no argument /amuont"),
        ('"/lines/*/amount"', '"/lines/*/amuont"', "tools.1.arguments./lines/*/amuont", "no argument"),
        ('currency = "/currency" }', 'currency = "/curency" }', "tools.1.arguments./amount", "no argument /curency"),
        ('currency = "/currency" }', 'curency = "/currency" }', "tools.1.arguments./amount.curency", "not permitted"),
        ('"/bill_id" = { role = "object_id" }', '"/bill_id" = {}', "tools.1.arguments./bill_id.role", "required"),
        (
            '"/bill_id" = { role = "object_id" }',
            '"/bill_id" = { role = "x" }',
            "tools.1.arguments./bill_id.role",
            "'account'",
        ),
        ('trust = { "" = "untrusted"', 'trust = { "" = "maybe"', "tools.0.output.trust.", "'trusted', 'metadata' or"),
        ('trust = { "" = "untrusted"', 'thrust = { "" = "untrusted"', "tools.0.output.thrust", "not permitted"),
        ('tool = "acme.bills.get"', 'tool = "acme.bills.find"', "tools.1.read_back.tool", "acme.bills.find"),
        ('tool = "acme.bills.get"', 'tool = "acme.bills.pay"', "tools.1.read_back.tool", "here that reads"),
        ('args = { bill_id = "{bill_id}" }', 'args = { id = "{bill_id}" }', "tools.1.read_back.args", "agree on id"),
        ('args = { bill_id = "{bill_id}" }', 'args = { bill_id = "{bill}" }', "tools.1.read_back.args", "{bill}"),
        (
            'args = { bill_id = "{bill_id}" }',
            'args = { bill_id = "{bill_id.x}" }',
            "tools.1.read_back.args",
            "{bill_id.x}",
        ),
        ('found = "/payment"', 'found = "payment"', "tools.1.read_back.found", "pattern"),
        ('found = "/payment"', 'found = "/payment"\nfund = 1', "tools.1.read_back.fund", "not permitted"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, where: str, what: str, tmp_path: Path) -> None:
    text, line = _changed(old, new)
    line += new.count("\n")
    message = _mistake(tmp_path, text)
    assert message.startswith(f"acme.toml:{line}: {where}: "), message
    assert what in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("gone", "near", "where", "what"),
    [
        ('title = "Acme"', 'name = "acme"', "title", "required"),
        ('kind = "billing"', 'name = "acme"', "kind", "required"),
        ('api = "https://api.acme.test/"', "[origins.production]", "origins.production", "no address named api"),
        ('token_url = "{api}/token"', "[oauth]", "oauth.token_url", "required"),
        ('title = "Pay a bill"', 'name = "bills.pay"', "tools.1.title", "required"),
        ("reversible = false", 'name = "bills.pay"', "tools.1.reversible", "required"),
        (
            'idempotency_header = "Idempotency-Key"',
            'idempotency = "key"',
            "tools.1.idempotency",
            "needs http.idempotency_header",
        ),
        ('args = { bill_id = "{bill_id}" }', "[tools.read_back]", "tools.1.read_back.args", "agree on bill_id"),
    ],
)
def test_what_is_missing_is_told_with_the_line_of_what_misses_it(
    gone: str, near: str, where: str, what: str, tmp_path: Path
) -> None:
    text, _ = _changed(gone, "# gone")
    lines = GOOD.splitlines()
    line = lines.index(near) + 1
    if near.startswith("name"):  # the first key of its table, whose own line is the one before
        line = max(1, line - 1)
    message = _mistake(tmp_path, text)
    assert message.startswith(f"acme.toml:{line}: {where}: "), message
    assert what in message


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("true", "describe an object"),
        ("[]", "not a JSON Schema"),
        ("null", "not a JSON Schema"),
        ('{"type": "objekt"}', "not a JSON Schema"),
        ('{"type": "array"}', "describe an object"),
        ('{"type": "object"}', "additionalProperties false"),
        ('{"type": "object", "additionalProperties": true}', "additionalProperties false"),
        (
            '{"type": "object", "additionalProperties": false, "properties": {"a": {"pattern": "("}}}',
            "not a JSON Schema",
        ),
        ('{"type": "object", "additionalProperties": false, "$ref": "http://127.0.0.1:9/x"}', "not a JSON Schema"),
        ('{"type": "object", "additionalProperties": false, "$ref": "file:///etc/passwd"}', "not a JSON Schema"),
    ],
)
def test_a_bad_schema_is_told_with_its_place(schema: str, what: str, tmp_path: Path) -> None:
    start = GOOD.index("'''\n{", GOOD.index("bills.pay"))
    end = GOOD.index("'''", start + 3)
    message = _mistake(tmp_path, GOOD[:start] + "'''" + schema + GOOD[end:])
    line = GOOD[:start].count("\n") + 1
    assert message.startswith(f"acme.toml:{line}: tools.1.input_schema: "), message
    assert what in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = \n", 1),
        ('a = 1\nb = "x\n', 2),
        ("a = 1\nb = 2\na = 3\n", 3),
        ("a = 1\n[b\n", 2),
        ("a = 1\nb = '''x\n\n", 3),
        ("a = 1\n= 2", 2),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    assert _mistake(tmp_path, text).startswith(f"acme.toml:{line}: manifest: ")


def test_an_argument_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    text, _ = _changed('"/bill_id" = { role', '"/amount" = { role')
    assert "acme.toml:59: manifest: " in _mistake(tmp_path, text) or "overwrite" in _mistake(tmp_path, text)


def test_what_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_bytes(GOOD.encode().replace(b"Pay a bill", b"Pay \xff bill"))
    line = GOOD[: GOOD.index("Pay a bill")].count("\n") + 1
    with pytest.raises(ManifestError, match=rf"^acme\.toml:{line}: manifest: it is not UTF-8$"):
        load(path)


def test_no_tools_is_no_provider(tmp_path: Path) -> None:
    head = GOOD[: GOOD.index("[[tools]]")]
    assert _mistake(tmp_path, head).startswith("acme.toml:1: tools: ")
    assert "at least 1" in _mistake(tmp_path, "tools = []\n" + head)


def test_the_address_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load(_file(tmp_path, GOOD))
    monkeypatch.delenv("ACME_URL", raising=False)
    with pytest.raises(ConfigurationError, match="ACME_URL"):
        manifest.site("sandbox")
    monkeypatch.setenv("ACME_URL", "http://127.0.0.1:8100/")
    assert manifest.site("sandbox").url("{api}/x") == "http://127.0.0.1:8100/x"


def test_the_client_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = load(_file(tmp_path, GOOD)).site("production")
    monkeypatch.setenv("ACME_CLIENT_ID", "us")
    monkeypatch.delenv("ACME_CLIENT_SECRET", raising=False)
    with pytest.raises(ConfigurationError, match="ACME_CLIENT_SECRET"):
        site.client()
    monkeypatch.setenv("ACME_CLIENT_SECRET", "hush")
    assert site.client() == ("us", "hush")


#: Published once, a contract never changes: SHA-256 of all of version 1, in the order of the file.
PUBLISHED = {
    "sandbox_bank": "e31bb6cb7fd696eaf113d1da41cd4511cfcb170d34c9dcfbc82363d74db11f24",
    "sandbox_crm": "a3d8c043430593b3637e7d49726d05bf1ae794b89c11ecbcb0b309f6fe07950b",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_contracts_stay_what_they_are(name: str) -> None:
    """Also when what a contract can say grows: where the new part says nothing, it is not there."""
    stored = [c.model_dump(mode="json") for c in manifests()[name].contracts() if c.version == 1]
    assert sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest() == PUBLISHED[name]


def test_one_provider_is_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever calls one provider does not wait for the others to be read, and reads it once."""
    read: list[str] = []

    def counted(path: Path) -> Manifest:
        read.append(path.name)
        return load(path)

    monkeypatch.setattr("api.providers.manifest.load", counted)
    manifest.cache_clear()
    assert manifest("sandbox_bank") is manifest("sandbox_bank")
    assert read == ["sandbox_bank.toml"]
    assert manifest("../manifests/sandbox_bank") is None
    manifest.cache_clear()


def _paths(document: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(document, dict):
        return [at, *(path for key, value in document.items() for path in _paths(value, (*at, key)))]
    if isinstance(document, list):
        return [at, *(path for number, value in enumerate(document) for path in _paths(value, (*at, number)))]
    return [at]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_lines_of_real_manifests_name_what_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    paths = set(_paths(tomllib.loads(text)))
    found = lines_of(text)
    assert set(found) <= paths
    for place, number in found.items():
        if place and isinstance(place[-1], str):
            assert place[-1] in lines[number - 1], (place, number)
        elif place:
            assert lines[number - 1] == f"[[{'.'.join(key for key in place if isinstance(key, str))}]]"
    assert len([place for place in found if place[:1] == ("tools",) and len(place) == 2]) == lines.count("[[tools]]")


def test_a_place_without_a_line_has_that_of_what_is_around_it() -> None:
    assert line_of(GOOD, ("tools", 1, "http", "nothing")) == line_of(GOOD, ("tools", 1, "http"))
    assert line_of(GOOD, ("tools", 7)) == line_of(GOOD, ("tools",))
    assert line_of(GOOD, ("nothing",)) == 1
    assert line_of('a."b.c".d = 1\n', ("a", "b.c", "d")) == 1
    assert line_of('x = 1\n[a."b.c"]\nd = 1\n', ("a", "b.c", "d")) == 3
    assert isinstance(Manifest.model_json_schema(), dict)


#: How the change of a contact is read and undone: what a provider of tests says of it.
UNDONE = """\
[tools.state]
tool = "acme.bills.get"
args = { bill_id = "{bill_id}" }
fields = ["/status"]
[tools.compensate]
tool = "acme.bills.pay"
args = { bill_id = "{bill_id}", amount = "{before/amount}" }
"""


def test_how_a_write_is_undone_is_part_of_its_contract(tmp_path: Path) -> None:
    pay = load(_file(tmp_path, GOOD + UNDONE)).contracts()[1]
    assert pay.state is not None
    assert pay.compensate is not None
    assert (pay.state.tool, pay.compensate.args["amount"]) == ("acme.bills.get", "{before/amount}")
    plain = load(_file(tmp_path, GOOD)).contracts()[1].model_dump(mode="json")
    assert not {"state", "compensate"} & set(plain)


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ('tool = "acme.bills.get"', 'tool = "acme.bills.pay"', "state.tool", "here that reads"),
        ('fields = ["/status"]', "fields = []", "state.fields", "/email"),
        ('args = { bill_id = "{bill_id}" }', 'args = { bill_id = "{before/id}" }', "state.args", "there is no before"),
        ('args = { bill_id = "{bill_id}" }', "args = {}", "state.args", "agree on bill_id"),
        ('tool = "acme.bills.pay"', 'tool = "acme.bills.get"', "compensate.tool", "here that writes"),
        ('tool = "acme.bills.pay"', 'tool = "other.bills.pay"', "compensate.tool", "here that writes"),
        ('amount = "{before/amount}"', 'amount = "{gone}"', "compensate.args", "no argument"),
        ('amount = "{before/amount}"', 'amount = "{before}"', "compensate.args", "no argument"),
        ('amount = "{before/amount}"', 'amount = "{later/amount}"', "compensate.args", "brace"),
        ('amount = "{before/amount}"', 'value = "{before/amount}"', "compensate.args", "agree on value"),
    ],
)
def test_a_mistake_in_how_a_write_is_undone(tmp_path: Path, old: str, new: str, place: str, said: str) -> None:
    told = _mistake(tmp_path, GOOD + UNDONE.replace(old, new, 1))
    assert f"tools.1.{place}" in told
    assert said in told


def test_without_a_state_there_is_nothing_before(tmp_path: Path) -> None:
    told = _mistake(tmp_path, GOOD + UNDONE[UNDONE.index("[tools.compensate]") :])
    assert "there is no before here" in told
