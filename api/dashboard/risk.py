"""Risk knobs: what an automation in outline scores, and what would lower it, as the knobs move. Nothing is recorded."""

from typing import Any

from fastapi import Request, Response

from api.dashboard import words
from api.dashboard.forms import Form, Sent, filled
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.gate.risk import MITIGATIONS
from api.risk import service
from api.risk.models import Knobs, RiskScore

router = page_router()
#: The places of the two sliders, from what weighs least to what weighs most.
SENSITIVITIES = ("public", "internal", "confidential", "pii", "financial", "regulated", "secret")
STAGES = ("shadow", "supervised", "autonomous")
#: What the page begins with: the most ordinary automation that does something.
START: dict[str, Any] = {
    "effect": "write", "data_sensitivity": "internal", "autonomy": "supervised", "reversible": False,
    "amount_band": None, "mitigations": {},
}  # fmt: skip


@router.get("/risk")
async def show_risk(request: Request, who: Reader) -> Response:
    return await _shown(request, who, START)


@router.post("/risk")
async def score_outline(request: Request, who: Reader, form: Sent) -> Response:
    """The whole page again with the score of what was chosen, where there is no JavaScript."""
    return await _shown(request, who, _chosen(form))


@router.post("/risk/score")
async def preview_score(request: Request, who: Reader, form: Sent) -> Response:
    """The score alone, as the knobs move."""
    scored, problem = await _scored(who, _chosen(form))
    return page(
        who, "risk_score.html", request=request, status=problem.status_code if problem else 200,
        scored=scored, problem=problem, said=said,
    )  # fmt: skip


async def _shown(request: Request, who: Visitor, knobs: dict[str, Any]) -> Response:
    scored, problem = await _scored(who, knobs)
    return page(
        who, "risk.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        knobs=knobs, scored=scored, said=said, sensitivities=_words("sensitivity", SENSITIVITIES),
        stages=_words("stage", STAGES), at=(_place(SENSITIVITIES, knobs["data_sensitivity"]),
        _place(STAGES, knobs["autonomy"])), mitigations=[(name, why) for name, (_, why) in MITIGATIONS.items()],
    )  # fmt: skip


async def _scored(who: Visitor, knobs: dict[str, Any]) -> tuple[RiskScore | None, Problem | None]:
    try:
        return await service.score_risk(who.principal, filled(Knobs, knobs)), None
    except Exception as error:
        return None, problem_of(error)


def _chosen(form: Form) -> dict[str, Any]:
    """The knobs as the form has them. What is none of the choices is refused as the API refuses it."""
    return {
        "effect": form.text("effect"),
        "data_sensitivity": _named(SENSITIVITIES, form.text("data_sensitivity")),
        "autonomy": _named(STAGES, form.text("autonomy")),
        "reversible": form.text("reversible") == "yes",
        "amount_band": None if form.text("amount_band") in ("", "none") else form.text("amount_band"),
        "mitigations": dict.fromkeys(form.all("mitigations"), True),
    }


def _named(places: tuple[str, ...], value: str) -> str:
    place = int(value) if value.isascii() and value.isdecimal() and len(value) < 3 else len(places)
    return places[place] if place < len(places) else value


def _place(places: tuple[str, ...], name: str) -> int:
    return places.index(name) if name in places else 0


def _words(kind: str, names: tuple[str, ...]) -> list[str]:
    return [words.text(kind, name) for name in names]


def said(what: str) -> str:
    """One change that would lower the score, as somebody would say it to a colleague."""
    knob, _, value = what.partition(": ")
    if knob.startswith("mitigations."):
        return f"See that {value}"
    told = {
        "autonomy": f"Make it {value}",
        "reversible": "Make it something that can be undone",
        "data_sensitivity": f"Let it carry {value} data only",
        "amount_band": "Let one action be worth a quarter of the ceiling at most",
    }
    return told.get(knob, what)
