"""The directory as the API shows it."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from api.gate import normalise
from api.gate.models import LINE, PROSE, Environment, Remark, Strict, Title

Kind = Literal["vendor", "customer", "employee", "bank", "other"]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000), PROSE]
State = Literal["trusted", "cooling_off", "unknown"]
ChangeStatus = Literal["open", "approved", "rejected", "withdrawn", "expired"]


class BankAccount(Strict):
    """An IBAN; or a routing and an account number (United States); or an account number at a bank named by its code."""

    type: Literal["bank_account"]
    iban: Annotated[str, Field(max_length=60), AfterValidator(normalise.iban)] | None = None
    routing_number: Annotated[str, Field(max_length=20), AfterValidator(normalise.routing_number)] | None = None
    bank_code: Annotated[str, Field(max_length=35, pattern=r"^[0-9A-Z]+$")] | None = None
    account_number: Annotated[str, Field(max_length=60), AfterValidator(normalise.number)] | None = None
    bic: Annotated[str, Field(max_length=20), AfterValidator(normalise.bic)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    holder: Title | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "BankAccount":
        ways = [bool(self.iban), bool(self.routing_number), bool(self.bank_code)]
        if sum(ways) != 1 or bool(self.iban) == bool(self.account_number):
            raise ValueError("give an iban; or a routing_number or a bank_code, with an account_number")
        return self

    @property
    def key(self) -> str:
        if self.iban:
            return f"iban:{self.iban}"
        if self.routing_number:
            return f"us:{self.routing_number}/{self.account_number}"
        return f"other:{self.bank_code}/{self.account_number}"

    @property
    def skeleton(self) -> str | None:
        return None


class EmailAddress(Strict):
    type: Literal["email"]
    email: Annotated[str, Field(max_length=320), AfterValidator(normalise.email)]

    @property
    def key(self) -> str:
        return self.email

    @property
    def skeleton(self) -> str | None:
        return normalise.looks_of_domain(self.email.rpartition("@")[2])


class Domain(Strict):
    type: Literal["domain"]
    domain: Annotated[str, Field(max_length=253), AfterValidator(normalise.domain)]

    @property
    def key(self) -> str:
        return self.domain

    @property
    def skeleton(self) -> str | None:
        return normalise.looks_of_domain(self.domain)


class Phone(Strict):
    type: Literal["phone"]
    phone: Annotated[str, Field(max_length=40), AfterValidator(normalise.phone)]

    @property
    def key(self) -> str:
        return self.phone

    @property
    def skeleton(self) -> str | None:
        return None


class PostalAddress(Strict):
    type: Literal["address"]
    address: Annotated[str, Field(min_length=1, max_length=500), PROSE]

    @property
    def key(self) -> str:
        return normalise.words(self.address)[:500]

    @property
    def skeleton(self) -> str | None:
        return None


class ExternalId(Strict):
    """What another system calls it: a CRM's company, an accounting system's contact, a VAT number."""

    type: Literal["external_id"]
    system: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,60}$")]
    id: Title

    @property
    def key(self) -> str:
        return f"{self.system}/{self.id}"

    @property
    def skeleton(self) -> str | None:
        return None


Detail = Annotated[
    BankAccount | EmailAddress | Domain | Phone | PostalAddress | ExternalId, Field(discriminator="type")
]


class EntryData(Strict):
    """All of an entry: what is not named here any more is removed."""

    kind: Kind
    name: Title
    details: list[Detail] = Field(default_factory=list, max_length=100)

    @model_validator(mode="after")
    def _each_once(self) -> "EntryData":
        named = [(detail.type, detail.key) for detail in self.details]
        if len(named) != len(set(named)):
            raise ValueError("a detail is named twice")
        if not normalise.words(self.name):
            raise ValueError("a name has letters")
        return self


class Evidence(Strict):
    """What the maker went by: whom they called back, which document they hold."""

    kind: Literal["call_back", "document", "contract", "message", "visit", "other"]
    reference: Annotated[str, Field(min_length=1, max_length=500), LINE]


class NewChange(Strict):
    """`create` an entry in an environment, `change` or `remove` the `version` of one that was seen, or the `settings`.

    `entry` is the whole entry as it is to be, with `create` and `change`. `cooling_off_hours` goes with `settings`.
    """

    kind: Literal["create", "change", "remove", "settings"]
    environment: Environment | None = None
    entry_id: UUID | None = None
    version: int | None = Field(default=None, ge=0)
    entry: EntryData | None = None
    cooling_off_hours: int | None = Field(default=None, ge=0, le=720)
    reason: Reason
    evidence: list[Evidence] = Field(default_factory=list, max_length=20)
    expires_in_hours: int = Field(default=168, ge=1, le=720)

    @model_validator(mode="after")
    def _fits(self) -> "NewChange":
        given = {
            name
            for name in ("environment", "entry_id", "version", "entry", "cooling_off_hours")
            if getattr(self, name) is not None
        }
        needed = {
            "create": {"environment", "entry"},
            "change": {"entry_id", "version", "entry"},
            "remove": {"entry_id", "version"},
            "settings": {"version", "cooling_off_hours"},
        }[self.kind]
        if given != needed:
            raise ValueError(f"{self.kind} takes {', '.join(sorted(needed))}")
        return self


class Checked(Strict):
    """A checker's word on the change whose digest they saw."""

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    reason: Remark = ""


class Refused(Strict):
    """As `Checked`; whoever refuses says why."""

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    reason: Reason


class Withdrawal(Strict):
    reason: Remark = ""


class Change(BaseModel):
    """`proposal` is what the digest covers, and all that an approval does.

    Names of who proposed and decided are in what is read; an answer to a write has ids alone.
    """

    id: UUID
    environment: Environment | None
    kind: Literal["create", "change", "remove", "settings"]
    entry_id: UUID | None
    base_version: int
    status: ChangeStatus
    digest: str
    proposal: dict[str, Any]
    reason: str
    evidence: list[dict[str, Any]]
    proposed_by: dict[str, Any]
    decided_by: UUID | None
    decided_by_name: str | None = None
    decided_at: datetime | None
    decision_reason: str | None
    expires_at: datetime
    created_at: datetime


class ChangeDetail(Change):
    """With what the entry is now, and what a checker should look at twice."""

    before: dict[str, Any] | None
    warnings: list["LookTwice"]


class Entry(BaseModel):
    """`version` counts approved changes; name it to change the entry.

    cooling_off_until: when the last of its details is trusted; null when all are. open_change: what waits for a second
    person.
    """

    id: UUID
    environment: Environment
    kind: Kind
    name: str
    status: Literal["active", "removed"]
    version: int
    made_by: dict[str, Any]
    checked_by: UUID
    created_at: datetime
    updated_at: datetime
    cooling_off_until: datetime | None
    open_change: UUID | None


class EntryDetail(Entry):
    """`details` with their states as of now; `history` holds every approved change, newest first."""

    details: list[dict[str, Any]]
    history: list[Change]


class Settings(BaseModel):
    """`version` 0 is the default of 72 hours; name it to change them. `cooling_off_hours` is what is in force.

    lowered_to, lowered_from_at: a shorter period that was approved, and when it takes effect: when the one in force has
    gone by since its approval. A longer one does at once.
    """

    version: int
    cooling_off_hours: int
    lowered_to: int | None
    lowered_from_at: datetime | None
    change_id: UUID | None


class Known(BaseModel):
    """An entry that was found, and since when what it was found by is trusted."""

    id: UUID
    name: str
    kind: Kind
    state: State
    trusted_from: datetime


class Finding(BaseModel):
    """What the tenant vouches for of one thing that was asked."""

    by: Literal["account", "email", "domain", "name"]
    value: str
    state: State
    trusted_from: datetime | None
    entries: list[Known]


class LookTwice(BaseModel):
    """What looks like something known and is not, or does not belong together."""

    kind: Literal["similar_name", "similar_domain", "other_account", "different_entries"]
    message: str
    entry_id: UUID


class Match(BaseModel):
    """`state` is that of the one entry which everything asked belongs to: `unknown` when there is none."""

    environment: Environment
    state: State
    trusted_from: datetime | None
    findings: list[Finding]
    warnings: list[LookTwice]
