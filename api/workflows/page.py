"""The access spec as a page: for a person who reads it once, on a screen or on paper, before saying yes.

Plain HTML without scripts. Everything that comes from a spec is escaped; the one stylesheet comes from our own origin.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "templates"
STYLESHEET = "/assets/access-spec.css"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Vary": "Accept",
}


def is_preferred(accept: str) -> bool:
    """Whether an Accept header (RFC 9110, section 12.5.1) ranks HTML above JSON; where it ranks both the same, no."""
    ranks: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        ranks[kind] = next((_quality(p[2:]) for p in parameters if p.startswith("q=")), 1.0)

    def rank(kind: str) -> float:
        family = f"{kind.partition('/')[0]}/*"
        return next((ranks[name] for name in (kind, family, "*/*") if name in ranks), 0.0)

    return rank("text/html") > rank("application/json")


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


@cache
def stylesheet() -> str:
    return (_FOLDER / "access_spec.css").read_text(encoding="utf-8")


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sentence"] = sentence
    return environment.get_template("access_spec.html")


def sentence(items: Sequence[str], nothing: str = "no") -> str:
    """`a, b and c`; `nothing` for none."""
    *most, last = items or [nothing]
    return f"{', '.join(most)} and {last}" if most else last


def render(document: Mapping[str, Any]) -> str:
    """The page of a document as `service.access_spec` makes it."""
    changes = document["changes"]
    page: str = _template().render(
        document,
        stylesheet=STYLESHEET,
        widened=[change for change in changes if change.kind == "widened"],
        narrowed=[change for change in changes if change.kind == "narrowed"],
        otherwise=[change for change in changes if change.kind == "changed"],
        alone=[write for write in document["writes"] if not write["waits_because"]],
        waiting=[write for write in document["writes"] if write["waits_because"]],
    )
    return page
