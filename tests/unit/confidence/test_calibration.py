"""The statistics of calibration, against values that were worked out by hand or are in the literature."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.confidence.calibration import (
    CEILING,
    EDGES,
    Claims,
    bins,
    overconfidence,
    scores,
    suggested,
    tightened,
    wilson,
)


@st.composite
def _claims(draw: st.DrawFn) -> list[Claims]:
    claimed = draw(st.lists(st.floats(0, 1), max_size=12, unique=True))
    found = []
    for one in claimed:
        judged = draw(st.integers(1, 60))
        found.append(Claims(one, judged, draw(st.integers(0, judged))))
    return found


@pytest.mark.parametrize(
    ("approved", "judged", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (9, 10, 0.5958, 0.9821),
        (50, 100, 0.4038, 0.5962),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilsons_interval(approved: int, judged: int, low: float, high: float) -> None:
    assert wilson(approved, judged) == pytest.approx((low, high), abs=5e-5)


def test_scores_of_three_claims() -> None:
    """0.9 right, 0.9 wrong, 0.3 right: (0.1² + 0.9² + 0.7²) / 3, and the parts that it falls into."""
    found = scores([Claims(0.9, 2, 1), Claims(0.3, 1, 1)])
    assert found is not None
    assert (found.judged, found.mean_claimed, found.share_approved) == pytest.approx((3, 0.7, 2 / 3))
    assert found.brier == pytest.approx(1.31 / 3)
    assert found.reliability == pytest.approx(2 / 3 * 0.4**2 + 1 / 3 * 0.7**2)
    assert found.resolution == pytest.approx(2 / 3 * (1 / 6) ** 2 + 1 / 3 * (1 / 3) ** 2)
    assert found.uncertainty == pytest.approx(2 / 9)
    assert found.within_bins == pytest.approx(0, abs=1e-12)
    assert found.expected_calibration_error == pytest.approx(0.5)


def test_what_the_bins_blur_is_told_apart() -> None:
    """0.91 right and 0.99 wrong share a bin, of mean 0.95 and half approved."""
    found = scores([Claims(0.91, 1, 1), Claims(0.99, 1, 0)])
    assert found is not None
    assert found.brier == pytest.approx((0.09**2 + 0.99**2) / 2)
    assert (found.reliability, found.resolution, found.uncertainty) == pytest.approx((0.45**2, 0, 0.25))
    assert found.within_bins == pytest.approx(0.4941 - 0.2025 - 0.25)


def test_the_best_and_the_worst_forecasts() -> None:
    best, worst = scores([Claims(1.0, 5, 5), Claims(0.0, 5, 0)]), scores([Claims(1.0, 5, 0), Claims(0.0, 5, 5)])
    assert best
    assert worst
    assert (best.brier, best.expected_calibration_error) == (0, 0)
    assert (worst.brier, worst.expected_calibration_error) == (1, 1)
    assert scores([]) is None


@given(_claims())
def test_the_parts_make_up_the_score(claims: list[Claims]) -> None:
    found = scores(claims)
    if found is None:
        assert claims == []
        return
    parts = found.reliability - found.resolution + found.uncertainty + found.within_bins
    assert parts == pytest.approx(found.brier, abs=1e-9)
    assert 0 <= found.brier <= 1
    assert found.resolution <= found.uncertainty + 1e-9
    assert sum(one.judged for one in bins(claims)) == found.judged


@pytest.mark.parametrize(
    ("claimed", "low"),
    [
        (0.0, 0.0), (0.0999999, 0.0), (0.1, 0.1), (0.3, 0.3), (0.29999999999999993, 0.2), (0.1 + 0.2, 0.3),
        (0.6, 0.6), (0.7, 0.7), (0.7999999999999999, 0.7), (0.9, 0.9), (0.99, 0.9), (1.0, 0.9),
    ],
)  # fmt: skip
def test_a_bin_begins_at_its_edge(claimed: float, low: float) -> None:
    table = bins([Claims(claimed, 4, 1)])
    assert [(one.low, one.judged) for one in table if one.judged] == [(low, 4)]
    assert [one.low for one in table] == list(EDGES)
    assert table[-1].high == 1.0


def test_an_empty_bin_says_that_nothing_is_known() -> None:
    first, *_, last = bins([Claims(0.95, 10, 9)])
    assert (first.judged, first.mean_claimed, first.share_approved, first.interval) == (0, None, None, (0.0, 1.0))
    assert (last.judged, last.mean_claimed, last.share_approved) == pytest.approx((10, 0.95, 0.9))
    assert last.interval == pytest.approx((0.5958, 0.9821), abs=5e-5)


def test_a_suggestion_takes_evidence() -> None:
    """Of 73 that are all approved, Wilson's lower bound is 73 / (73 + 1.96²) = 0.95001; of 72 it is 0.9493."""
    assert suggested([Claims(0.95, 73, 73)]) == 0.0
    assert suggested([Claims(0.95, 72, 72)]) is None
    assert suggested([Claims(0.95, 19, 19)]) is None
    assert suggested([]) is None


def test_the_lowest_edge_that_is_good_enough_is_suggested() -> None:
    claims = [Claims(0.55, 30, 5), Claims(0.75, 40, 40), Claims(0.95, 60, 60)]
    assert suggested(claims) == 0.6
    assert suggested(claims, above=0.6) == 0.7
    assert suggested(claims, above=0.7) is None  # from 0.8 on there are 60, which show 0.94
    assert suggested([Claims(0.55, 30, 5), Claims(0.75, 40, 20), Claims(0.95, 60, 60)]) is None


@pytest.mark.parametrize(
    ("judged", "approved", "over"),
    [
        (20, 8, True),  # at most 61 % of what is claimed at 85 %
        (20, 14, False),  # 70 %, and perhaps 85 %
        (19, 0, False),  # too few to say
        (400, 300, False),  # 75 %, which is not more than 0.1 below
        (400, 298, True),  # 74.5 %, and at most 78.6 %
        (400, 340, False),
    ],
)
def test_overconfidence_is_a_clear_gap(judged: int, approved: int, over: bool) -> None:
    claims = [Claims(0.85, judged, approved), Claims(0.5, 100, 0)]
    found = overconfidence(claims, 0.8)
    assert (found is not None) == over
    if found:
        assert (found.judged, found.mean_claimed) == pytest.approx((judged, 0.85))
        assert found.upper < found.mean_claimed - 0.05


def test_what_does_not_reach_the_threshold_is_no_drift() -> None:
    """A person looks at it anyway."""
    assert overconfidence([Claims(0.79, 100, 0)], 0.8) is None
    assert overconfidence([Claims(0.8, 100, 0)], 0.8) is not None


def test_a_threshold_tightens_in_steps_and_not_beyond_what_is_suggested() -> None:
    wrong = [Claims(0.95, 30, 0)]
    assert [tightened(wrong, at) for at in (0.7, 0.8, 0.89, 0.9, 0.99)] == [0.8, 0.9, 0.99, 0.99, CEILING]
    good_from_90 = [Claims(0.85, 30, 3), Claims(0.95, 100, 100)]
    assert [tightened(good_from_90, at) for at in (0.75, 0.85)] == [0.85, 0.9]


@given(_claims(), st.floats(0, 1))
def test_tightening_never_loosens(claims: list[Claims], threshold: float) -> None:
    found = tightened(claims, threshold)
    assert found <= CEILING
    assert found <= threshold + 0.1 + 5e-5
    assert found > threshold or threshold >= CEILING - 5e-5
