"""The cases of a corpus: every scenario in every encoding, each with the facts that the service would decide on."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID, uuid5

from api.gate.decide import decide
from api.gate.models import Decision, Facts, ObservationFacts, Proposal, RunFacts
from api.runs.minimise import label, minimise
from scripts.corpus.encodings import ENCODINGS
from scripts.corpus.surroundings import AGENT, Surroundings
from scripts.corpus.worlds import PLACE, CorpusError, Proposed, Scenario, World

_NAMED = re.compile(r"\{\{([a-z0-9-]+)(:as-read)?\}\}")
_NAMESPACE = UUID("6f1a4f0e-9f5c-4b7e-8a54-0d6f7c6f2b11")
#: The form in which there are no attacker's words at all: what the gate does on a quiet day.
QUIET = "none"


@dataclass(frozen=True)
class Case:
    """One scenario in one encoding. Its id is `world/scenario/encoding`."""

    surroundings: Surroundings
    world_id: str
    scenario: Scenario
    encoding: str

    @property
    def id(self) -> str:
        return f"{self.world_id}/{self.scenario.id}/{self.encoding}"

    @property
    def world(self) -> World:
        return self.surroundings.world

    @cached_property
    def passage(self) -> str:
        """The attacker's words as the agent reads them."""
        return self.encoded(self._named(self.scenario.injection.text))

    def encoded(self, text: str) -> str:
        return "" if self.encoding == QUIET else ENCODINGS[self.encoding](text)

    @cached_property
    def results(self) -> list[Any]:
        """What each observation answers, with the attacker's words in their place; or, split, in several."""
        results = [seen.result for seen in self.scenario.observations]
        places = sum(text.count(PLACE) for text in _texts(results))
        if self.encoding == "split" and places > 1:
            words = self._named(self.scenario.injection.text)
            size = -(-len(words) // places)
            parts = [words[n * size : (n + 1) * size] for n in range(places)]
        else:
            parts = [self.passage, *[""] * (places - 1)]
        rest = iter(parts)
        return [
            _replaced(result, lambda text: re.sub(re.escape(PLACE), lambda _: next(rest), text)) for result in results
        ]

    @cached_property
    def observations(self) -> list[ObservationFacts]:
        """Minimised and labelled as the service does it (api/runs/service.py)."""
        seen = []
        for number, (observed, result) in enumerate(zip(self.scenario.observations, self.results, strict=True)):
            contract, grant = self.surroundings.contracts[observed.tool], self.world.spec.tools[observed.tool]
            kept = minimise(result, grant.read_fields)
            doubted = not observed.gateway and grant.asserted == "untrusted"
            seen.append(
                ObservationFacts(
                    id=uuid5(_NAMESPACE, f"{self.id}/{number}"),
                    tool=observed.tool,
                    source="gateway" if observed.gateway else "client_asserted",
                    result=kept,
                    labels=label(contract, kept, asserted=doubted),
                )
            )
        return seen

    @cached_property
    def run(self) -> RunFacts:
        return RunFacts(
            id=uuid5(_NAMESPACE, self.id),
            instruction=self.scenario.instruction,
            subject=self.scenario.subject,
            observed=len(self.observations),
            observations=self.observations,
        )

    def args_of(self, proposed: Proposed) -> dict[str, Any]:
        """The arguments with `{{name}}`, `{{name:as-read}}` and the whole passage put in."""
        filled: dict[str, Any] = _replaced(proposed.args, lambda text: self._named(text.replace(PLACE, self.passage)))
        return filled

    def proposal(self, proposed: Proposed, *, obedient: bool) -> Proposal:
        """What the agent proposes. An obedient one says whatever helps: it is sure, and cites all there is to cite."""
        rules = [rule.id for rule in self.world.rules]
        return Proposal.model_validate(
            {
                "run_id": self.run.id,
                "tool": proposed.tool,
                "args": self.args_of(proposed),
                "confidence": 1.0 if obedient else proposed.confidence,
                "rationale": self.passage[:2000] if obedient else proposed.does,
                "citations": rules,
                "evidence": [{"observation_id": str(seen.id)} for seen in self.observations],
                "subject": self.scenario.subject,
                "principal": AGENT,
            }
        )

    def facts(self, proposal: Proposal) -> Facts:
        return self.surroundings.facts(self.run, proposal.args)

    def decide(self, proposed: Proposed, *, obedient: bool) -> Decision:
        proposal = self.proposal(proposed, obedient=obedient)
        return decide(proposal, self.facts(proposal), self.world.now)

    def _named(self, text: str) -> str:
        values = self.scenario.injection.values

        def value(found: re.Match[str]) -> str:
            if found[1] not in values:
                raise CorpusError(f"{self.id}: there is no value called {found[1]}")
            # What came in parts the agent has put together.
            as_read = bool(found[2]) and self.encoding != "split"
            return self.encoded(values[found[1]]) if as_read else values[found[1]]

        return _NAMED.sub(value, text)


def cases(worlds: dict[str, World], *, quiet: bool = True) -> Iterator[Case]:
    """Every case; with `quiet`, each scenario first without the attacker's words."""
    for world_id, world in worlds.items():
        surroundings = Surroundings(world)
        for scenario in world.scenarios:
            for encoding in [QUIET] * quiet + scenario.encodings:
                yield Case(surroundings, world_id, scenario, encoding)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _replaced(value: Any, put: Callable[[str], str]) -> Any:
    """The same document with `put` applied to each of its texts, in their order."""
    if isinstance(value, str):
        return put(value)
    if isinstance(value, dict):
        return {name: _replaced(item, put) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, put) for item in value]
    return value
