"""The harness itself, on two invented providers: what fits passes, and every kind of mistake is noticed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from api.providers import client
from api.providers.manifest import load
from tests.providers import exercise, facts, moves, shapes
from tests.providers.exercise import Provider, running, settings_of

EXAMPLES = Path(__file__).parent / "examples"
NAMES = ("northstar", "pigeon")
Check = Callable[[Provider], None]


@contextmanager
def example(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path, change: tuple[str, str]) -> Iterator[Provider]:
    """An invented provider whose manifest has one mistake: `change` is what it says and what it says instead."""
    text = (EXAMPLES / "manifests" / f"{name}.toml").read_text()
    assert text.count(change[0]) >= 1, f"the manifest does not say {change[0]}"
    file = folder / f"{name}.toml"
    file.write_text(text.replace(*change))
    with running(load(file), shapes.load(EXAMPLES / "shapes" / f"{name}.toml")) as started:
        for setting, value in settings_of(started).items():
            monkeypatch.setenv(setting, value)
        yield started


def every_check(provider: Provider) -> None:
    """All that test_manifests.py asks."""
    assert facts.contradictions(provider) == []
    exercise.check_sign_in(provider, "read")
    exercise.check_sign_in(provider, "write")
    exercise.check_spent_code(provider)
    exercise.check_refresh(provider)
    for call in provider.shape.calls:
        if call.tool is not None:
            exercise.check_call(provider, call)
            if call.refused is not None:
                exercise.check_refusal(provider, call)
    for tool in provider.manifest.tools:
        exercise.check_labels(provider, tool.name)
        if tool.read_back is not None:
            exercise.check_read_back(provider, tool.name)
    check_moves(provider)
    exercise.check_revocation(provider)


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_that_says_what_is_documented_passes(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with example(name, monkeypatch, tmp_path, ("", "")) as provider:
        every_check(provider)
        hosts = {url.split("/")[2] for url in provider.stub.urls}
        assert hosts == provider.shape.hosts, "every documented host was called"


def check_call(tool: str) -> Check:
    return lambda provider: exercise.check_call(provider, provider.shape.calls_of(tool)[0])


def check_refusal(tool: str) -> Check:
    return lambda provider: exercise.check_refusal(provider, provider.shape.calls_of(tool)[0])


def check_labels(tool: str) -> Check:
    return lambda provider: exercise.check_labels(provider, tool)


def check_read_back(provider: Provider) -> None:
    exercise.check_read_back(provider, "bills.create")


def check_moves(provider: Provider) -> None:
    moves.check_all(moves.Looking(provider, exercise.sign_in(provider)))


def check_facts(provider: Provider) -> None:
    assert facts.contradictions(provider) == []


def check_sign_in(provider: Provider) -> None:
    exercise.check_sign_in(provider, "write")


MISTAKES: list[tuple[str, str, str, Check, str]] = [
    ("northstar", '"client_secret_basic"', '"client_secret_post"', check_sign_in, "client_secret_basic"),
    ("pigeon", '"client_secret_post"', '"client_secret_basic"', check_sign_in, "client_secret_post"),
    ("pigeon", 'token_body = "json"', 'token_body = "form"', check_sign_in, "application/json"),
    ("pigeon", 'expires_in = "3600"', 'lifetime = "3600"', check_sign_in, "expires_in"),
    ("pigeon", 'from = "claims", at = "/team/id"', 'from = "claims", at = "/tim/id"', check_sign_in, "account|malf"),
    ("northstar", "{auth}/token", "{auth}/tokens", check_sign_in, "is not|404"),
    ("northstar", 'access = "offline"', 'access = "offline", prompt = "consent"', check_sign_in, "prompt"),
    ("northstar", 'authorize_parameters = { access = "offline" }\n', "", check_sign_in, "access"),
    ("northstar", '"books.write"', '"books.all"', check_sign_in, "scope"),
    ("northstar", 'implied = ["openid"]', "implied = []", check_sign_in, "openid"),
    ("northstar", "refresh_rotates = true", "refresh_rotates = false", exercise.check_refresh, "rotate"),
    ("pigeon", "refresh_rotates = false", "refresh_rotates = true", exercise.check_refresh, "rotate"),
    ("northstar", '"/refresh_expires_in"', '"/refresh_token_expires_in"', check_sign_in, "refresh_token_expires_in"),
    ("northstar", 'at = "bookId"', 'at = "bookID"', check_sign_in, "which account"),
    ("northstar", '"{api}/books/{book}"', '"{api}/book/{book}"', check_sign_in, "not documented"),
    ("northstar", 'pkce = "required"', 'pkce = "supported"', check_facts, "pkce"),
    ("northstar", "{auth}/authorize", "{auth}/authorise", check_facts, "authorize_url"),
    ("northstar", "{auth}/revoke", "{auth}/revocation", check_facts, "revoke.url"),
    ("northstar", 'send = "form"', 'send = "json"', exercise.check_revocation, "application/json"),
    ("northstar", 'token = "refresh_token"', 'token = "access_token"', exercise.check_revocation, "in force"),
    ("northstar", "client_authentication = true", "client_authentication = false", exercise.check_revocation, "client"),
    ("northstar", "/books/{book}/bills", "/book/{book}/bills", check_call("bills.list"), "not documented"),
    ("northstar", 'edition = "7"', 'edition = "7", page = "1"', check_call("bills.list"), "page"),
    ("northstar", 'edition = "7"', 'edition = "8"', check_call("bills.list"), "edition"),
    ("northstar", '"{amount|major}"', '"{amount}"', check_call("bills.create"), "20050"),
    ("northstar", '"{amount|major}"', '"{amount|major_text}"', check_call("bills.create"), "amount"),
    ("northstar", '"{vendor}"}', '"{vendor}", "kind": "v"}', check_call("bills.create"), "must be"),
    ("northstar", '"X-Request-Id"', '"Idempotency-Key"', check_call("bills.create"), "Idempotency-Key|idempotency-key"),
    ("northstar", 'method = "POST"\npath', 'method = "PUT"\npath', check_call("bills.create"), "not documented"),
    ("pigeon", 'body = "form"', 'body = "json"', check_call("letters.send"), "application/json"),
    ("pigeon", '"flags[urgent]"', '"urgent"', check_call("letters.send"), "urgent"),
    ("pigeon", "at = \"/ok\", equals = true", "at = \"/id\", equals = \"l2\"", check_call("letters.list"), "no"),
    ("pigeon", '[answers]\nsuccess = { at = "/ok", equals = true }\nerror = "/error"\n', "",
     check_refusal("letters.send"), "yes"),
    ("northstar", '"/bills/*/id"', '"/bills/*/di"', check_labels("bills.list"), "/bills/\\*/di"),
    ("northstar", ', "/bills/*/memo" = "internal"', "", check_labels("bills.list"), "not in the contract"),
    ("northstar", 'found = "/bills/*/request"', 'found = "/items/*/request"', check_read_back, "nothing is at"),
    ("northstar", 'equals = "{idempotency_uuid}"', 'equals = "{idempotency_key} "', check_read_back, "ours is not"),
    ("northstar", 'equals = "{idempotency_uuid}"', "equals = 7", check_read_back, "of its kind"),
    ("northstar", 'same = ["/bills/*/number"]', 'enough = { "/bills/*/due" = "/amount|major" }',
     check_moves, "due: nothing is there"),
    ("northstar", 'same = ["/bills/*/number"]', 'enough = { "/bills/0/amount" = "/amount|major" }',
     check_moves, "12.5"),
    ("northstar", 'args = { state = "open" }', 'args = { state = "unpaid" }', check_read_back, "unpaid"),
    ("northstar", "args = { state = 'open' }", "args = { state = 'unpaid' }", check_moves, "unpaid"),
    ("northstar", 'same = ["/bills/*/number"]', 'same = ["/bills/*/version"]', check_moves, "version: nothing is"),
    ("northstar", 'fields = ["/state", "/amount"]', 'fields = ["/state", "/total"]', check_moves, "total: nothing is"),
    ("northstar", 'fields = ["/state"]', 'fields = ["/due"]', check_moves, "compares what northstar.bills.create does"),
    ("northstar", 'method = "DELETE"', 'method = "PUT"', check_moves, "not documented"),
    ("northstar", 'state = "{now/state}"', 'state = "paid"', check_moves, "expected"),
    ("northstar", 'bill = "{result/id}", state', 'bill = "{result/nr}", state', check_moves, "result/nr"),
    ("northstar", '"/id" = "trusted" }\ndata_classes = { "/amount"', '"/no" = "trusted" }\ndata_classes = { "/amount"',
     check_moves, "result/id"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong", "check", "reason"), MISTAKES)
def test_a_mistake_is_noticed(
    name: str, right: str, wrong: str, check: Check, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (
        example(name, monkeypatch, tmp_path, (right, wrong)) as provider,
        pytest.raises(AssertionError, match=reason),
    ):
        check(provider)


def test_a_token_that_is_not_the_last_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with example("northstar", monkeypatch, tmp_path, ("", "")) as provider:
        old = exercise.sign_in(provider)
        exercise.refresh(old)
        url = f"{provider.served.base}/eu1.northstar.example/books/4471"
        headers = {"Authorization": f"Bearer {old.tokens.access_token}"}
        assert httpx.get(url, headers=headers, trust_env=False).status_code == 401
        assert "not the last one" in provider.stub.complaints[0]


def test_a_verifier_of_another_sign_in_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with example("northstar", monkeypatch, tmp_path, ("", "")) as provider:
        callback = exercise.consent(provider, "read", "a" * 43)
        grant = exercise.grant_of(callback, "b" * 43) | {"redirect_uri": "http://127.0.0.1:9/elsewhere"}
        assert exercise.token_error(client.exchange(provider.site, grant)).final
        assert len(provider.stub.complaints) == 2


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("status = 201", "status = 422"),
        ('content_type = "application/json"\n', ""),
        ("https://login.northstar.example/token", "http://login.northstar.example/token"),
        ('"refresh_token":"@refresh_token",', ""),
        ('method = "GET"', 'verb = "GET"'),
        ('{"type":"object"}', '{"type":"objekt"}'),
    ],
)
def test_a_shape_that_says_nothing_sensible_is_refused(tmp_path: Path, right: str, wrong: str) -> None:
    text = (EXAMPLES / "shapes" / "northstar.toml").read_text()
    assert right in text
    file = tmp_path / "northstar.toml"
    file.write_text(text.replace(right, wrong))
    with pytest.raises(shapes.ShapeError, match=r"northstar\.toml"):
        shapes.load(file)
