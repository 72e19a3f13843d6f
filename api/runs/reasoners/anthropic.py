"""The Messages API of Anthropic, not streamed, with tool use (API version 2023-06-01)."""

from typing import Any

from api.gate.reasoner_spec import ModelReasoner
from api.runs.reasoners.conversation import SYSTEM, Conversation
from api.runs.reasoners.reply import Reply, ToolUse, a, count

PATH = "/messages"


def headers(key: str) -> dict[str, str]:
    """How a request says whose it is."""
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


def request(spec: ModelReasoner, conversation: Conversation) -> dict[str, Any]:
    """The body of a request: every answer has to use a tool."""
    return {
        "model": spec.model,
        "max_tokens": spec.max_tokens,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": conversation.user}, *conversation.exchanges],
        "tools": [
            {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
            for tool in conversation.tools.values()
        ],
        "tool_choice": {"type": "any"},
    }


def read(document: Any) -> Reply:
    """The answer to a request. Raises MalformedError."""
    message = a(dict, document, "The answer")
    content = a(list, message.get("content"), "content")
    uses, said = [], []
    for block in content:
        kind = a(dict, block, "A block of content").get("type")
        if kind == "tool_use":
            given = a(dict, block.get("input"), "input")
            uses.append(
                ToolUse(
                    a(str, block.get("id"), "id"),
                    a(str, block.get("name"), "name"),
                    given,
                )
            )
        elif kind == "text":
            said.append(a(str, block.get("text"), "text"))
    reason = message.get("stop_reason")
    usage = message.get("usage") if isinstance(message.get("usage"), dict) else {}
    counted = [count(usage.get("input_tokens"))]
    counted += [count(usage.get(f"cache_{what}_input_tokens") or 0) for what in ("creation", "read")]
    known = [tokens for tokens in counted if tokens is not None]
    return Reply(
        stop="truncated"
        if reason in ("max_tokens", "model_context_window_exceeded")
        else "refused"
        if reason == "refusal"
        else "done",
        uses=uses,
        text="\n".join(said),
        echo={"role": "assistant", "content": content},
        input_tokens=sum(known) if len(known) == len(counted) else None,
        output_tokens=count(usage.get("output_tokens")),
    )


def correction(reply: Reply, complaints: dict[str, str], general: str) -> list[dict[str, Any]]:
    """The answer, and what is wrong with it: by the id of each use, and in general."""
    said: list[dict[str, Any]] = [
        {"type": "tool_result", "tool_use_id": use.id, "is_error": True, "content": complaints.get(use.id, general)}
        for use in reply.uses
    ]
    if not said:
        said = [{"type": "text", "text": general}]
    # The interface takes no message without content.
    echo = reply.echo if reply.echo["content"] else {"role": "assistant", "content": "(nothing)"}
    return [echo, {"role": "user", "content": said}]
