"""What the API is sent and cannot use: a problem document that says why, and nothing has changed."""

import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sandbox.organisation import Organisation, once
from tests.http.integrator import NOTE, PAY, Agent, access_spec, at_work, decide, note, payment
from tests.http.problems import problem, unchanged
from tests.http.world import World


def send(agent: Agent, body: bytes | str, **headers: str) -> httpx.Response:
    """Proposes with these exact bytes."""
    content = body.encode() if isinstance(body, str) else body
    return agent.api.post(
        "/v1/actions", content=content, headers={"Content-Type": "application/json"} | once() | headers
    )


def propose(agent: Agent, tool: str, args: Any, **changes: Any) -> httpx.Response:
    return agent.api.post("/v1/actions", json=agent.proposal(tool, args, **changes), headers=once())


def test_an_unknown_tool(agent: Agent, world: World) -> None:
    with unchanged(world):
        document = problem(propose(agent, "sandbox_bank.vault.empty", {}), 422, "contract_violation")
        assert document["errors"][0]["pointer"] == "/tool"
        body = {"tool": "sandbox_bank.vault.empty", "args": {}}
        path = f"/v1/runs/{agent.run_id}/observations"
        problem(agent.api.post(path, json=body, headers=once()), 404, "unknown_tool")
        problem(agent.api.get("/v1/tools/sandbox_bank.vault.empty"), 404, "not_found")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"amount": "12.50"}, "/args/amount"),
        ({"amount": -1}, "/args/amount"),
        ({"amount": 0}, "/args/amount"),
        ({"amount": 12.5}, "/args/amount"),
        ({"amount": 10**12}, "/args/amount"),
        ({"currency": "euro"}, "/args/currency"),
        ({"to_iban": "DE94 0001"}, "/args/to_iban"),
        ({"to_name": ""}, "/args/to_name"),
        ({"reference": "x" * 141}, "/args/reference"),
        ({"bcc": "me@example.test"}, "/args"),
        ({"amount": None}, "/args/amount"),
        ({"amount": [1]}, "/args/amount"),
    ],
)
def test_arguments_that_violate_the_contract(agent: Agent, world: World, changes: dict[str, Any], pointer: str) -> None:
    with unchanged(world):
        document = problem(propose(agent, PAY, payment() | changes), 422, "contract_violation")
        assert [error["pointer"] for error in document["errors"]] == [pointer]


def test_arguments_that_are_missing(agent: Agent, world: World) -> None:
    with unchanged(world):
        document = problem(propose(agent, PAY, {}), 422, "contract_violation")
        assert len(document["errors"]) == 6
        problem(propose(agent, "sandbox_bank.bills.list", {}), 422, "contract_violation")


@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": 1.01},
        {"confidence": -0.1},
        {"confidence": "high"},
        {"args": []},
        {"args": None},
        {"run_id": "1"},
        {"workflow": "../other"},
        {"workflow": "A" * 64},
        {"tool": ""},
        {"citations": ["x"] * 51},
        {"citations": "look-before-paying"},
        {"evidence": [{"observation_id": "1"}]},
        {"evidence": [{"observation_id": "018f0000-0000-7000-8000-000000000000", "trust": "trusted"}]},
        {"rationale": "x" * 20_001},
        {"status": "authorized"},
        {"decision": {"outcome": "allow"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_proposal_of_another_shape(agent: Agent, world: World, changes: dict[str, Any]) -> None:
    body = agent.proposal(NOTE, note()) | changes
    with unchanged(world):
        document = problem(agent.api.post("/v1/actions", json=body, headers=once()), 422, "invalid_request")
        assert document["errors"][0]["pointer"].startswith(f"/body/{next(iter(changes))}")


def test_a_rule_of_ours_is_told_in_its_own_words(agent: Agent, shared: Organisation, world: World) -> None:
    """Without what the library that reads bodies puts before them, wherever the rule stands in the body."""
    id_, digest = str(uuid.UUID(int=0)), "sha256:" + "0" * 64
    verdict = {"verdict": "reject", "digest": digest}
    broken = [{"id": "x", "title": "X", "principle": "X.", "applies_to": ["a.b"], "when": "true", "effect": "allow"}]
    owner = shared.owner.api
    with unchanged(world):
        for api, path, body in (
            (owner, f"/v1/exceptions/{id_}/decision", verdict),
            (owner, "/v1/constitution/backtest", {"rules": [], "version": 1}),
            (owner, "/v1/constitution/drafts", {"rules": broken}),
            (owner, "/v1/risk/score", {"effect": "write", "value": 1}),
            (agent.api, "/v1/runs", {"workflow": "pay-vendor-bills"}),
        ):
            errors = problem(api.post(path, json=body, headers=once()), 422)["errors"]
            assert errors, path
            for error in errors:
                assert "error," not in error["message"], (path, error)
                assert error["message"][0].isupper(), (path, error)


def test_what_was_sent_is_not_sent_back(agent: Agent) -> None:
    body = agent.proposal(NOTE, note()) | {"confidence": "a-secret-of-mine"}
    answer = agent.api.post("/v1/actions", json=body, headers=once())
    assert answer.status_code == 422
    assert "a-secret-of-mine" not in answer.text


def test_a_thousand_mistakes_are_answered_with_a_few(agent: Agent, world: World) -> None:
    body = agent.proposal(NOTE, note()) | {f"{'k' * 400}{n}": n for n in range(1000)}
    with unchanged(world):
        answer = agent.api.post("/v1/actions", json=body, headers=once())
        problem(answer, 422, "invalid_request")
        assert len(answer.content) < 50_000


def test_evidence_of_another_run(agent: Agent, world: World) -> None:
    first = agent.run_id
    seen = agent.observe()["id"]
    agent.start()
    with unchanged(world):
        answer = propose(agent, PAY, payment(), evidence=[{"observation_id": seen}])
        problem(answer, 422, "unknown_evidence")
    assert agent.run_id != first


def test_an_unknown_workflow_or_run(agent: Agent, world: World) -> None:
    with unchanged(world):
        body = {"workflow": "no-such", "instruction": "x"}
        problem(agent.api.post("/v1/runs", json=body, headers=once()), 404, "not_found")
        stray = Agent(agent.api, "pay-vendor-bills", "018f0000-0000-7000-8000-000000000000")
        problem(propose(stray, NOTE, note()), 404, "not_found")
        problem(propose(Agent(agent.api, "no-such", agent.run_id), NOTE, note()), 404, "not_found")


def test_a_run_of_another_workflow(fresh: Organisation, world: World) -> None:
    fresh.go_live("other-work", "Other work", access_spec(fresh))
    with at_work(fresh) as bills, at_work(fresh, "other-work") as other:
        other.propose(NOTE, note(), confidence=0.1)  # the other workflow's facts are known at this epoch
        body = Agent(bills.api, "other-work", bills.run_id).proposal(NOTE, note())
        with unchanged(world):
            for path in ("/v1/actions", "/v1/gate/evaluate"):
                problem(bills.api.post(path, json=body, headers=once()), 422, "run_of_another_workflow")


HUGE = 5_000_000


def test_a_body_of_five_megabytes(agent: Agent, world: World) -> None:
    body = json.dumps(agent.proposal(NOTE, note("x" * HUGE)))
    with unchanged(world):
        problem(send(agent, body), 413, "body_too_large")


def test_a_body_of_five_megabytes_that_does_not_say_so(agent: Agent, world: World) -> None:
    body = json.dumps(agent.proposal(NOTE, note("x" * HUGE))).encode()

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(body), 65536):
            yield body[at : at + 65536]

    with unchanged(world):
        headers = {"Content-Type": "application/json"} | once()
        problem(agent.api.post("/v1/actions", content=chunks(), headers=headers), 413, "body_too_large")


def test_a_body_that_ends_early(agent: Agent, world: World, shared: Organisation) -> None:
    """A client that promises more than it sends has proposed nothing."""
    address = urlsplit(world.api)
    assert address.hostname
    head = (
        f"POST /v1/actions HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {shared.key}\r\n"
        f"Idempotency-Key: cut\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    )
    with unchanged(world):
        with socket.create_connection((address.hostname, address.port or 80), timeout=30) as connection:
            connection.sendall(head.encode() + json.dumps(agent.proposal(NOTE, note())).encode())
        assert agent.api.get("/v1/health").status_code == 200


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("levels", [33, 1_000, 100_000, 400_000])
def test_a_document_that_is_nested_too_deep(agent: Agent, world: World, levels: int) -> None:
    body = json.dumps(agent.proposal(NOTE, {"body": "@"})).replace('"@"', nested(levels))
    with unchanged(world):
        problem(send(agent, body), 400, "invalid_json")
        problem(send(agent, nested(levels)), 400, "invalid_json")
        problem(send(agent, '{"a":' * levels + "1" + "}" * levels), (400, 413), "invalid_json", "body_too_large")


@pytest.mark.parametrize(
    "value",
    [
        rb'"\u0000"', b'"\x00"', rb'"\ud800"', rb'"\udc00\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b'"\xc0\x80"',
        b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9007199254740992", b"-9007199254740992",
        b"1" * 5000, b"0x10", b"01", b"+1", b"'x'", b"undefined", b"1,", b"/**/1", b'"a" "b"', b"",
        rb'{"\ud800": 1}', rb'{"\u0000": 1}', b'{"a": 1, "a": 2}',
    ],
)  # fmt: skip
def test_json_that_two_readers_could_read_differently(agent: Agent, world: World, value: bytes) -> None:
    body = json.dumps(agent.proposal(NOTE, {"contact_id": "con_ada", "body": "@"})).encode()
    with unchanged(world):
        problem(send(agent, body.replace(b'"@"', value)), 400, "invalid_json")


@pytest.mark.parametrize("body", [b"", b" ", b"\xef\xbb\xbf{}", b"{", b"\x80\x81", b"{}{}", b"\x00", b"nul"])
def test_what_is_no_json_at_all(agent: Agent, world: World, body: bytes) -> None:
    with unchanged(world):
        problem(send(agent, body), (400, 422), "invalid_json", "invalid_request")


def test_the_same_key_twice_says_one_thing_to_us_and_another_to_others(agent: Agent, world: World) -> None:
    good = json.dumps(agent.proposal(PAY, payment(100)))
    with unchanged(world):
        problem(send(agent, good.replace('"amount": 100', '"amount": 100, "amount": 999999')), 400, "invalid_json")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_a_body_of_another_type(agent: Agent, world: World, kind: str) -> None:
    body = json.dumps(agent.proposal(NOTE, note())).encode()
    with unchanged(world):
        request = agent.api.build_request("POST", "/v1/actions", content=body, headers=once())
        if kind:
            request.headers["Content-Type"] = kind
        problem(agent.api.send(request), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("key", "code"),
    [("", "idempotency_key_missing"), ("x" * 256, "invalid_request"), ("é", "idempotency_key_invalid")],
)
def test_an_idempotency_key_that_is_none(agent: Agent, world: World, key: str, code: str) -> None:
    body = agent.proposal(NOTE, note())
    with unchanged(world):
        headers = [(b"Idempotency-Key", key.encode())]
        problem(agent.api.post("/v1/actions", json=body, headers=headers), (400, 422), code)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/actions?status=%00", "/v1/audit/events?type=%00", "/v1/audit/events?subject_id=%00",
        "/v1/workflows/%00/versions", "/v1/workflows/%00/access-spec", "/v1/tools/%00",
    ],
)  # fmt: skip
def test_a_nul_in_an_address(shared: Organisation, world: World, path: str) -> None:
    with unchanged(world):
        problem(shared.owner.api.get(path), (404, 422))


def test_a_nul_in_the_address_of_a_change(shared: Organisation, world: World) -> None:
    with unchanged(world):
        api = shared.owner.api
        problem(api.post("/v1/workflows/%00/versions/1/submit", headers=once()), (404, 422))
        body: dict[str, Any] = {"spec": access_spec(shared)}
        problem(api.post("/v1/workflows/%00/versions", json=body, headers=once()), (404, 422))
        body = {"scope": "workflow", "target": "pay\\u0000", "reason": "x"}
        problem(api.post("/v1/kill-switches", json=body, headers=once()), (404, 422))


@pytest.mark.parametrize("header", [b"Idempotency-Key: a\x00b", b"X-Tenant-Id: \x00", b"Authorization: Bearer a\x00b"])
def test_a_nul_in_a_header_never_gets_in(world: World, header: bytes) -> None:
    """The HTTP server itself refuses it, before there is a request to answer with a document."""
    address = urlsplit(world.api)
    assert address.hostname
    with unchanged(world), socket.create_connection((address.hostname, address.port or 80), timeout=30) as connection:
        connection.sendall(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + header + b"\r\n\r\n{}")
        assert connection.recv(64).split(b"\r\n")[0] == b"HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=many", "limit=-1", "limit=1e3", "status=asleep", "cursor=%00",
        "cursor=bm8", "cursor=W10=", "cursor=NQ==", "cursor=e30=", "cursor=eyIwIjogMX0=", "cursor=WzEsIDJd",
        "cursor=WyIyMDI2LTAxLTAxIiwgMV0=", "cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiJd", "cursor=" + "A" * 401,
    ],
)  # fmt: skip
def test_a_page_that_does_not_exist(shared: Organisation, world: World, query: str) -> None:
    with unchanged(world):
        problem(shared.owner.api.get(f"/v1/exceptions?{query}"), (400, 422), "invalid_cursor", "invalid_request")


@pytest.mark.parametrize(
    "cursor", ["NQ==", "e30=", "W3RydWVd", "WyIxIl0=", "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OV0=", "Wy0xXQ==", "W10="]
)
def test_a_page_of_the_audit_log_that_does_not_exist(shared: Organisation, world: World, cursor: str) -> None:
    with unchanged(world):
        problem(shared.owner.api.get(f"/v1/audit/events?cursor={cursor}"), 400, "invalid_cursor")


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/nothing", "/v2/actions", "/v1/actions/x/y", "/admin", "/v1/../etc", "/%00"]
)
def test_an_unknown_path(shared: Organisation, world: World, path: str) -> None:
    with unchanged(world):
        problem(shared.owner.api.get(path), 404, "not_found")


def test_an_exception_is_named_by_an_id(shared: Organisation, world: World) -> None:
    """Anything else there names a list or nothing: `count`, `classes`, `decisions`."""
    with unchanged(world):
        problem(shared.owner.api.get("/v1/exceptions/null"), 404, "not_found")


@pytest.mark.parametrize("path", ["/v1/actions/1", "/v1/runs/%27", "/v1/connections/" + "9" * 400])
def test_an_id_that_is_none(shared: Organisation, world: World, path: str) -> None:
    with unchanged(world):
        problem(shared.owner.api.get(path), 422, "invalid_request")


@pytest.mark.parametrize("version", ["0", "-1", "x", "99999999999999999999", "2147483648", "1.5"])
def test_a_version_that_is_none(shared: Organisation, world: World, version: str) -> None:
    with unchanged(world):
        path = f"/v1/workflows/pay-vendor-bills/versions/{version}/submit"
        problem(shared.owner.api.post(path, headers=once()), (404, 422))
        problem(shared.owner.api.get(f"/v1/workflows/pay-vendor-bills/access-spec?version={version}"), (404, 422))


def test_a_stale_digest_and_a_verdict_that_does_not_fit(agent: Agent, shared: Organisation, world: World) -> None:
    action = agent.propose(PAY, payment())
    with unchanged(world):
        problem(decide(shared.approver, action, digest=f"sha256:{'0' * 64}"), 409, "digest_mismatch")
        problem(decide(shared.approver, action, digest=action["digest"].upper()), 422, "invalid_request")
        problem(decide(shared.approver, action, "reject", reason=""), 422, "invalid_request")
        problem(decide(shared.approver, action, "edit"), 422, "invalid_request")
        problem(decide(shared.approver, action, "approve", args=payment()), 422, "invalid_request")
        problem(decide(shared.approver, action, "wave-through"), 422, "invalid_request")
        problem(decide(shared.approver, action, "edit", args=payment(-1)), 422, "contract_violation")


def test_a_scheduled_function_answers_its_scheduler_only(world: World, shared: Organisation) -> None:
    with unchanged(world), world.client() as client:
        for authorization in ("", "Bearer", "Bearer wrong", f"Bearer {shared.key}", f"Basic {world.stack.cron_secret}"):
            headers = {"Authorization": authorization}
            problem(client.get("/cron/execute_actions", headers=headers), 401, "unauthenticated")
        headers = {"Authorization": f"Bearer {world.stack.cron_secret}"}
        for name in ("nothing", "__init__", "..%2fapi", "%00"):
            problem(client.get(f"/cron/{name}", headers=headers), 404, "not_found")
