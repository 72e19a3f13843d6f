"""What claims of confidence were worth, measured against what people decided. Pure: numbers in, numbers out.

Sources: Brier, "Verification of forecasts expressed in terms of probability" (1950); Murphy, "A new vector partition of
the probability score" (1973); Wilson, "Probable inference" (1927).
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt

#: Where the bins of claimed confidence begin; each ends where the next one begins, the last one with 1.
EDGES = tuple(step / 10 for step in range(10))
#: Standard deviations of a two-sided interval of 95 %.
Z = 1.959963984540054
#: Judged claims below which nothing is concluded.
ENOUGH = 20
#: What a suggested threshold shows: with 95 % confidence, at least this share of what reaches it is approved.
TARGET = 0.95
#: Overconfident is who claims more than he earns by GAP on average, and by MARGIN at the least.
GAP, MARGIN = 0.1, 0.05
#: What thresholds tighten to by themselves at most, and by how much at a time; the database holds them to both.
CEILING, STEP = 0.99, 0.1


@dataclass(frozen=True, slots=True)
class Claims:
    """How many actions claimed exactly this confidence and were judged by people, and how many were approved."""

    claimed: float
    judged: int
    approved: int


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin, low <= claimed < high (the last one holds 1, too). The means are None where it is empty."""

    low: float
    high: float
    judged: int
    mean_claimed: float | None
    share_approved: float | None
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scores:
    """brier = reliability - resolution + uncertainty + within_bins, exactly.

    brier: mean squared distance of claim and verdict; 0 is best, always claiming 0.5 gives 0.25. reliability: that of
    the bins' mean claims and shares approved; 0 is calibrated. resolution: how well the claims tell right from wrong.
    uncertainty: how much there was to tell. within_bins: what the bins blur. expected_calibration_error: the mean
    distance of the bins' mean claims and shares approved.
    """

    judged: int
    mean_claimed: float
    share_approved: float
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float
    expected_calibration_error: float


@dataclass(frozen=True, slots=True)
class Overconfidence:
    """Claims that reach a threshold and were worth clearly less; `upper` bounds the share that people approve."""

    judged: int
    mean_claimed: float
    share_approved: float
    upper: float


def wilson(approved: int, judged: int) -> tuple[float, float]:
    """The 95 % interval of Wilson's for a share; (0, 1) when nothing was judged."""
    if judged == 0:
        return 0.0, 1.0
    share, weight = approved / judged, Z * Z / judged
    middle = (share + weight / 2) / (1 + weight)
    half = Z * sqrt(share * (1 - share) / judged + weight / (4 * judged)) / (1 + weight)
    # At the ends the formula gives 0 and 1 exactly, but for rounding.
    return 0.0 if approved == 0 else middle - half, 1.0 if approved == judged else middle + half


def bins(claims: Iterable[Claims]) -> list[Bin]:
    """The calibration table: ten bins of claimed confidence."""
    held: list[list[Claims]] = [[] for _ in EDGES]
    for group in claims:
        held[bisect_right(EDGES, group.claimed) - 1].append(group)
    found = []
    for low, high, groups in zip(EDGES, (*EDGES[1:], 1.0), held, strict=True):
        judged, approved, mean = _sums(groups)
        share = approved / judged if judged else None
        found.append(Bin(low, high, judged, mean, share, wilson(approved, judged)))
    return found


def scores(claims: Sequence[Claims]) -> Scores | None:
    """How good the claims were as forecasts; None when nothing was judged."""
    judged, approved, mean = _sums(claims)
    if mean is None:
        return None
    base = approved / judged
    brier = fsum(c.approved * (1 - c.claimed) ** 2 + (c.judged - c.approved) * c.claimed**2 for c in claims) / judged
    reliability = resolution = error = 0.0
    for one in bins(claims):
        if one.mean_claimed is not None and one.share_approved is not None:
            part, off = one.judged / judged, one.mean_claimed - one.share_approved
            reliability += part * off**2
            resolution += part * (one.share_approved - base) ** 2
            error += part * abs(off)
    uncertainty = base * (1 - base)
    within = brier - (reliability - resolution + uncertainty)
    return Scores(judged, mean, base, brier, reliability, resolution, uncertainty, within, error)


def suggested(claims: Sequence[Claims], above: float = -1.0) -> float | None:
    """The lowest edge of a bin, beyond `above`, from which on enough was judged and shown to be approved (TARGET).

    None when the evidence shows that of no edge, or is too thin to.
    """
    for edge in EDGES:
        judged, approved, _ = _sums([c for c in claims if c.claimed >= edge])
        if edge > above and judged >= ENOUGH and wilson(approved, judged)[0] >= TARGET:
            return edge
    return None


def overconfidence(claims: Iterable[Claims], threshold: float) -> Overconfidence | None:
    """What is wrong with the claims that reach the threshold; None when nothing is, or too little was judged to say."""
    judged, approved, mean = _sums([c for c in claims if c.claimed >= threshold])
    if mean is None or judged < ENOUGH:
        return None
    share, upper = approved / judged, wilson(approved, judged)[1]
    if mean - share > GAP and upper < mean - MARGIN:
        return Overconfidence(judged, mean, share, upper)
    return None


def tightened(claims: Sequence[Claims], threshold: float) -> float:
    """What to ask for after `threshold`: one step more, towards the suggested one, or CEILING when there is none."""
    aim = suggested(claims, above=threshold)
    return min(CEILING if aim is None else aim, round(threshold + STEP, 4), CEILING)


def _sums(claims: Iterable[Claims]) -> tuple[int, int, float | None]:
    """How many were judged, how many of them approved, and what they claimed on average."""
    groups = list(claims)
    judged = sum(c.judged for c in groups)
    mean = fsum(c.judged * c.claimed for c in groups) / judged if judged else None
    return judged, sum(c.approved for c in groups), mean
