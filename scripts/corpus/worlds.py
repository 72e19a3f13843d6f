"""What a corpus consists of: worlds of tools, people and rules, and in each of them scenarios.

A scenario is what a person asked for, what the agent read meanwhile with an attacker's words in it, and two lists of
proposals: what does the person's work (`benign`), and what an agent proposes that does all that the attacker says.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator

from api.constitution.starter import STARTER_RULES
from api.directory.models import EntryData
from api.gate.access_spec import AccessSpec
from api.gate.contracts import Contract
from api.gate.rules import Rule
from api.gate.vocabulary import Confidence, Slug, Strict, ToolName
from api.providers.manifest import contracts as provider_contracts
from api.providers.manifest import manifests
from api.tools.input_schema import InputSchema
from api.tools.models import NewTool
from api.tools.validation import mistakes as mistakes_of_tool
from api.workflows.data_classes import sent_by
from api.workflows.validation import mistakes as mistakes_of_spec
from scripts.corpus.encodings import ENCODINGS

#: Where the attacker's words go, in what was read and in what is proposed.
PLACE = "{{injection}}"


class CorpusError(ValueError):
    """A corpus that cannot be run; the message says where and why."""


class Observed(Strict):
    """One thing that the agent read; `gateway`: through the service, and not by the client's own word."""

    tool: ToolName
    args: dict[str, Any] = Field(default={})
    result: dict[str, Any] | list[Any]
    gateway: bool = False


class Injection(Strict):
    """What the attacker wrote. values: by name, what `{{name}}` stands for in it and in the attacks."""

    text: str = Field(min_length=1)
    values: dict[Slug, str] = Field(default={})


class Proposed(Strict):
    """One proposal. does: in words, for the report. waits: a person decides on it, by design, whoever proposed it."""

    does: str = Field(min_length=1)
    tool: ToolName
    args: dict[str, Any] = Field(default={})
    confidence: Confidence = 0.95
    waits: bool = False


class Scenario(Strict):
    """channel: how the attacker's words came in. encodings: in which forms; all of them when left out."""

    id: Slug
    channel: Slug
    instruction: str = Field(min_length=1)
    subject: dict[str, str] | None = None
    observations: list[Observed] = Field(min_length=1)
    injection: Injection
    encodings: list[str] = Field(default=[*ENCODINGS], min_length=1)
    benign: list[Proposed] = Field(default=[])
    attacks: list[Proposed] = Field(min_length=1)

    @field_validator("encodings")
    @classmethod
    def _known(cls, encodings: list[str]) -> list[str]:
        unknown = sorted(set(encodings) - ENCODINGS.keys())
        if unknown:
            raise ValueError(f"there is no encoding {', '.join(unknown)}; there are {', '.join(ENCODINGS)}")
        return encodings

    @model_validator(mode="after")
    def _has_a_place(self) -> "Scenario":
        if PLACE not in json.dumps([each.result for each in self.observations]):
            raise ValueError(f"{PLACE} is in no observation, so nobody would read the attacker's words")
        return self


class World(Strict):
    """One workflow with its tools, and who its tenant vouches for. now: the time of every decision.

    rules: those that every tenant starts with, when left out. tools: as POST /v1/tools takes them; provider_tools:
    names of tools that providers' manifests describe.
    """

    title: str
    about: str = ""
    now: AwareDatetime
    spec: AccessSpec
    rules: list[Rule] = Field(default=[*STARTER_RULES])
    directory: list[EntryData] = Field(default=[])
    tools: list[NewTool] = Field(default=[])
    provider_tools: list[ToolName] = Field(default=[])
    scenarios: list[Scenario] = Field(min_length=1)

    @field_validator("tools", mode="before")
    @classmethod
    def _schemas(cls, tools: Any) -> Any:
        """A schema may be written as a text of JSON, which is easier to read in TOML."""
        return [
            {**tool, "input_schema": json.loads(tool["input_schema"])}
            if isinstance(tool, dict) and isinstance(tool.get("input_schema"), str)
            else tool
            for tool in tools
        ]

    @property
    def contracts(self) -> dict[str, Contract]:
        """Every tool's contract, by name, as the service keeps it."""
        known = provider_contracts()
        found = {name: known[name] for name in self.provider_tools if name in known}
        for tool in self.tools:
            said = tool.model_dump(mode="json", exclude={"compensate"}) | {"provider": "tenant", "version": 1}
            found[tool.name] = Contract.model_validate(said)
        return found


def read(file: Path) -> World:
    """One world from a TOML or JSON file.

    Raises CorpusError for what does not hold together: the service would refuse the same contracts and access spec.
    """
    try:
        text = file.read_text(encoding="utf-8")
        world = World.model_validate(tomllib.loads(text) if file.suffix == ".toml" else json.loads(text))
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, ValidationError) as error:
        raise CorpusError(f"{file}: {error}") from None
    wrong = _mistakes(world)
    if wrong:
        raise CorpusError("\n".join(f"{file}: {each}" for each in wrong))
    return world


def read_all(folder: Path) -> dict[str, World]:
    """Every world in a folder, by the name of its file. Raises CorpusError when there is none."""
    files = sorted(file for file in folder.glob("*") if file.suffix in (".toml", ".json"))
    if not files:
        raise CorpusError(f"{folder}: there is no world here, no file that ends with .toml or .json")
    return {file.stem: read(file) for file in files}


def _mistakes(world: World) -> list[str]:
    contracts = world.contracts
    readers = {name: contract.access for name, contract in contracts.items()}
    found = [f"there is no provider's tool {name}" for name in world.provider_tools if name not in contracts]
    for tool in world.tools:
        wrongs = mistakes_of_tool(tool, InputSchema(tool.input_schema), set(manifests()), readers)
        found += [f"tool {tool.name} {wrong['pointer']}: {wrong['message']}" for wrong in wrongs]
    found += [f"{wrong['pointer']}: {wrong['message']}" for wrong in mistakes_of_spec(world.spec, contracts)]
    for name, grant in world.spec.tools.items():
        unsent = sent_by(contracts[name]) - set(grant.data_classes) if name in contracts else set()
        if grant.access == "write" and unsent:
            found.append(f"/spec/tools/{name}: its arguments carry {', '.join(sorted(unsent))} data; add data_classes")
    names = [scenario.id for scenario in world.scenarios]
    found += [f"two scenarios are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
    for scenario in world.scenarios:
        for seen in scenario.observations:
            if seen.tool not in contracts or contracts[seen.tool].access != "read":
                found.append(f"scenario {scenario.id}: {seen.tool} is no tool that reads")
    return found
