"""The words of the gate: names, effects, outcomes, and the texts that people write and others decide by."""

import re
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from api.gate.arguments import canonical

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+){1,3}$", max_length=120)]
Pointer = Annotated[str, StringConstraints(pattern=r"^(/([^~/]|~[01])*)*$", max_length=200)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
#: Names of tools, where `*` stands for any characters and `?` for one. What could never name a tool is refused: a rule
#: that silently applies to nothing protects nobody.
ToolPattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.*?]+$", max_length=120)]
#: An object of JSON, as it is read back from its stored form; see arguments.canonical.
Arguments = Annotated[dict[str, Any], AfterValidator(canonical)]
#: A class of data as a contract labels the parts of an answer with; what it leaves unlabelled is `internal`. Published
#: contracts and the database say `personal`; `pii` is taken for the same word, here and nowhere else (ADR 16).
DataClass = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z_]{0,39}$"),
    AfterValidator(lambda name: "personal" if name == "pii" else name),
]
#: What can be shown as a token instead of its value; `personal`: short fields that a contract labels so, as names.
Pseudonym = Literal["iban", "card", "account", "email", "phone", "national_id", "ip", "personal"]
PSEUDONYMS: frozenset[Pseudonym] = frozenset(get_args(Pseudonym))
Days = Annotated[int, Field(ge=1, le=3650)]
Role = Literal["owner", "admin", "approver", "operator", "developer", "auditor"]
Environment = Literal["sandbox", "production"]
Access = Literal["read", "write"]
Effect = Literal[
    "read", "write", "outbound_message", "mass_outbound", "money_movement", "pricing", "destructive", "bulk",
    "legal", "employment", "regulated", "permission_change", "credential_change",
]  # fmt: skip

#: Effects that always wait for a human (control 9); private.is_hard_gate in the database is the same list.
HARD_GATES: frozenset[str] = frozenset(
    {
        "destructive", "bulk", "money_movement", "pricing", "legal", "employment", "regulated",
        "permission_change", "credential_change", "mass_outbound",
    }
)  # fmt: skip


#: What nobody sees and what changes what everybody sees: control characters, and those that turn the direction of text.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def unseen(text: str, *, lines: bool) -> str | None:
    """Why a text is not what its reader takes it for, or None; with `lines` it may have several."""
    found = _UNSEEN.search(text.replace("\n", "") if lines else text)
    if found is None:
        return None
    return f"it holds a control character or one that turns the direction of text (U+{ord(found[0]):04X}); leave it out"


def _plain(text: str, *, lines: bool) -> str:
    if why := unseen(text, lines=lines):
        raise ValueError(why)
    return text


#: What people write in one line, and in several, and others read and decide by.
LINE, PROSE = AfterValidator(partial(_plain, lines=False)), AfterValidator(partial(_plain, lines=True))
Title = Annotated[str, StringConstraints(min_length=1, max_length=200), LINE]
Name = Annotated[str, StringConstraints(max_length=200), LINE]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000), PROSE]
Remark = Annotated[str, StringConstraints(max_length=2000), PROSE]


def _number(value: Any) -> Any:
    """Refuses what Python takes for a number and JSON does not; a negative zero is a zero."""
    if isinstance(value, bool | str | bytes):
        raise ValueError("not a number")
    return value + 0.0 if isinstance(value, float) else value


#: What an agent says of its own certainty, 0 to 1. `true` is no number: as one, it would be all of it.
Confidence = Annotated[float, Field(ge=0, le=1), BeforeValidator(_number)]


def cut(length: int) -> BeforeValidator:
    """Cuts a text that quotes too much of a proposal."""
    return BeforeValidator(lambda text: f"{text[: length - 1]}…" if text and len(text) > length else text)


class Strict(BaseModel):
    """Frozen, and refuses members that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lenient(BaseModel):
    """Frozen, and passes over members that a later version added."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Outcome(StrEnum):
    """A verdict; the most severe of all findings wins."""

    ALLOW = "allow"
    ESCALATE = "escalate"
    DENY = "deny"

    @property
    def severity(self) -> int:
        return ("allow", "escalate", "deny").index(self.value)
