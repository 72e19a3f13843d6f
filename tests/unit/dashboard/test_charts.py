"""Charts hold what they were given, also for whoever does not see them, and nothing that the policy forbids."""

import re
from xml.etree import ElementTree

import pytest

from api.dashboard import charts
from api.dashboard.charts import Series

DAYS = ["26 Nov", "27 Nov", "28 Nov"]


def drawn(markup: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(f"<x>{markup}</x>").iter())  # noqa: S314 - our own


@pytest.mark.parametrize("draw", [charts.line, charts.stacked])
@pytest.mark.parametrize("values", [[], [[1]], [[0, 0, 0]], [[1, 2, 3], [0, 5, 1]], [[1e12, 0.5, 3]]])
def test_it_is_whole_and_keeps_to_the_policy(draw: object, values: list[list[float]]) -> None:
    labels = DAYS[: len(values[0])] if values else []
    series = [Series(f"<b>{n}</b>", row, "good") for n, row in enumerate(values)]
    assert callable(draw)
    shown = draw("Outcomes & <i>more</i>", labels, series)
    elements = drawn(shown)
    assert not {name for each in elements for name in each.attrib if name == "style" or name.startswith("on")}
    assert {each.tag for each in elements} & {"title", "desc", "table"} == {"title", "desc", "table"}
    assert "<b>0" not in shown
    numbers = [float(n) for n in re.findall(r' (?:x|y|width|height|cx|cy)="([^"]*)"', shown)]
    assert all(0 <= n <= 640 for n in numbers)


def test_the_numbers_are_a_table_too() -> None:
    shown = charts.stacked(
        "Outcomes", DAYS, [Series("Allowed", [3, 1200, 5], "good"), Series("Denied", [0, 1, 2], "bad")]
    )
    cells = [each.text for each in drawn(shown) if each.tag == "td" and each.text]
    assert cells == ["3", "0", "1,200", "1", "5", "2"]
    assert "highest 1,200, last 5" in shown
    assert shown.count('<rect class="bar') == 5, "what is nothing has no bar"


def test_bars_are_as_high_as_what_they_say() -> None:
    shown = charts.stacked("x", ["a"], [Series("one", [10], "good"), Series("two", [30], "bad")])
    low, high = (float(n) for n in re.findall(r'class="bar.*?height="([\d.]+)"', shown))
    assert high == pytest.approx(3 * low, rel=0.02)


def test_every_chart_has_names_of_its_own() -> None:
    shown = charts.line("a", DAYS, [Series("s", [1, 2, 3])]) + charts.line("b", DAYS, [Series("s", [1, 2, 3])])
    ids = re.findall(r' id="([^"]+)"', shown)
    assert len(ids) == len(set(ids)) == 4


@pytest.mark.parametrize(
    ("used", "limit", "tone", "words"),
    [(0, 10, "good", "0 %"), (8, 10, "warn", "nearly used up"), (10, 10, "bad", "used up"), (99, 10, "bad", "990 %"),
     (0, 0, "good", "0 of 0"), (5, 0, "bad", "used up")],
)  # fmt: skip
def test_a_meter_says_it_in_words(used: float, limit: float, tone: str, words: str) -> None:
    shown = charts.meter(used, limit)
    assert f"tone-{tone}" in shown
    assert words in shown
    assert float(re.findall(r'width="([\d.]+)" height="6"/></svg>', shown)[0]) <= 100


def test_labels_do_not_cover_each_other() -> None:
    many = [str(n) for n in range(90)]
    shown = charts.line("x", many, [Series("s", list(range(90)))])
    assert len(re.findall(r'text-anchor="middle"', shown)) <= 8
