"""The colours of the pages, measured as WCAG 2.2 does (1.4.3 text, 1.4.11 what else has to be seen)."""

import re
from pathlib import Path

import pytest

from api.dashboard.words import TONES

CSS = (Path(__file__).parents[3] / "api/dashboard/static/countersign.css").read_text(encoding="utf-8")
RULES = re.sub(r"/\*.*?\*/", "", CSS, flags=re.DOTALL)
#: Ink and the grounds that it stands on; and marks that say something by being seen.
GROUNDS = ("ground", "surface", "sunken")
TEXT = [(ink, ground) for ink in ("ink", "soft", "link") for ground in GROUNDS]
TEXT += [(f"{tone}-ink", f"{tone}-ground") for tone in TONES]
TEXT += [(f"{tone}-ink", ground) for tone in ("warn", "bad", "info") for ground in GROUNDS]
TEXT += [("on-primary", "primary"), ("on-primary", "primary-over"), ("on-danger", "danger"), ("danger", "surface")]
TEXT += [("on-danger", "danger-over"), ("passage-ink", "passage"), ("unseen", "unseen-ground"), ("ground", "ink")]
SEEN = [("focus", ground) for ground in GROUNDS] + [("edge", ground) for ground in GROUNDS]
SEEN += [(f"{tone}-mark", "surface") for tone in TONES] + [("primary", "surface")]


def tokens(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", RULES, re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks[:2])
    return light if scheme == "light" else light | dark


def luminance(colour: str) -> float:
    channels = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_measured_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme: str) -> None:
    known = tokens(scheme)
    weak = {pair: round(contrast(known[pair[0]], known[pair[1]]), 2) for pair in TEXT}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_says_something_can_be_seen(scheme: str) -> None:
    known = tokens(scheme)
    weak = {pair: round(contrast(known[pair[0]], known[pair[1]]), 2) for pair in SEEN}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 3} == {}


def test_both_schemes_have_every_colour() -> None:
    assert set(tokens("light")) == set(tokens("dark"))
    blocks = re.findall(r":root \{(.*?)\}", RULES, re.DOTALL)
    assert set(re.findall(r"--([\w-]+): #", blocks[0])) == set(re.findall(r"--([\w-]+): #", blocks[1]))


def test_every_ink_is_measured_on_the_ground_that_its_rule_gives_it() -> None:
    """A rule that sets both is a pair, and every pair is in the list above."""
    pairs = set()
    for body in re.findall(r"\{([^{}]*)\}", RULES):
        ink = re.search(r"(?<![\w-])color: var\(--([\w-]+)\)", body)
        ground = re.search(r"background(?:-color)?: var\(--([\w-]+)\)", body)
        if ink and ground:
            pairs.add((ink[1], ground[1]))
    assert pairs <= {*TEXT}
    assert len(pairs) > 8


def test_every_name_that_is_used_is_defined() -> None:
    defined = set(re.findall(r"(--[\w-]+):", RULES))
    assert set(re.findall(r"var\((--[\w-]+)", RULES)) <= defined


def test_the_page_takes_nothing_from_elsewhere() -> None:
    assert "url(" not in RULES
    assert "@import" not in RULES


def test_whoever_wants_no_motion_gets_none() -> None:
    assert "prefers-reduced-motion: reduce" in RULES
    assert ":focus-visible { outline: 3px" in RULES
