"""Chat completions as OpenAI and compatible servers speak them, not streamed, with function tools."""

from contextlib import suppress
from typing import Any

from api.gate.reasoner_spec import ModelReasoner
from api.runs.reasoners.conversation import SYSTEM, Conversation
from api.runs.reasoners.reply import MalformedError, Reply, ToolUse, a, count, parse

PATH = "/chat/completions"


def headers(key: str) -> dict[str, str]:
    """How a request says whose it is."""
    return {"authorization": f"Bearer {key}"}


def request(spec: ModelReasoner, conversation: Conversation) -> dict[str, Any]:
    """The body of a request: every answer has to use a tool."""
    return {
        "model": spec.model,
        "max_completion_tokens": spec.max_tokens,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": conversation.user},
            *conversation.exchanges,
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
            }
            for tool in conversation.tools.values()
        ],
        "tool_choice": "required",
    }


def read(document: Any) -> Reply:
    """The answer to a request: its first choice. Raises MalformedError."""
    choices = a(list, a(dict, document, "The answer").get("choices"), "choices")
    if not choices:
        raise MalformedError("The answer has no choice.")
    choice = a(dict, choices[0], "A choice")
    message = a(dict, choice.get("message"), "message")
    uses = [_use(call) for call in a(list, message.get("tool_calls") or [], "tool_calls")]
    reason, text = choice.get("finish_reason"), message.get("content") or ""
    refused = reason == "content_filter" or bool(message.get("refusal"))
    usage = document.get("usage") if isinstance(document.get("usage"), dict) else {}
    echo: dict[str, Any] = {"role": "assistant", "content": message.get("content")}
    if uses:
        echo["tool_calls"] = message["tool_calls"]
    return Reply(
        stop="refused" if refused else "truncated" if reason == "length" else "done",
        uses=uses,
        text=a(str, text, "content"),
        echo=echo,
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
    )


def _use(call: Any) -> ToolUse:
    function = a(dict, a(dict, call, "A tool call").get("function"), "function")
    arguments, given = a(str, function.get("arguments"), "arguments"), None
    with suppress(ValueError, RecursionError):  # the model is told
        given = parse(arguments)
    return ToolUse(
        a(str, call.get("id"), "id"),
        a(str, function.get("name"), "name"),
        given if isinstance(given, dict) else None,
    )


def correction(reply: Reply, complaints: dict[str, str], general: str) -> list[dict[str, Any]]:
    """The answer, and what is wrong with it: by the id of each use, and in general."""
    said = [{"role": "tool", "tool_call_id": use.id, "content": complaints.get(use.id, general)} for use in reply.uses]
    echo = reply.echo if reply.uses or reply.echo["content"] else reply.echo | {"content": "(nothing)"}
    return [echo, *(said or [{"role": "user", "content": general}])]
