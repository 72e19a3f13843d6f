"""Every operation of the API, read from its own description, with a request that it would take.

So a new route is asked the questions of test_operations.py without being named there.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi.routing import iter_route_contexts

from api.dashboard.routing import PageRoute
from api.index import app

#: Answer without a credential: the liveness probe says nothing but that the process lives, and public keys are public.
OPEN = {"get_health", "get_deep_health", "get_signing_keys"}
#: A place that a browser or a scheduler calls; each has tests of its own, and neither takes a bearer token of ours.
UNDESCRIBED = {
    "/hooks/{trigger_id}",
    "/oauth/{provider}/callback",
    "/cron/{function}",
    "/assets/access-spec.css",
    "/static/{name}",
}
#: Unsafe and yet without an Idempotency-Key, each for a reason.
WITHOUT_KEY = {
    "create_connection": "every call starts a sign-in of its own, and one that nobody ends creates nothing",
    "reconnect_connection": "every call starts a sign-in of its own, and one that nobody ends changes nothing",
    "score_risk": "a score records nothing",
    "backtest_constitution": "a backtest records nothing",
    "validate_constitution": "it saves nothing",
    "simulate_constitution": "it records nothing",
    "change_constitution_draft": "If-Match tells a repeated change from a new one",
    "acknowledge_alert": "to acknowledge what is acknowledged changes nothing",
    "assign_alert": "to hand over to who has it changes nothing",
    "resolve_alert": "to resolve what is resolved changes nothing",
    "delete_member": "to remove what is removed changes nothing",
    "change_member": "to give a role that is held changes nothing",
    "leave_tenant": "who has left is not there to leave again",
    "change_channel": "If-Match tells a repeated change from a new one",
    "change_tenant": "If-Match tells a repeated change from a new one",
    "transfer_ownership": "who has handed over has nothing left to hand over",
    "withdraw_invitation": "to withdraw what is withdrawn changes nothing",
    "accept_invitation": "who has accepted is told so again, and may have no tenant yet to keep a key in",
    "change_service_account": "to say the same again changes nothing",
    "disable_service_account": "to end what has ended changes nothing",
    "narrow_key": "to take away what is gone changes nothing",
    "revoke_key": "to revoke what is revoked changes nothing",
    "delete_connection": "to disconnect what is disconnected changes nothing",
}
_PATTERNS = {
    "^sha256:[0-9a-f]{64}$": f"sha256:{'a' * 64}",
    "^[0-9a-f]{64}$": "a" * 64,
    "^[a-z0-9][a-z0-9-]{0,62}$": "a-slug",
    r"^[a-z0-9_]+(\.[a-z0-9_]+){1,3}$": "sandbox_crm.notes.create",
    "^[!-?A-~]+@[!-?A-~]+$": "somebody@example.test",
    "^[A-Z]{3}$": "EUR",
    r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$": "https://models.example.com/v1",
    "^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$": "a-model",
    "^[a-z0-9_.*?]+$": "*",
    "^[a-z0-9_]{1,40}$": "sandbox_crm",
}
#: What fills the parameters of a path so that it names nothing that exists.
MISSING = {
    "slug": "not-there",
    "version": "1",
    "number": "9999",
    "seq": "999999",
    "name": "not.there",
    **dict.fromkeys(
        (
            "user_id",
            "account_id",
            "key_id",
            "connection_id",
            "switch_id",
            "run_id",
            "action_id",
            "exception_id",
            "invitation_id",
            "alert_id",
            "incident_id",
            "follow_up_id",
            "change_id",
            "entry_id",
            "draft_id",
            "amendment_id",
            "provider_id",
            "erasure_id",
            "trigger_id",
            "observation_id",
            "channel_id",
            "delivery_id",
        ),
        "018f0000-0000-7000-8000-000000000000",
    ),
}
_DOCUMENT: dict[str, Any] = app.openapi()


@dataclass(frozen=True)
class Operation:
    """One method of one path; `body` is an example of what it takes, None when it takes none."""

    id: str
    method: str
    path: str
    parameters: tuple[str, ...]
    body: Any

    @property
    def unsafe(self) -> bool:
        return self.method not in ("GET", "HEAD")

    def send(
        self, client: httpx.Client, ids: Mapping[str, str], own: Mapping[str, Any] | None = None, **headers: str
    ) -> httpx.Response:
        """Calls it: `ids` fill the path, `own` members of the body by name. An unsafe call gets a fresh key."""
        if self.unsafe:
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        if self.method in ("PATCH", "PUT"):
            headers.setdefault("If-Match", "*")
        headers = {name: value for name, value in headers.items() if value}
        body = self.body
        if isinstance(body, dict):
            body = body | {name: value for name, value in (own or {}).items() if name in body}
        path = self.path.format_map({name: ids[name] for name in self.parameters})
        return client.request(self.method, path, json=body, headers=headers)


def example(schema: dict[str, Any]) -> Any:
    """The smallest value that fits a JSON Schema of ours. Raises LookupError for a pattern that is not listed above."""
    if "$ref" in schema:
        return example(_DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "anyOf" in schema:
        return example(schema["anyOf"][0])
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        value = {name: example(schema["properties"][name]) for name in schema.get("required", [])}
        for pattern, inner in schema.get("patternProperties", {}).items():
            if schema.get("minProperties"):
                value[_PATTERNS[pattern]] = example(inner)
        return value
    if kind == "array":
        return [example(schema["items"])] * schema.get("minItems", 0)
    if kind == "string":
        return _text(schema)
    return {"integer": int(schema.get("minimum", 1)), "number": 0.5, "boolean": True, "null": None}[kind]


def _text(schema: dict[str, Any]) -> str:
    if schema.get("format") == "uuid":
        return str(uuid.uuid4())
    if schema.get("format") == "date":
        return datetime.now(UTC).date().isoformat()
    pattern: str | None = schema.get("pattern")
    return _PATTERNS[pattern] if pattern else "x" * max(1, int(schema.get("minLength", 1)))


def _body(description: dict[str, Any]) -> Any:
    content = description.get("requestBody", {}).get("content", {})
    if not content:
        return None
    schema = content["application/json"]["schema"]
    if "$ref" in schema:
        schema = _DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    # Optional members too, where an id may hide in them.
    return example(schema) | {
        name: example(inner) for name, inner in schema.get("properties", {}).items() if name.endswith("_id")
    }


def operations() -> list[Operation]:
    """Every operation that the API describes."""
    return [
        Operation(
            description["operationId"],
            method.upper(),
            path,
            tuple(p["name"] for p in description.get("parameters", []) if p["in"] == "path"),
            _body(description),
        )
        for path, methods in _DOCUMENT["paths"].items()
        for method, description in methods.items()
    ]


def undescribed() -> set[str]:
    """Paths that the application serves and its description leaves out."""
    # Without what a path says of its parameters' form: /members/{user_id:uuid}.
    served = {
        re.sub(r":[a-z]+}", "}", str(context.path))
        for context in iter_route_contexts(app.routes)
        if not isinstance(context.original_route, PageRoute)
    }
    return served - set(_DOCUMENT["paths"])
