"""Charts as SVG, drawn on the server with classes and attributes alone; each has its numbers as a table beside it."""

from collections.abc import Sequence
from itertools import count
from math import ceil, floor, log10
from typing import NamedTuple

from markupsafe import Markup

from api.dashboard import format as formats

WIDTH, HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 24
_PLOT_W, _PLOT_H = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
#: Labels below the axis are at most so many, so that none covers another.
_MOST_LABELS = 8
_ids = count(1)


class Series(NamedTuple):
    """One row of numbers, a value for each label. tone: neutral, good, warn, bad, info."""

    name: str
    values: Sequence[float]
    tone: str = "info"


def line(title: str, labels: Sequence[str], series: Sequence[Series], unit: str = "") -> Markup:
    """Lines over time, the first one filled. labels: of the moments, one for each value."""
    top = _ceiling(max((value for each in series for value in each.values), default=0))
    parts = [_axis(top, unit)]
    for n, each in enumerate(series):
        points = [(_x(i, len(labels)), _y(value, top)) for i, value in enumerate(each.values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        if n == 0 and points:
            foot = _TOP + _PLOT_H
            area = f"{points[0][0]:.1f},{foot} {path} {points[-1][0]:.1f},{foot}"
            parts.append(Markup('<polygon class="area tone-{}" points="{}"/>').format(each.tone, area))
        parts.append(Markup('<polyline class="line line-{} tone-{}" points="{}"/>').format(n, each.tone, path))
        if points:
            x, y = points[-1]
            parts.append(Markup('<circle class="dot tone-{}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(each.tone, x, y))
    parts.append(_below(labels, [_x(i, len(labels)) for i in range(len(labels))]))
    return _figure(title, labels, series, unit, parts)


def stacked(title: str, labels: Sequence[str], series: Sequence[Series], unit: str = "") -> Markup:
    """A bar for each label, the series on top of each other, such as outcomes by day."""
    totals = [sum(each.values[i] for each in series) for i in range(len(labels))]
    top = _ceiling(max(totals, default=0))
    slot = _PLOT_W / max(len(labels), 1)
    width, parts = min(slot * 0.7, 48.0), [_axis(top, unit)]
    middles = [_LEFT + slot * (i + 0.5) for i in range(len(labels))]
    for i, label in enumerate(labels):
        foot = 0.0
        for each in series:
            value = each.values[i]
            if value <= 0:
                continue
            y, height = _y(foot + value, top), value / top * _PLOT_H
            parts.append(
                Markup(
                    '<rect class="bar tone-{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                    "<title>{}: {} {}</title></rect>"
                ).format(each.tone, middles[i] - width / 2, y, width, height, label, each.name, _said(value, unit))
            )
            foot += value
    parts.append(_below(labels, middles))
    return _figure(title, labels, series, unit, parts)


def meter(used: float, limit: float, text: str = "") -> Markup:
    """How much of a limit is used: a bar, and the same in words. text: such as `1,200.00 EUR of 5,000.00 EUR`."""
    share = used / limit if limit > 0 else 1.0 if used > 0 else 0.0
    tone = "bad" if share >= 1 else "warn" if share >= 0.8 else "good"
    told = text or f"{formats.number(used)} of {formats.number(limit)}"
    note = " (used up)" if share >= 1 else " (nearly used up)" if share >= 0.8 else ""
    return Markup(
        '<div class="meter"><svg class="meter-bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="meter-ground" width="100" height="6"/><rect class="tone-{}" width="{:.1f}" height="6"/></svg>'
        '<span class="meter-text">{} <span class="meter-share">{}{}</span></span></div>'
    ).format(tone, 100 * min(max(share, 0.0), 1.0), told, formats.percent(share), note)


def _figure(title: str, labels: Sequence[str], series: Sequence[Series], unit: str, parts: Sequence[Markup]) -> Markup:
    legend = Markup("").join(
        Markup(
            '<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="tone-{}" width="10" height="10"/>'
            "</svg>{}</li>"
        ).format(each.tone, each.name)
        for each in series
    )  # fmt: skip
    number = next(_ids)
    drawn = Markup(
        '<svg class="chart-drawing" viewBox="0 0 {} {}" role="img" aria-labelledby="chart-{}-title chart-{}-text">'
        '<title id="chart-{}-title">{}</title><desc id="chart-{}-text">{}</desc>{}</svg>'
    ).format(WIDTH, HEIGHT, number, number, number, title, number, _told(labels, series, unit), Markup("").join(parts))
    return Markup(
        '<figure class="chart"><figcaption>{}</figcaption>{}<ul class="legend">{}</ul>'
        "<details><summary>The numbers</summary>{}</details></figure>"
    ).format(title, drawn, legend, _table(title, labels, series, unit))


def _told(labels: Sequence[str], series: Sequence[Series], unit: str) -> str:
    """The chart in a sentence, for whoever does not see it."""
    if not labels or not series:
        return "There is nothing to show yet."
    sums = "; ".join(
        f"{each.name}: highest {_said(max(each.values, default=0), unit)}, last {_said(each.values[-1], unit)}"
        for each in series
        if each.values
    )
    return f"{labels[0]} to {labels[-1]}. {sums}."


def _table(title: str, labels: Sequence[str], series: Sequence[Series], unit: str) -> Markup:
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(each.name) for each in series)
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            label,
            Markup("").join(Markup('<td class="num">{}</td>').format(_said(each.values[i], unit)) for each in series),
        )
        for i, label in enumerate(labels)
    )
    return Markup(
        '<table class="numbers"><caption class="visually-hidden">{}</caption><thead><tr><td></td>{}</tr></thead>'
        "<tbody>{}</tbody></table>"
    ).format(title, head, rows)


def _said(value: float, unit: str) -> str:
    return f"{formats.number(value)} {unit}" if unit not in ("", "%") else f"{formats.number(value)}{unit and ' %'}"


def _axis(top: float, unit: str) -> Markup:
    """Lines across at nothing, half and all, with their numbers."""
    parts = []
    for share in (0, 0.5, 1):
        y = _y(top * share, top)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(_LEFT, WIDTH - _RIGHT, y, y)
        )
        parts.append(
            Markup('<text class="scale" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                _LEFT - 6, y + 4, _brief(top * share) + ("%" if unit == "%" else "")
            )
        )
    return Markup("").join(parts)


def _below(labels: Sequence[str], places: Sequence[float]) -> Markup:
    every = max(1, ceil(len(labels) / _MOST_LABELS))
    shown = [(label, x) for n, (label, x) in enumerate(zip(labels, places, strict=True)) if n % every == 0]
    return Markup("").join(
        Markup('<text class="scale{}" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            " scale-second" if n % 2 else "", x, HEIGHT - 6, label
        )
        for n, (label, x) in enumerate(shown)
    )


def _x(index: int, number: int) -> float:
    return _LEFT + 12 + (_PLOT_W - 24) * (index / (number - 1) if number > 1 else 0.5)


def _y(value: float, top: float) -> float:
    return _TOP + _PLOT_H * (1 - min(max(value / top, 0.0), 1.0))


def _ceiling(highest: float) -> float:
    """The end of the scale: the next 1, 2, 4, 5 or 10 times a power of ten, so that its half is round, too."""
    if highest <= 0:
        return 2
    power = 10 ** floor(log10(highest))
    return float(max(2, next(step * power for step in (1, 2, 4, 5, 10) if step * power >= highest)))


def _brief(value: float) -> str:
    for size, letter in ((1_000_000_000, "B"), (1_000_000, "M"), (1000, "k")):
        if value >= size:
            return f"{formats.number(round(value / size, 1))}{letter}"
    return formats.number(value)
