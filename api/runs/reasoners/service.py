"""Asks the reasoner that a workflow declares: rules, or a model within its budget."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg

from api.auth import Principal
from api.connections.vault import SealError, unseal
from api.db import Row, database
from api.errors import from_database
from api.gate.reasoner_spec import ModelReasoner, ReasonerSpec, RulesReasoner
from api.ids import new_id
from api.model_providers import service as model_providers
from api.runs.reasoners import rules
from api.runs.reasoners.conversation import SYSTEM_VERSION, Conversation, begin
from api.runs.reasoners.judging import Judged, judge
from api.runs.reasoners.reasoner import Ask, ErrorKind, ModelCall, ReasonerError, Seal, Thought
from api.runs.reasoners.scrub import Scrubbed
from api.runs.reasoners.sending import INTERFACES, Ended, send

#: A token stands for at least one byte of what is sent; providers add some of their own for the use of tools.
_OVERHEAD = 2000
#: Bytes of a prompt: more than any model takes, and less than what a call is kept in has room for.
_LONGEST_PROMPT = 3_000_000
#: Seconds for writing down how a call ended, while the database is away.
_INSIST = 20.0
_STOPPED = frozenset({"kill_switch_engaged", "run_completed"})


def longest(spec: ReasonerSpec) -> float:
    """Seconds that `think` takes at most, for whoever holds a lease meanwhile."""
    return 10.0 if isinstance(spec, RulesReasoner) else spec.max_tries * (spec.timeout_seconds + _INSIST) + 10.0


async def think(principal: Principal, spec: ReasonerSpec, ask: Ask, seal: Seal | None = None) -> Thought:
    """What the workflow's reasoner suggests; nothing of it is trusted, and the gate decides it like any proposal.

    principal: the system, inside the run's tenant. seal: seals what a model was told and answered, to be kept.
    Every call of a model is written down, also when this raises. Raises ReasonerError.
    """
    if isinstance(spec, RulesReasoner):
        return rules.think(spec, ask)
    return await _Thinking(principal, spec, ask, seal).think()


@dataclass(slots=True)
class _Thinking:
    """One ask of a model, over as many calls as it takes."""

    principal: Principal
    spec: ModelReasoner
    ask: Ask
    seal: Seal | None
    calls: list[ModelCall] = field(default_factory=list)

    async def think(self) -> Thought:
        if not self.ask.rules:
            raise self._failure("not_configured", "The constitution has no rule to cite, so nothing can be proposed.")
        if not self.ask.tools:
            return Thought([], "The workflow is granted no tool that writes.")
        conversation = begin(self.ask)
        wrong = ""
        for attempt in range(1, self.spec.max_tries + 1):
            ended, judged = await self._call(conversation, attempt)
            if ended.kind is not None:
                raise self._failure(ended.kind, ended.error or "", ended.pause)
            if judged is not None and judged.valid:
                notes = [note for note in judged.notes if note]
                if conversation.cut:
                    notes.append(f"Not shown to the model: {conversation.cut}.")
                return Thought(list(judged.suggestions.values()), "\n".join(notes), self.calls)
            wrong = str(judged) if judged is not None else ended.error or ""
            if judged is not None and ended.reply is not None:
                said = INTERFACES[self.spec.kind].correction(ended.reply, judged.complaints, _again(judged))
                conversation.exchanges += Scrubbed().texts(said)
        tries = self.spec.max_tries
        raise self._failure(
            "invalid_output", f"The model gave no valid answer in {tries} tries; the last was wrong: {wrong}"
        )

    async def _call(self, conversation: Conversation, attempt: int) -> tuple[Ended, Judged | None]:
        """One call: reserved, made, written down."""
        body = json.dumps(INTERFACES[self.spec.kind].request(self.spec, conversation), ensure_ascii=False)
        sent = body.encode(errors="replace")
        if len(sent) > _LONGEST_PROMPT:
            said = f"What was read makes a prompt of {len(sent):,} bytes, which no model takes; read less of it."
            raise self._failure("not_configured", said)
        call_id, bound = new_id(), len(sent) + _OVERHEAD
        reserved = await self._reserve(call_id, sent, attempt, bound)
        ended, judged = await self._made(reserved, sent), None
        if ended.reply is not None and ended.outcome == "suggested":
            judged = judge(ended.reply, conversation.tools, self.ask)
            if not judged.valid:
                ended = Ended("invalid", str(judged), ended.reply, ended.text)
        await self._settle(call_id, reserved, ended, attempt, bound, body)
        return ended, judged

    async def _reserve(self, call_id: UUID, sent: bytes, attempt: int, bound: int) -> Row:
        args = {
            "id": call_id,
            "run_id": self.ask.run_id,
            "kind": self.spec.kind,
            "provider": self.spec.provider,
            "model": self.spec.model,
            "attempt": attempt,
            "prompt_digest": _digest(sent),
            "system_version": SYSTEM_VERSION,
            "input_bound": bound,
            "output_bound": self.spec.max_tokens,
        }
        try:
            reserved: Row = (await database().call(self.principal, "begin_model_call_v1", args)).result
        except psycopg.Error as error:
            problem = from_database(error)
            if problem.status_code == 503:
                raise self._failure("unavailable", "The database did not answer; nothing was asked.", 5) from None
            kind: ErrorKind = (
                "budget" if problem.code == "budget" else "stopped" if problem.code in _STOPPED else "not_configured"
            )
            raise self._failure(kind, str(problem.detail)) from None
        return reserved

    async def _made(self, reserved: Row, sent: bytes) -> Ended:
        bound_to = model_providers.key_context(
            reserved["tenant_id"], reserved["provider_id"], reserved["environment"], reserved["generation"]
        )
        try:
            key = str(unseal(reserved["envelope"], bound_to)["api_key"])
        except (SealError, KeyError):
            said = "The provider's key does not open under this deployment's keys; give the provider a new one."
            return Ended("rejected", said, free=True, kind="not_configured")
        return await send(self.spec, reserved["base_url"], key, sent)

    async def _settle(self, call_id: UUID, reserved: Row, ended: Ended, attempt: int, bound: int, body: str) -> None:
        """Writes the call down. What a provider does not count, or counts beyond what is possible, costs all of it."""
        tokens_in, tokens_out = (0, 0) if ended.free else (bound, self.spec.max_tokens)
        if ended.reply is not None:
            tokens_in = _counted(ended.reply.input_tokens, bound)
            tokens_out = _counted(ended.reply.output_tokens, self.spec.max_tokens)
        response_digest = _digest(ended.text.encode(errors="replace")) if ended.text is not None else None
        args: dict[str, Any] = {
            "id": call_id,
            "outcome": ended.outcome,
            "error": ended.error[:1000] if ended.error else None,
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "response_digest": response_digest,
            "sealed": self._sealed(call_id, reserved, body, ended.text),
        }
        settled = (await database().insist(self.principal, "settle_model_call_v1", args, _INSIST)).result
        self.calls.append(
            ModelCall(
                id=call_id,
                provider=self.spec.provider,
                kind=self.spec.kind,
                model=self.spec.model,
                attempt=attempt,
                input_tokens=tokens_in,
                output_tokens=tokens_out,
                cost=settled["cost"],
                currency=settled["currency"],
                prompt_digest=_digest(body.encode(errors="replace")),
                response_digest=response_digest,
                prompt=body,
                response=ended.text,
                outcome=ended.outcome,
                error=ended.error,
                system_version=SYSTEM_VERSION,
            )
        )

    def _sealed(self, call_id: UUID, reserved: Row, body: str, text: str | None) -> Any:
        if self.seal is None:
            return None
        bound_to = f"{reserved['tenant_id']}|{self.ask.run_id}|model_call/{call_id}".encode()
        return json.loads(self.seal({"prompt": body, "response": text}, bound_to))

    def _failure(self, kind: ErrorKind, message: str, pause: float | None = None) -> ReasonerError:
        retry_at = None if pause is None else datetime.now(UTC) + timedelta(seconds=pause)
        return ReasonerError(kind, message, retry_at, self.calls)


def _again(judged: Judged) -> str:
    """What the model is told of an answer as a whole."""
    return (
        judged.general or "Nothing of this answer was taken, because another part of it is wrong. Answer it all again."
    )


def _counted(said: int | None, bound: int) -> int:
    return said if said is not None and said <= bound else bound


def _digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"
