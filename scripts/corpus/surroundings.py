"""What a world's decisions rest on beside its runs: contracts, access spec, rules, and a directory held in memory."""

from datetime import timedelta
from functools import cached_property
from typing import Any
from uuid import UUID, uuid5

from api.directory.service import answers_of, questions_of
from api.gate import normalise
from api.gate.arguments import canonical
from api.gate.contracts import Contract
from api.gate.lookups import keys_of
from api.gate.models import DirectoryAnswer, Facts, Proposer, RunFacts
from scripts.corpus.worlds import World

_WORKFLOW, _TENANT = UUID(int=1), UUID(int=2)
AGENT = Proposer(kind="service", id=UUID(int=3))
#: Since when the directory trusts whom it knows, counted back from the time of the decisions.
_TRUSTED_FOR = timedelta(days=90)

Row = dict[str, Any]


class Surroundings:
    """One world, ready to decide in."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.contracts: dict[str, Contract] = world.contracts
        self._entries = [self._entry(number) for number in range(len(world.directory))]
        self._told: dict[str, DirectoryAnswer | None] = {}

    @cached_property
    def _facts(self) -> Facts:
        world = self.world
        connections = {
            connection: {"provider": provider, "access": access, "environment": "sandbox", "status": "active"}
            for provider, binding in world.spec.connections.items()
            for access, connection in (("read", binding.read), ("write", binding.write))
            if connection is not None
        }
        return Facts.model_validate(
            {
                "epoch": 1,
                "tenant_id": _TENANT,
                "workflow": {
                    "id": _WORKFLOW,
                    "slug": "corpus",
                    "environment": "sandbox",
                    "version": 1,
                    "spec": world.spec,
                },
                "contracts": {name: self.contracts[name] for name in world.spec.tools},
                "known_tools": {name: {"version": c.version, "effect": c.effect} for name, c in self.contracts.items()},
                "connections": connections,
                "kill_switches": [],
                "constitution": {"version": 1, "rules": world.rules},
            }
        )

    def facts(self, run: RunFacts, args: Row) -> Facts:
        """The facts of one proposal in a run, as api/workflows/facts.py brings them together."""
        asked = keys_of(canonical(args))
        unknown = [key for key in asked if key not in self._told]
        if unknown:
            found = answers_of(self._answers(questions_of(unknown)))
            self._told |= {key: found.get(key) for key in unknown}
        told = {key: answer for key in asked if (answer := self._told[key]) is not None}
        return self._facts.model_copy(update={"run": run, "directory": told})

    def _entry(self, number: int) -> Row:
        data = self.world.directory[number]
        name = data.name.strip()
        known = {
            "id": str(uuid5(_TENANT, f"{number}/{name}")),
            "name": name,
            "kind": data.kind,
            "trusted_from": (self.world.now - _TRUSTED_FOR).isoformat(),
        }
        keys = {("name", normalise.words(name))} | {(detail.type, detail.key) for detail in data.details}
        names = [(normalise.words(name), normalise.looks(name))]
        domains = [(d.key.rpartition("@")[2], d.skeleton) for d in data.details if d.type in ("domain", "email")]
        return {"known": known, "keys": keys, "near": {"name": names, "domain": domains}}

    def _answers(self, questions: list[Row]) -> Row:
        """As private.directory_answers answers them."""
        told = {}
        for question in questions:
            key = (question["type"], question["value"])
            same = [entry["known"] for entry in self._entries if key in entry["keys"]]
            near = [
                {"name": entry["known"]["name"], "value": value, "skeleton": skeleton}
                for entry in self._entries
                for value, skeleton in entry["near"].get(question["type"], [])
                if "skeleton" in question and value != question["value"]
            ]
            if same or near:
                told[question["key"]] = {"entries": same, "near": near}
        return told
