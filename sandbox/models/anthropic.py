"""The Messages API as Anthropic speaks it, as far as tools need it: `POST /v1/messages`, not streamed."""

import json
import re
from typing import Any

from sandbox.models.policy import Call, tokens

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ERRORS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error",
}  # fmt: skip
OVERLOADED = 529


def key_of(headers: Any) -> str:
    """The key that a request came with."""
    return str(headers.get("x-api-key", ""))


def error(status: int, message: str, request_id: str) -> dict[str, Any]:
    """An error's body."""
    return {"type": "error", "error": {"type": ERRORS[status], "message": message}, "request_id": request_id}


def headers_of(request_id: str) -> dict[str, str]:
    """What every answer carries."""
    return {"request-id": request_id, "anthropic-ratelimit-requests-remaining": "999"}


def mistake(headers: Any, body: Any) -> str | None:
    """What is wrong with a request; None when nothing is."""
    if not headers.get("anthropic-version"):
        return "anthropic-version: header is required"
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return "model: Field required"
    if type(body.get("max_tokens")) is not int or body["max_tokens"] < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    if not isinstance(body.get("system", ""), str | list):
        return "system: Input should be a valid string"
    tools = body.get("tools", [])
    for number, tool in enumerate(tools if isinstance(tools, list) else [None]):
        if not isinstance(tool, dict) or not _TOOL_NAME.fullmatch(str(tool.get("name"))):
            return f"tools.{number}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        if not isinstance(tool.get("input_schema"), dict) or tool["input_schema"].get("type") != "object":
            return f"tools.{number}.custom.input_schema.type: Input should be 'object'"
    if body.get("tool_choice", {}).get("type") not in (None, "auto", "any", "tool", "none"):
        return "tool_choice: Input tag does not match any of the expected tags"
    return _of_messages(body.get("messages"))


def _of_messages(messages: Any) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "messages: at least one message is required"
    asked: set[str] = set()
    for number, message in enumerate(messages):
        content = message.get("content")
        if message.get("role") != ("user" if number % 2 == 0 else "assistant"):
            return f"messages.{number}: roles must alternate between user and assistant"
        if not content:
            return f"messages.{number}: all messages must have non-empty content"
        blocks = content if isinstance(content, list) else []
        answered = {block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"}
        if message["role"] == "user" and answered != asked:
            return f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after"
        asked = {block["id"] for block in blocks if block.get("type") == "tool_use"}
    return None


def told(body: dict[str, Any]) -> str:
    """What the first message of the user says."""
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)


def schemas(body: dict[str, Any]) -> dict[str, Any]:
    """The schemas of the offered tools by name."""
    return {tool["name"]: tool["input_schema"] for tool in body.get("tools", [])}


def answer(body: dict[str, Any], number: int, calls: list[Call], text: str, stop: str) -> dict[str, Any]:
    """A message. stop: `done`, `truncated` or `refused`."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{number:08d}{index:04d}", "name": call.name, "input": call.input}
        for index, call in enumerate(calls)
    ]
    reason = {"truncated": "max_tokens", "refused": "refusal"}.get(stop, "tool_use" if calls else "end_turn")
    return {
        "id": f"msg_{number:012d}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens(json.dumps(body)),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": tokens(json.dumps(content)),
        },
    }


def counts(message: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """The usage of an answer, and the names of what it counts in and out."""
    return message["usage"], "input_tokens", "output_tokens"
