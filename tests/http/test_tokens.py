"""Which credentials are taken for a person's or a key's, and which are not."""

import hashlib
import hmac
import json
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sandbox.auth.keys import SigningKeys, anon_key, service_key
from sandbox.organisation import Organisation, ok
from tests.http.functions import function
from tests.http.integrator import issue_key
from tests.http.problems import problem, unchanged
from tests.http.world import World

Claims = dict[str, Any]


def claims_of(organisation: Organisation) -> Claims:
    """The claims of the owner's own token."""
    claims: Claims = jwt.decode(organisation.owner.access_token, options={"verify_signature": False})
    return claims


def sign(world: World, claims: Claims, *, algorithm: str = "ES256", **header: Any) -> str:
    """A token as Supabase Auth signs them, with its own key."""
    key = SigningKeys(world.stack.state).current()
    return jwt.encode(claims, key.private, algorithm=algorithm, headers={"kid": key.kid} | header)


def ask(world: World, organisation: Organisation, token: str) -> Any:
    with world.client(token, **{"X-Tenant-Id": organisation.tenant_id}) as client:
        return client.get("/v1/me")


def test_what_the_test_signs_is_taken_when_nothing_is_wrong_with_it(shared: Organisation, world: World) -> None:
    me = ok(ask(world, shared, sign(world, claims_of(shared))))
    assert (me["id"], me["aal"]) == (shared.owner.user_id, "aal2")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": 1}, "token_expired"),
        ({"iss": "https://elsewhere.example/auth/v1"}, "invalid_token"),
        ({"iss": None}, "invalid_token"),
        ({"aud": "somebody-else"}, "invalid_token"),
        ({"aud": None}, "invalid_token"),
        ({"sub": "42"}, "invalid_token"),
        ({"sub": None}, "invalid_token"),
        ({"exp": None}, "invalid_token"),
        ({"iat": None}, "invalid_token"),
        ({"nbf": 4102444800}, "invalid_token"),
        ({"role": "service_role"}, "invalid_token"),
        ({"role": "anon"}, "invalid_token"),
        ({"role": None}, "invalid_token"),
        ({"is_anonymous": True}, "invalid_token"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_claims_that_are_not_a_signed_in_persons_here(
    shared: Organisation, world: World, changes: Claims, code: str
) -> None:
    claims = {name: value for name, value in (claims_of(shared) | changes).items() if value is not None}
    with unchanged(world):
        problem(ask(world, shared, sign(world, claims)), 401, code)


def _unsigned(world: World, claims: Claims) -> str:
    return f"{_input({'alg': 'none', 'kid': SigningKeys(world.stack.state).current().kid}, claims)}."


def _by_the_public_key(world: World, claims: Claims) -> str:
    """The confusion of algorithms: the public key, which everybody has, used as the secret of an HMAC."""
    key = SigningKeys(world.stack.state).current()
    pem = key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signing_input = _input({"alg": "HS256", "kid": key.kid, "typ": "JWT"}, claims)
    return f"{signing_input}.{_encode(hmac.digest(pem, signing_input.encode(), hashlib.sha256))}"


def _by_another_key(world: World, claims: Claims) -> str:
    other = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, other, algorithm="ES256", headers={"kid": SigningKeys(world.stack.state).current().kid})


def _by_a_key_of_another_algorithm(world: World, claims: Claims) -> str:
    """The issuer's key is one of a curve; who reads it as an RSA key must not break over it."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, other, algorithm="RS256", headers={"kid": SigningKeys(world.stack.state).current().kid})


def _by_an_unknown_key(world: World, claims: Claims) -> str:
    return sign(world, claims, kid=str(uuid.uuid4()))


def _without_a_key_id(world: World, claims: Claims) -> str:
    return sign(world, claims, kid="")


def _with_its_own_key(world: World, claims: Claims) -> str:
    """A key that the token brings along must not be the one it is checked with."""
    other = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(other.public_key(), as_dict=True)
    return jwt.encode(claims, other, algorithm="ES256", headers={"kid": "mine", "jwk": jwk})


def _altered(world: World, claims: Claims) -> str:
    header, _, signature = sign(world, claims).split(".")
    payload = _input({}, claims | {"sub": str(uuid.uuid4())}).split(".")[1]
    return f"{header}.{payload}.{signature}"


def _without_a_signature(world: World, claims: Claims) -> str:
    return sign(world, claims).rsplit(".", 1)[0] + "."


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _input(header: Claims, claims: Claims) -> str:
    """What a signature covers (RFC 7515 section 5.1)."""
    return f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"


@pytest.mark.parametrize(
    "forge",
    [
        _unsigned, _by_the_public_key, _by_another_key, _by_a_key_of_another_algorithm, _by_an_unknown_key,
        _without_a_key_id, _with_its_own_key, _altered, _without_a_signature,
    ],
)  # fmt: skip
def test_a_signature_that_is_not_the_issuers(
    shared: Organisation, world: World, forge: Callable[[World, Claims], str]
) -> None:
    with unchanged(world):
        problem(ask(world, shared, forge(world, claims_of(shared))), 401, "invalid_token")


def test_the_keys_of_the_auth_server_are_no_ones_credentials_here(shared: Organisation, world: World) -> None:
    with unchanged(world):
        for key in (anon_key(world.stack.state), service_key(world.stack.state), shared.owner.refresh_token):
            problem(ask(world, shared, key), 401, "invalid_token")
        problem(ask(world, shared, world.stack.cron_secret), 401, "invalid_token")


@pytest.mark.parametrize("token", ["a" * 9000, "..", "a.b", "ey.ey.ey", "\\x00.b.c", "e30.e30.e30", "bnVsbA.e30.AA"])
def test_what_is_no_token_at_all(shared: Organisation, world: World, token: str) -> None:
    with unchanged(world):
        problem(ask(world, shared, token), 401, "invalid_token", "unauthenticated")


def test_a_key_that_is_not_quite_one(shared: Organisation, world: World) -> None:
    key = shared.key
    prefix, secret = key.rsplit("_", 1)[0], key[-43:]
    wrong = [
        key[:-1], key + "A", key.upper(), key.replace("cs_sandbox", "cs_test"), f"{prefix}_{secret[::-1]}",
        f"cs_sandbox_{uuid.uuid4().hex}_{secret}", "cs_", "cs_sandbox_" + "x" * 9000,
    ]  # fmt: skip
    with unchanged(world):
        for attempt in wrong:
            problem(ask(world, shared, attempt), 401, "invalid_key", "invalid_token", "unauthenticated")


def test_what_a_key_calls_itself_does_not_move_it_to_production(shared: Organisation, world: World) -> None:
    answer = ask(world, shared, shared.key.replace("cs_sandbox", "cs_live"))
    assert answer.status_code == 401 or answer.json()["environment"] == "sandbox"


def test_an_expired_key(shared: Organisation, world: World) -> None:
    key = issue_key(shared)
    expire = "update app.api_keys set expires_at = now() - interval '1 second' where id = %s returning id::text"
    assert world.rows(expire, key["id"]) == [(key["id"],)]
    with unchanged(world):
        problem(ask(world, shared, key["secret"]), 401, "unauthenticated")


def test_a_key_stays_in_its_tenant_whatever_the_header_says(shared: Organisation, world: World) -> None:
    with world.client(shared.key, **{"X-Tenant-Id": str(uuid.uuid4())}) as client:
        assert ok(client.get("/v1/me"))["tenant"]["id"] == shared.tenant_id


def test_a_tenant_header_is_an_id(shared: Organisation, world: World) -> None:
    with unchanged(world), world.client(shared.owner.access_token, **{"X-Tenant-Id": "' or 1=1"}) as client:
        problem(client.get("/v1/me"), 422, "invalid_request")


def test_a_token_of_nobodys_claims_no_more_than_it_signed(shared: Organisation, world: World) -> None:
    """A plain token that says `aal2` in the metadata a user may write himself is still a plain one."""
    claims = claims_of(shared) | {"aal": "aal1", "user_metadata": {"aal": "aal2", "role": "owner"}}
    assert ok(ask(world, shared, sign(world, claims)))["aal"] == "aal1"


def test_without_the_issuer_people_are_asked_to_come_again_and_keys_still_work(
    shared: Organisation, world: World
) -> None:
    with function("api.index", world, SUPABASE_URL="http://127.0.0.1:9") as api:
        status, document, answer = api.call("GET", "/v1/me", authorization=f"Bearer {shared.owner.access_token}")
        assert (status, document["code"]) == (503, "identity_unavailable")
        assert int(answer["headers"]["retry-after"]) >= 1
        assert api.call("GET", "/v1/me", authorization=f"Bearer {shared.key}")[0] == 200
