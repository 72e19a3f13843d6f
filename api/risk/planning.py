"""What an automation in outline scores, by the gate's own table (api/gate/risk.py), and whether to build it so."""

from collections.abc import Iterator

from api.gate.models import HARD_GATES, Risk, RiskThresholds
from api.gate.outbound import EFFECTS as SENT
from api.gate.payees import EFFECTS as TO_A_PAYEE
from api.gate.risk import MITIGATIONS, Mitigation, Picture, percent_of, score
from api.risk.models import Autonomy, InPlace, Knobs, Lower, RiskScore, Verdict

#: From here on an outline is better not built: nothing has been seen of it yet that could speak for it.
DO_NOT_AUTOMATE = 60
_BANDS = {"none": 0, "quarter": 25, "half": 50, "three_quarters": 75, "ceiling": 100, "above": 101}
_FREER: dict[Autonomy, Autonomy] = {"autonomous": "supervised", "supervised": "shadow"}
_SEVERITY: tuple[Verdict, ...] = ("allow", "allow_with_approvals", "do_not_automate")


def plan(knobs: Knobs) -> RiskScore:
    """The score of an outline, the verdict on it with the reasons, and which single changes would lower either."""
    risk = _risk(knobs)
    verdict, reasons = _verdict(knobs, risk.score)
    return RiskScore(
        score=risk.score,
        factors=risk.factors,
        mitigations=risk.mitigations,
        verdict=verdict,
        reasons=reasons,
        would_lower=sorted(_lower(knobs, risk.score, verdict), key=lambda lower: (lower.score, lower.what)),
    )


def _risk(knobs: Knobs) -> Risk:
    percent = None if knobs.amount_band is None else _BANDS[knobs.amount_band]
    if knobs.value is not None and knobs.ceiling is not None:
        percent = percent_of(knobs.value, knobs.ceiling)
    return score(
        Picture(
            effects=frozenset({knobs.effect}),
            reversible=knobs.reversible,
            classes=frozenset({knobs.data_sensitivity}),
            stage=knobs.autonomy,
            percent=percent,
            mitigations=frozenset(_in_place(knobs)),
        )
    )


def _in_place(knobs: Knobs) -> Iterator[Mitigation]:
    for name in MITIGATIONS:
        # People approve what always waits for them, whatever is said of it here.
        if getattr(knobs.mitigations, name) or (name == "approvals" and knobs.effect in HARD_GATES):
            yield name


def _verdict(knobs: Knobs, points: int) -> tuple[Verdict, list[str]]:
    acts = knobs.autonomy != "shadow"
    if acts and knobs.data_sensitivity == "secret":
        return "do_not_automate", ["What is secret is never sent: every such action would be denied."]
    if acts and points >= DO_NOT_AUTOMATE:
        return "do_not_automate", [f"The score reaches {DO_NOT_AUTOMATE}; lower it first."]
    reasons = []
    if knobs.effect in HARD_GATES:
        effect = knobs.effect.replace("_", " ")
        reasons.append(f"This is {effect}: a person approves it, every time, and nothing can be set to change that.")
    if acts and knobs.effect in SENT and not knobs.mitigations.reviewed_templates:
        reasons.append("A message to an outsider is a draft until a reviewer has read the recipients and the text.")
    if knobs.autonomy == "supervised" and knobs.effect != "read":
        reasons.append("A supervised workflow asks a person before every side effect.")
    threshold = RiskThresholds().escalate_at
    if acts and points >= threshold:
        reasons.append(f"The score reaches {threshold}, at which a person looks.")
    if reasons:
        return "allow_with_approvals", reasons
    return "allow", ["Nothing is done in shadow." if not acts else f"The score is below {threshold}."]


def _lower(knobs: Knobs, points: int, verdict: Verdict) -> Iterator[Lower]:
    for what, changed in _changes(knobs):
        found = _risk(changed).score
        then, _ = _verdict(changed, found)
        if found < points or _SEVERITY.index(then) < _SEVERITY.index(verdict):
            yield Lower(what=what, by=points - found, score=found, verdict=then)


def _changes(knobs: Knobs) -> Iterator[tuple[str, Knobs]]:
    """Single changes that somebody could make; a mitigation only where it has a meaning for the effect."""
    for name, (_, why) in MITIGATIONS.items():
        if not getattr(knobs.mitigations, name) and _applies(name, knobs):
            in_place = InPlace.model_validate(knobs.mitigations.model_dump() | {name: True})
            yield f"mitigations.{name}: {why}", knobs.model_copy(update={"mitigations": in_place})
    if lower := _FREER.get(knobs.autonomy):
        yield f"autonomy: {lower}", knobs.model_copy(update={"autonomy": lower})
    if not knobs.reversible:
        yield "reversible: it can be undone", knobs.model_copy(update={"reversible": True})
    if knobs.data_sensitivity not in ("public", "internal"):
        yield "data_sensitivity: internal", knobs.model_copy(update={"data_sensitivity": "internal"})
    if knobs.amount_band is not None or knobs.value is not None:
        band = {"amount_band": "quarter", "value": None, "ceiling": None}
        yield "amount_band: a quarter of the ceiling at most", knobs.model_copy(update=band)


def _applies(name: Mitigation, knobs: Knobs) -> bool:
    if name == "reviewed_templates":
        return knobs.effect in SENT
    if name == "known_counterparty":
        return knobs.effect in TO_A_PAYEE
    if name == "approvals":
        return knobs.effect not in HARD_GATES
    return knobs.effect != "read"
