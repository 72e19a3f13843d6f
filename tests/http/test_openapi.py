"""The API's description of itself: complete, well-formed, and true of what it answers."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.alerts import an_alert
from tests.http.amendments import amendment_of
from tests.http.channels import in_use
from tests.http.constitutions import drafted
from tests.http.incidents import an_incident
from tests.http.integrator import NOTE, PAY, Agent, at_work, decide, note, payment, vouched_for
from tests.http.model_providers import registered
from tests.http.operations import MISSING, OPEN, WITHOUT_KEY, operations
from tests.http.test_erasure import ask
from tests.http.test_kill_switch import engage, release
from tests.http.webhook_triggers import webhook_trigger
from tests.http.world import World

METHODS = {"get", "post", "put", "patch", "delete"}
#: What every operation with a caller documents.
PROBLEMS = {"400", "401", "403", "404", "409", "413", "415", "422", "500", "503"}


@pytest.fixture(scope="module")
def document(world: World) -> dict[str, Any]:
    """As it is served, to anybody."""
    with world.client() as client:
        answer = client.get("/openapi.json")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        served: dict[str, Any] = answer.json()
        return served


def described(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def schemas(part: Any) -> Iterator[dict[str, Any]]:
    """Every schema that hangs off a part of the document."""
    if isinstance(part, dict):
        if isinstance(part.get("schema"), dict):
            yield part["schema"]
        for value in part.values():
            yield from schemas(value)
    elif isinstance(part, list):
        for value in part:
            yield from schemas(value)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_it_is_an_openapi_document(document: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"] == "Countersign"
    assert document["info"]["version"]
    templates = [re.sub(r"{[^}]*}", "{}", path) for path in document["paths"]]
    assert len(set(templates)) == len(templates)
    # Beside the API there are the keys that verify permits, where RFC 8615 has them looked for.
    assert {path for path in document["paths"] if not path.startswith("/v1/")} == {"/.well-known/jwks.json"}
    for path, methods in document["paths"].items():
        assert set(methods) <= METHODS, path


def test_every_schema_is_one_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for schema in [*document["components"]["schemas"].values(), *schemas(document["paths"])]:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema)
    for reference in references(document):
        place: Any = document
        assert reference.startswith("#/")
        for part in reference[2:].split("/"):
            place = place[part]
        assert isinstance(place, dict)


def test_every_operation_has_a_name_and_says_what_it_does(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in described(document)]
    assert len(set(names)) == len(names)
    for path, method, operation in described(document):
        where = f"{method} {path}"
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"]), where
        assert operation["summary"], where
        assert operation.get("description"), where
        assert operation["tags"], where


def test_every_operation_documents_its_parameters(document: dict[str, Any]) -> None:
    for path, method, operation in described(document):
        parameters = operation.get("parameters", [])
        where = f"{method} {path}"
        assert {p["name"] for p in parameters if p["in"] == "path"} == set(re.findall(r"{(\w+)}", path)), where
        assert all(p["required"] for p in parameters if p["in"] == "path"), where
        assert all({"name", "in", "schema"} <= set(p) for p in parameters), where
        assert len({(p["name"], p["in"]) for p in parameters}) == len(parameters), where
        assert not any({"type": "null"} in p["schema"].get("anyOf", []) for p in parameters), where
        keys = [p for p in parameters if p["name"] == "Idempotency-Key"]
        needed = method != "get" and operation["operationId"] not in WITHOUT_KEY
        assert [key["required"] for key in keys] == [True] * needed, where


def test_every_operation_but_liveness_and_public_keys_asks_for_a_credential(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    for path, method, operation in described(document):
        asked = [name for requirement in operation.get("security", []) for name in requirement]
        assert set(asked) <= set(schemes)
        assert bool(asked) == (operation["operationId"] not in OPEN), f"{method} {path}"
    assert [(scheme["type"], scheme["scheme"]) for scheme in schemes.values()] == [("http", "bearer")]


def test_every_operation_documents_its_problems(document: dict[str, Any]) -> None:
    problem = {"$ref": "#/components/schemas/ProblemDocument"}
    for path, method, operation in described(document):
        responses = operation["responses"]
        where = f"{method} {path}"
        # The public keys are asked for with nothing that could be wrong.
        needed = {"500", "503"} if operation["operationId"] == "get_signing_keys" else PROBLEMS
        assert needed <= set(responses), where
        assert sum(status.startswith("2") for status in responses) == 1, where
        for status, response in responses.items():
            assert response["description"], where
            if status[0] in "45":
                assert response["content"] == {"application/problem+json": {"schema": problem}}, where
    publish = document["paths"]["/v1/constitution/versions"]["post"]
    assert "412" in publish["responses"]


def fits(document: dict[str, Any], path: str, answer: httpx.Response) -> dict[str, Any]:
    """The body of an answer, which is what the document says of this path, method and status."""
    operation = document["paths"][path][answer.request.method.lower()]
    response = operation["responses"][str(answer.status_code)]
    kind = answer.headers["content-type"].partition(";")[0]
    schema = response["content"][kind]["schema"]
    if not kind.endswith("json"):  # a file, which is streamed
        assert schema == {"type": "string"}
        return {}
    validator = jsonschema_rs.Draft202012Validator(
        schema | {"components": document["components"]}, validate_formats=True
    )
    errors = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(answer.json())]
    assert errors == [], f"{path}: {errors[:5]}"
    body: dict[str, Any] = answer.json()
    return body


def test_what_it_answers_is_what_it_says(
    document: dict[str, Any], agent: Agent, shared: Organisation, world: World
) -> None:
    owner, approver = shared.owner.api, shared.approver.api
    ids = {
        "slug": "pay-vendor-bills", "version": "1", "seq": "1", "name": PAY, "account_id": shared.service_account_id,
        "connection_id": shared.connections["sandbox_bank/read"], "alert_id": an_alert(world, shared),
    }  # fmt: skip
    start = {"workflow": "pay-vendor-bills", "instruction": "x", "subject": {"type": "bill", "id": "1"}}
    run = fits(document, "/v1/runs", agent.api.post("/v1/runs", json=start, headers=once()))
    agent.run_id = ids["run_id"] = run["id"]
    read = agent.api.post(
        f"/v1/runs/{run['id']}/observations", json={"tool": "sandbox_bank.bills.list"}, headers=once()
    )
    seen = fits(document, "/v1/runs/{run_id}/observations", read)
    ids["observation_id"] = seen["id"]
    body = agent.proposal(PAY, payment(), evidence=[{"observation_id": seen["id"]}])
    action = fits(document, "/v1/actions", agent.api.post("/v1/actions", json=body, headers=once()))
    fits(document, "/v1/gate/evaluate", agent.api.post("/v1/gate/evaluate", json=body, headers=once()))
    ids |= {"action_id": action["id"], "exception_id": action["exception"]["id"]}
    change = vouched_for(shared, "A Vendor")
    ids |= {"change_id": change["id"], "entry_id": change["entry_id"]}
    ids |= {"number": "1", "draft_id": drafted(shared.owner, [], 1)["id"]}
    ids["provider_id"] = registered(shared.owner)["id"]
    ids["trigger_id"] = webhook_trigger(shared.owner, "pay-vendor-bills")["id"]
    ids["channel_id"] = in_use(shared.owner)["id"]
    an_alert(world, shared)
    ids["erasure_id"] = ask(shared, subject={"type": "bill", "id": "nobody's"})["id"]
    ids["incident_id"] = an_incident(shared, due=shared.approver)["incident_id"]
    switch = engage(shared, "connection", shared.connections["sandbox_crm/read"])
    ids["switch_id"] = ok(release(shared.owner, switch))["id"]
    with at_work(shared) as another:
        ids["amendment_id"] = amendment_of(shared, another)["id"]
    for operation in operations():
        if operation.method == "GET":
            fits(document, operation.path, operation.send(owner, ids))
    verdict = "/v1/exceptions/{exception_id}/decision"
    edited = fits(document, verdict, decide(shared.approver, action, "edit", args=payment(5), reason="less"))
    fits(document, verdict, decide(shared.owner, edited["superseded_by"]))
    agent.settled(edited["superseded_by"]["id"])
    for operation in operations():
        if operation.method == "GET":  # once more, with approvals and attempts to show
            fits(document, operation.path, operation.send(approver, ids))
    soft = agent.propose(NOTE, note(), confidence=0.1)
    cancel = agent.api.post(f"/v1/actions/{soft['id']}/cancel", json={"reason": "x"}, headers=once())
    fits(document, "/v1/actions/{action_id}/cancel", cancel)


def test_what_it_refuses_is_what_it_says(document: dict[str, Any], shared: Organisation, world: World) -> None:
    with world.client() as nobody:
        for operation in operations():
            if operation.id not in OPEN:
                assert fits(document, operation.path, operation.send(nobody, MISSING))["code"] == "unauthenticated"
            if operation.parameters:
                answer = operation.send(shared.owner.api, MISSING)
                assert answer.is_error
                fits(document, operation.path, answer)


def test_the_description_says_nothing_of_a_deployment(document: dict[str, Any], world: World) -> None:
    text = str(document)
    for name, value in world.stack.environment().items():
        assert value not in text, name
    assert ok(world.client().get("/v1/health")) == {"status": "ok"}
