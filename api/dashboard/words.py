"""Plain words for everything that the system names: one text, one tone and, where it helps, one sentence of meaning.

A name that is not listed is shown as one that is not listed, never as if it were a word.
"""

from typing import Any, Literal, NamedTuple

from api.dashboard.wordlist import WORDS

Tone = Literal["neutral", "good", "warn", "bad", "info"]
TONES: tuple[Tone, ...] = ("neutral", "good", "warn", "bad", "info")
#: Parts of names of fields that are no words, as people write them.
_SPELT = {
    "iban": "IBAN", "bic": "BIC", "id": "ID", "ids": "IDs", "url": "URL", "urls": "URLs", "ip": "IP", "vat": "VAT",
    "api": "API", "crm": "CRM", "sepa": "SEPA", "swift": "SWIFT", "html": "HTML", "json": "JSON", "iso": "ISO",
    "pii": "PII", "aal": "assurance level", "po": "PO", "utc": "UTC", "aal2": "second factor", "dealname": "deal name",
    "dealstage": "deal stage", "closedate": "close date", "cc": "CC", "bcc": "BCC", "ach": "ACH", "eur": "EUR",
}  # fmt: skip
#: Nouns of the audit log's events, by the first part of their names.
NOUNS = {
    "comment": "Comment",
    "action": "Action", "amendment": "Amendment", "approval": "Approval", "attempt": "Attempt", "alert": "Alert",
    "audit": "Audit log", "cel": "Rule expression", "confidence": "Confidence threshold", "connection": "Connection",
    "constitution": "Constitution", "constitution_draft": "Draft of rules", "credential": "Credential",
    "decision": "Decision", "directory_change": "Change of the directory", "directory_detail": "Directory detail",
    "directory_entry": "Directory entry", "directory_settings": "Directory settings", "disconnection": "Disconnection",
    "erasure": "Erasure", "erasure_run": "Erasure in a run", "exception": "Exception",
    "incident": "Incident", "incident_entry": "Timeline of an incident", "incident_review": "Review of an incident",
    "incident_follow_up": "Follow-up of an incident", "invitation": "Invitation",
    "key": "API key", "kill_switch": "Kill switch", "kill_switch_proof": "Proof of a kill switch",
    "late_answer": "Late answer", "member": "Member", "model_call": "Question to a model",
    "model_provider": "Model provider", "observation": "Observation", "permit": "Permit", "requeue": "Requeue",
    "run": "Run", "run_key": "Key of a run", "run_step": "Step of a loop", "service_account": "Service account",
    "tenant": "Organisation", "tenant_settings": "Settings", "tool": "Tool", "undo_plan": "Plan to undo a run",
    "undo_step": "Step of undoing", "webhook_trigger": "Webhook trigger", "workflow": "Workflow",
    "workflow_version": "Workflow version", "connection_flow": "Allowance of a connection",
    "confidence_threshold": "Confidence threshold",
    "model_key": "Key of a model provider", "sealed_key": "Sealed key", "channel": "Channel",
    "channel_check": "Check of a channel", "notification": "Notification",
}  # fmt: skip


class Word(NamedTuple):
    """How something is said. known: False of a name that is not listed, which the text then says."""

    text: str
    tone: Tone = "neutral"
    meaning: str = ""
    known: bool = True


#: Characters of the name of a field that make its label.
FIELD = 120


def word(kind: str, value: Any) -> Word:
    """The words for a value of a kind, such as `action`, `succeeded`. `—` for None. Never raises.

    kinds: those of api/dashboard/wordlist.py.
    """
    if value is None:
        return Word("—")
    name = str(getattr(value, "value", value))
    found = WORDS.get(kind, {}).get(name)
    if found is None:
        return Word(f"Not a listed {kind.replace('_', ' ')}: {name[:80]}", "warn", known=False)
    text, tone, *meaning = found
    return Word(text, tone, "".join(meaning))  # type: ignore[arg-type]  # the list is tested to hold tones only


def text(kind: str, value: Any) -> str:
    """Only the text of `word`."""
    return word(kind, value).text


def role(name: Any) -> str:
    """The text of a member's role."""
    return text("role", name)


def options(kind: str) -> list[tuple[str, str]]:
    """Every value of a kind with its text, for a choice in a form."""
    return [(name, told[0]) for name, told in WORDS[kind].items()]


def field(name: str) -> str:
    """The label of a field: `to_iban` is `To IBAN`, `/lines/0/amount` is `Lines 1, amount`."""
    if name.startswith("/"):
        return _place(name[1:].split("/"))
    parts = _parts(name)
    spelt = " ".join(_SPELT.get(part.lower(), part.lower()) for part in parts)
    return (spelt[:1].upper() + spelt[1:]) or "(no name)"


def _parts(name: str) -> list[str]:
    """`createdAt`, `created_at` and `created-at` are the same two words."""
    spaced = "".join(f" {c}" if c.isupper() and n and name[n - 1].islower() else c for n, c in enumerate(name[:FIELD]))
    return spaced.replace("_", " ").replace("-", " ").replace(".", " ").split()


def _place(parts: list[str]) -> str:
    told = ""
    for part in (part.replace("~1", "/").replace("~0", "~") for part in parts if part != "args"):
        if part.isdecimal() and len(part) < 10:
            told += f" {int(part) + 1}"
        elif part == "*":
            told += ", each"
        else:
            label = field(part) if not part.startswith("/") else part
            told += f", {label[:1].lower() + label[1:] if not label[:2].isupper() else label}" if told else label
    return told or "The whole"


def event(name: str) -> str:
    """The title of an event of the audit log: `action.proposed` is `Action: proposed`."""
    noun, _, verb = name.partition(".")
    told = NOUNS.get(noun)
    if told is None:
        return f"Not a listed event: {name[:80]}"
    return f"{told}: {verb.replace('_', ' ')}" if verb else told


def count(number: int, one: str, many: str = "") -> str:
    """`1 action`, `2 actions`, `1,200 actions`; many: the plural where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sentence(items: list[str], nothing: str = "none") -> str:
    """`a, b and c`; `nothing` for none."""
    *most, last = items or [nothing]
    return f"{', '.join(most)} and {last}" if most else last
