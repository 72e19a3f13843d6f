"""Chat completions as OpenAI speaks them, as far as tools need it: `POST /v1/chat/completions`, not streamed."""

import json
import re
from typing import Any

from sandbox.models.policy import Call, tokens

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CODES = {
    400: ("invalid_request_error", None), 401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"), 413: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"), 500: ("server_error", None), 503: ("server_error", None),
}  # fmt: skip
OVERLOADED = 503


def key_of(headers: Any) -> str:
    """The key that a request came with."""
    return str(headers.get("authorization", "")).removeprefix("Bearer ")


def error(status: int, message: str, _: str) -> dict[str, Any]:
    """An error's body."""
    kind, code = CODES[status]
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def headers_of(request_id: str) -> dict[str, str]:
    """What every answer carries."""
    return {"x-request-id": request_id, "openai-version": "2020-10-01", "x-ratelimit-remaining-requests": "999"}


def mistake(_: Any, body: Any) -> str | None:
    """What is wrong with a request; None when nothing is."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return "you must provide a model parameter"
    most = body.get("max_completion_tokens", body.get("max_tokens", 1))
    if type(most) is not int or most < 1:
        return "Invalid 'max_completion_tokens': integer below minimum value."
    for number, tool in enumerate(body.get("tools") or []):
        function = tool.get("function", {}) if tool.get("type") == "function" else {}
        if not _TOOL_NAME.fullmatch(str(function.get("name", ""))):
            return f"Invalid 'tools[{number}].function.name': string does not match pattern."
        if function.get("parameters", {}).get("type") != "object":
            return f"Invalid schema for function '{function['name']}': schema must have type 'object'."
    if body.get("tool_choice", "auto") not in ("auto", "required", "none") and not isinstance(
        body["tool_choice"], dict
    ):
        return "Invalid value for 'tool_choice'."
    return _of_messages(body.get("messages"))


def _of_messages(messages: Any) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "Missing required parameter: 'messages'."
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        role = message.get("role")
        if role not in ("system", "developer", "user", "assistant", "tool"):
            return f"Invalid value for 'messages[{number}].role'."
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                return "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            return "An assistant message with 'tool_calls' must be followed by tool messages responding to each."
        if message.get("content") is None and not message.get("tool_calls"):
            return f"Invalid value for 'content': expected a string, got null (messages[{number}])."
        open_calls = {call["id"] for call in message.get("tool_calls") or []}
    return None


def told(body: dict[str, Any]) -> str:
    """What the first message of the user says."""
    return next((str(message["content"]) for message in body["messages"] if message["role"] == "user"), "")


def schemas(body: dict[str, Any]) -> dict[str, Any]:
    """The schemas of the offered tools by name."""
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in body.get("tools") or []}


def answer(body: dict[str, Any], number: int, calls: list[Call], text: str, stop: str) -> dict[str, Any]:
    """A completion. stop: `done`, `truncated` or `refused`."""
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number:08d}{index:04d}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.input)},
            }
            for index, call in enumerate(calls)
        ]
    reason = {"truncated": "length", "refused": "content_filter"}.get(stop, "tool_calls" if calls else "stop")
    sent, given = tokens(json.dumps(body)), tokens(json.dumps(message))
    return {
        "id": f"chatcmpl-{number:012d}",
        "object": "chat.completion",
        "created": 1_764_288_000,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": {"prompt_tokens": sent, "completion_tokens": given, "total_tokens": sent + given},
    }


def counts(completion: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """The usage of an answer, and the names of what it counts in and out."""
    return completion["usage"], "prompt_tokens", "completion_tokens"
