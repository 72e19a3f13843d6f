"""What holds for every operation of the API, asked of each one that its description lists."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.organisation import Organisation, once
from tests.http.integrator import access_spec, new_organisation
from tests.http.operations import MISSING, OPEN, UNDESCRIBED, WITHOUT_KEY, Operation, operations, undescribed
from tests.http.possessions import everything_of
from tests.http.problems import problem, unchanged
from tests.http.world import World

ALL = operations()
#: Parameters that name nothing of a tenant's: tools are published for all.
SHARED_BY_ALL = {"name"}
#: Refused for what they carry before anything is looked for: a report without a permit of ours is about nothing.
SIGNED = {"report_outcome"}
#: Answers that are of nobody's: whoever holds a token of ours has them, until it runs out.
SAME_FOR_ALL = {"list_constitution_library", "list_providers"}


def of(chosen: list[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", chosen, ids=lambda operation: operation.id)


@pytest.fixture(scope="module")
def foreign(world: World) -> dict[str, str]:
    """The ids of everything that another tenant has, by the name of the path's parameter."""
    return everything_of(world, new_organisation(world, name="Another BV"))


@pytest.fixture(scope="module")
def own(shared: Organisation, foreign: dict[str, str]) -> dict[str, Any]:
    """Members of bodies that the shared organisation would be right to send."""
    return {
        "workflow": "pay-vendor-bills", "user_id": shared.owner.user_id, "digest": foreign["digest"],
        "tool": "sandbox_bank.bills.list", "scopes": ["tenant.read"], "spec": access_spec(shared),
    }  # fmt: skip


@pytest.fixture(scope="module")
def nobody(world: World) -> Iterator[httpx.Client]:
    with world.client() as client:
        yield client


def test_what_the_description_leaves_out_is_known() -> None:
    hidden = undescribed()
    assert hidden >= UNDESCRIBED
    assert {path for path in hidden if not path.startswith(("/docs", "/openapi"))} == UNDESCRIBED


def test_the_exceptions_are_operations_that_exist() -> None:
    named = {operation.id for operation in ALL}
    assert named >= OPEN
    assert {operation.id for operation in ALL if operation.unsafe} >= set(WITHOUT_KEY)
    assert len(named) == len(ALL)


@of([operation for operation in ALL if operation.id not in OPEN])
def test_nobody_calls_without_a_credential(operation: Operation, nobody: httpx.Client, world: World) -> None:
    with unchanged(world):
        for authorization in ("", "Basic YTpi", "Bearer", "cs_sandbox_x"):
            problem(operation.send(nobody, MISSING, Authorization=authorization), 401, "unauthenticated")
        problem(operation.send(nobody, MISSING, Authorization="Bearer cs_sandbox_1"), 401, "invalid_key")
        problem(operation.send(nobody, MISSING, Authorization="Bearer a.b.c"), 401, "invalid_token")


def test_nobody_calls_with_a_session_that_is_over(world: World) -> None:
    """Whoever has signed out is told nothing that is not the same for everybody."""
    person = new_organisation(world, connected=False).owner
    world.rows("delete from auth.sessions where user_id = %s returning 1", person.user_id)
    with unchanged(world):
        answers = {each.id: each.send(person.api, MISSING) for each in ALL if each.id not in OPEN}
    assert {name for name, answer in answers.items() if answer.status_code < 400} == SAME_FOR_ALL
    assert {answer.status_code for answer in answers.values()} - {401} <= {200, 404, 422}


@of([operation for operation in ALL if operation.unsafe and operation.id not in WITHOUT_KEY])
def test_what_creates_or_executes_demands_an_idempotency_key(
    operation: Operation, shared: Organisation, own: dict[str, Any], world: World
) -> None:
    with unchanged(world):
        for client in (shared.owner.api, shared.agent()):
            answer = operation.send(client, MISSING, own, **{"Idempotency-Key": ""})
            problem(answer, 400, "idempotency_key_missing")


@of([operation for operation in ALL if set(operation.parameters) - SHARED_BY_ALL])
def test_what_belongs_to_another_tenant_is_not_there(
    operation: Operation, shared: Organisation, foreign: dict[str, str], own: dict[str, Any], world: World
) -> None:
    with unchanged(world), shared.agent() as agent:
        status = 422 if operation.id in SIGNED else 404
        theirs = problem(operation.send(shared.owner.api, foreign, own), status)
        made_up = problem(operation.send(shared.owner.api, MISSING, own), status)
        assert theirs["detail"] == made_up["detail"]  # nobody can tell another's id from none
        problem(operation.send(agent, foreign, own), (403, status))


@of([operation for operation in ALL if "run_id" in (operation.body or {})])
def test_another_tenants_run_takes_no_proposal(
    operation: Operation, shared: Organisation, foreign: dict[str, str], own: dict[str, Any], world: World
) -> None:
    wanted = own | {"run_id": foreign["run_id"], "tool": "sandbox_crm.notes.create"}
    wanted["args"] = {"contact_id": "con_ada", "body": "x"}
    with unchanged(world), shared.agent() as agent:
        problem(operation.send(agent, MISSING, wanted), 404, "not_found")


@of([operation for operation in ALL if operation.body is not None])
def test_a_body_of_another_shape_is_refused(
    operation: Operation, shared: Organisation, own: dict[str, Any], world: World
) -> None:
    path = operation.path.format_map(MISSING)
    with unchanged(world):
        for wrong in ([], [operation.body], "text", 5, None, True, operation.body | {"unheard_of": 1}):
            headers = once() | {"If-Match": "*"}
            answer = shared.owner.api.request(operation.method, path, json=wrong, headers=headers)
            problem(answer, 422, "invalid_request")


@pytest.mark.parametrize("path", sorted({operation.path for operation in ALL}))
def test_another_method_is_refused(path: str, shared: Organisation, world: World) -> None:
    known = {operation.method for operation in ALL if operation.path == path}
    with unchanged(world):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - known:
            answer = shared.owner.api.request(method, path.format_map(MISSING), headers=once())
            problem(answer, 405, "method_not_allowed")
            assert known <= set(answer.headers["allow"].replace(" ", "").split(","))


@of([operation for operation in ALL if not operation.unsafe and operation.parameters == ()])
def test_a_list_shows_nothing_of_another_tenant(
    operation: Operation, shared: Organisation, foreign: dict[str, str], world: World
) -> None:
    with unchanged(world), shared.agent() as agent:
        for client in (shared.owner.api, agent):
            answer = operation.send(client, MISSING)
            # 422: what answers a question, and was asked none. 503: here not every scheduled function runs.
            assert answer.status_code in ((200, 503) if operation.id in OPEN else (200, 403, 422))
            told = {name: value for name, value in foreign.items() if name not in ("version", "number", "seq")}
            assert [name for name, value in told.items() if value in answer.text] == []
