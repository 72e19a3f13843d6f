"""What a decision rests on."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.gate.access_spec import AccessSpec
from api.gate.contracts import Contract
from api.gate.rules import Rule
from api.gate.vocabulary import Access, Effect, Environment, Lenient


class ConnectionFacts(Lenient):
    """A connection. What it was granted and until when is not in facts that were stored before it was asked for."""

    provider: str
    access: Access
    environment: Environment
    status: str
    consent_expires_at: datetime | None = None
    scopes_requested: list[str] | None = None
    scopes_granted: list[str] | None = None


class KillSwitchFacts(Lenient):
    """A switch that is engaged; stage: how far it is being released."""

    id: UUID
    scope: Literal["tenant", "workflow", "connection", "tool", "service_account"]
    target: str
    reason: str
    stage: Literal["engaged", "drafts", "one_at_a_time"] = Field(
        default="engaged", exclude_if=lambda value: value == "engaged"
    )


class WorkflowFacts(Lenient):
    id: UUID
    slug: str
    environment: Environment
    version: int
    spec: AccessSpec


class ConstitutionFacts(Lenient):
    version: int
    rules: list[Rule]


class KnownTool(Lenient):
    version: int
    effect: Effect


class ObservationFacts(Lenient):
    """What was read in the run. labels: trust and data class by pattern of pointer (api/runs/minimise.py)."""

    id: UUID
    tool: str
    source: Literal["gateway", "client_asserted"]
    result: Any = None
    labels: dict[str, dict[str, str]] = {}
    erased: bool = False


class RunFacts(Lenient):
    """The run: the words of whoever started it, which are trusted, and everything that was read in it so far.

    observed: how many observations there were; with it, what a decision rested on can be found again.
    """

    id: UUID
    instruction: str
    subject: dict[str, Any] | None = None
    observed: int = 0
    observations: list[ObservationFacts] = []


class KnownCounterparty(Lenient):
    id: UUID
    name: str
    kind: str
    trusted_from: datetime


class DirectoryAnswer(Lenient):
    """What the directory says of one key. alike: names and domains that it could be taken for, and that it is not."""

    entries: list[KnownCounterparty] = []
    alike: list[str] = []


class LimitState(Lenient):
    """What a limit has counted in its window, before this proposal: minor units and actions."""

    amount: int = 0
    count: int = 0


class Facts(Lenient):
    """Everything a decision rests on.

    The first part is that of one epoch of one tenant and one workflow, and held in memory. `run`, `directory` (by key,
    as api/gate/lookups.py makes it) and `limits` (by key, as api/gate/limits.py makes it) are of one proposal. A key
    that the directory was not asked for, or a run that is not given, grounds nothing. A limit without a state is
    confirmed when the decision is recorded.
    thresholds: confidence by tool, where calibration asks for more than the spec.
    """

    epoch: int
    tenant_id: UUID
    workflow: WorkflowFacts
    contracts: dict[str, Contract]
    known_tools: dict[str, KnownTool]
    connections: dict[UUID, ConnectionFacts]
    kill_switches: list[KillSwitchFacts]
    constitution: ConstitutionFacts
    thresholds: dict[str, float] = {}
    run: RunFacts | None = None
    directory: dict[str, DirectoryAnswer] = {}
    limits: dict[str, LimitState] = {}

    def effects_of(self, tool: str) -> set[str]:
        """What a tool does, by its contract and by the catalogue; the same, or both if they should ever differ."""
        return {known.effect for known in (self.contracts.get(tool), self.known_tools.get(tool)) if known}

    def connection_of(self, contract: Contract) -> UUID | None:
        """The connection through which the workflow uses a tool; none for one that the client uses itself."""
        if contract.execution.mode == "external":
            return None
        binding = self.workflow.spec.connections.get(contract.provider)
        return getattr(binding, contract.access) if binding else None
