"""What a directory says of a counterparty, given what was found of it. Pure: rows in, a match out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from api.directory.models import Finding, Known, LookTwice, Match, State
from api.gate import normalise
from api.gate.models import Environment

Row = dict[str, Any]
By = Literal["account", "email", "domain", "name"]


def account_key(text: str) -> str:
    """The key of an account: an IBAN, `routing/account` of the United States, or `other:bank code/account`."""
    if text.startswith("other:"):
        code, _, number = text.removeprefix("other:").partition("/")
        return f"other:{code.strip().upper()}/{normalise.number(number)}"
    routing, slash, number = text.removeprefix("us:").partition("/")
    if slash:
        return f"us:{normalise.routing_number(routing)}/{normalise.number(number)}"
    return f"iban:{normalise.iban(text)}"


@dataclass(frozen=True)
class Asked:
    """What is asked of a counterparty, each as (by, key); of an e-mail address its domain counts too."""

    environment: Environment
    keys: dict[By, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        environment: Environment,
        account: str | None = None,
        email: str | None = None,
        domain: str | None = None,
        name: str | None = None,
    ) -> "Asked":
        """Raises ValueError for what cannot be compared."""
        ways: list[tuple[By, str | None, Any]] = [
            ("account", account, account_key),
            ("email", email, normalise.email),
            ("domain", domain, normalise.domain),
            ("name", name, normalise.words),
        ]
        return cls(environment, {by: key(text) for by, text, key in ways if text is not None})

    @property
    def domains(self) -> list[str]:
        email = self.keys.get("email")
        found = [self.keys.get("domain"), email.rpartition("@")[2] if email else None]
        return [name for name in dict.fromkeys(found) if name]

    def parameters(self) -> Row:
        """Of match.sql."""
        types = {"account": "bank_account", "email": "email", "domain": "domain"}
        named = [(types[by], key) for by, key in self.keys.items() if by in types]
        named += [("domain", name) for name in self.domains]
        name = self.keys.get("name")
        return {
            "environment": self.environment,
            "types": [kind for kind, _ in named],
            "keys": [key for _, key in named],
            "name": name,
            "name_skeleton": normalise.looks(name) if name else None,
            "domain_skeletons": [normalise.looks_of_domain(domain) for domain in self.domains],
            "except": None,
        }


def match_of(asked: Asked, rows: Iterable[Row], now: datetime) -> Match:
    """The match: everything asked must belong to one entry for the counterparty to be known."""
    rows = list(rows)
    findings = [_finding(by, key, rows, now) for by, key in asked.keys.items()]
    common = set.intersection(*({entry.id for entry in finding.entries} for finding in findings)) if findings else set()
    since = [
        max(entry.trusted_from for finding in findings for entry in finding.entries if entry.id == known)
        for known in common
    ]
    trusted_from = min(since, default=None)
    return Match(
        environment=asked.environment,
        state=_state(trusted_from, now),
        trusted_from=trusted_from,
        findings=findings,
        warnings=[*_look_alikes(asked, rows), *_contradictions(findings, common)],
    )


def _state(trusted_from: datetime | None, now: datetime) -> State:
    if trusted_from is None:
        return "unknown"
    return "trusted" if trusted_from <= now else "cooling_off"


def _finding(by: By, key: str, rows: list[Row], now: datetime) -> Finding:
    wanted = {
        "account": {("bank_account", key)},
        "email": {("email", key), ("domain", key.rpartition("@")[2])},
        "domain": {("domain", key)},
        "name": {("name", key)},
    }[by]
    entries: dict[Any, Known] = {}
    for row in rows:
        if row["how"] == "same" and (row["type"], row["key"]) in wanted:
            state = _state(row["trusted_from"], now)
            known = Known(
                id=row["id"], name=row["name"], kind=row["kind"], state=state, trusted_from=row["trusted_from"]
            )
            before = entries.get(known.id)
            if before is None or known.trusted_from < before.trusted_from:
                entries[known.id] = known
    trusted_from = min((entry.trusted_from for entry in entries.values()), default=None)
    value = key.removeprefix("iban:")
    return Finding(
        by=by, value=value, state=_state(trusted_from, now), trusted_from=trusted_from, entries=list(entries.values())
    )


def _look_alikes(asked: Asked, rows: list[Row]) -> list[LookTwice]:
    """Names and domains that are not the one asked, and could be taken for it."""
    warnings: dict[Any, LookTwice] = {}
    name = asked.keys.get("name")
    name_skeleton = normalise.looks(name or "")
    skeletons = {domain: normalise.looks_of_domain(domain) for domain in asked.domains}
    for row in rows:
        if row["type"] == "name" and name and row["key"] != name and normalise.alike(name_skeleton, row["skeleton"]):
            told = f"The name is not that of {row['name']}, but looks like it."
            warnings["name", row["id"]] = LookTwice(kind="similar_name", message=told, entry_id=row["id"])
        known = row["key"].rpartition("@")[2]
        for domain, skeleton in skeletons.items():
            if row["type"] in ("domain", "email") and known != domain and normalise.alike(skeleton, row["skeleton"]):
                told = f"{domain} is not {known}, which belongs to {row['name']}, but looks like it."
                warnings[domain, known, row["id"]] = LookTwice(kind="similar_domain", message=told, entry_id=row["id"])
    return list(warnings.values())


def _contradictions(findings: list[Finding], common: set[Any]) -> list[LookTwice]:
    """A known name with an account that is not its own, and other things that do not belong together."""
    if common or len(findings) < 2:
        return []
    by = {finding.by: finding for finding in findings}
    account = by.get("account")
    others = [entry for finding in findings if finding.by != "account" for entry in finding.entries]
    if account is not None and others:
        return [
            LookTwice(
                kind="other_account",
                message=f"{entry.name} is known, but not with this account.",
                entry_id=entry.id,
            )
            for entry in {entry.id: entry for entry in others}.values()
        ]
    found = {entry.id: entry for finding in findings for entry in finding.entries}
    if sum(bool(finding.entries) for finding in findings) < 2:
        return []
    told = "What was asked belongs to different entries: {} is one of them."
    return [LookTwice(kind="different_entries", message=told.format(e.name), entry_id=e.id) for e in found.values()]
