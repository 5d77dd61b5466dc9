"""Images that come in, beside those of validation: how many are foreign, and how far they are."""

import numpy as np
import pytest
from scipy import stats

from ml import incoming
from ml.domain import DomainRule
from ml.drift import KEPT, LEAST
from ml.incoming import Distances, counted

DICE = np.random.default_rng(5)


def distances(n: int, stretch: float = 1.0) -> Distances:
    return Distances.of(stretch * np.stack([DICE.gamma(4, 0.1, n), DICE.gamma(9, 0.05, n)]))


def test_distances_of_a_card_are_all_of_few_and_even_quantiles_of_many() -> None:
    few, many_2N = distances(60), np.stack([DICE.gamma(4, 0.1, 4_000), DICE.gamma(9, 0.05, 4_000)])
    assert (few.n, len(few.embedding), len(few.look)) == (60, 60, 60)
    many = Distances.of(many_2N)
    assert (many.n, len(many.look), many.sample("look").n) == (4_000, KEPT, 4_000)
    assert stats.ks_2samp(many.look, many_2N[1]).statistic < 0.005
    assert list(few.embedding) == sorted(few.embedding)


def test_the_shift_is_that_of_scores_and_its_test_agrees_with_scipy() -> None:
    before, after = distances(200), distances(150, stretch=1.5)
    found = incoming.moved(before.sample("look"), after.sample("look"))
    expected = stats.ks_2samp(before.look, after.look)
    assert (found.n, found.shift.level) == (150, "large")
    assert found.test is not None
    assert found.test.distance == pytest.approx(expected.statistic, abs=1e-9)
    assert incoming.moved(before.sample("look"), before.sample("look")).shift.psi == pytest.approx(0, abs=1e-12)


def test_chance_alone_is_seldom_taken_for_a_drift_of_features() -> None:
    before, draws = distances(78), 300
    levels = [incoming.moved(before.sample("embedding"), distances(60).sample("embedding")) for _ in range(draws)]
    assert sum(one.shift.level != "none" for one in levels) < 0.1 * draws


def test_nothing_is_claimed_of_few_images() -> None:
    few = counted(np.array([0.5]), np.array([LEAST - 1.0]))
    assert incoming.moved(distances(100).sample("look"), few).shift.level == "too few"
    assert incoming.outside(LEAST - 1, LEAST - 1, 1_000, 0.98).level == "too few"
    assert incoming.outside(0, 0, 1_000, 0.98).share.value is None


@pytest.mark.parametrize(
    ("count", "n", "validated", "level"),
    [
        (120, 120, 78, "large"),
        (12, 120, 900, "moderate"),
        (12, 120, 78, "none"),  # 2 of 78 may be 9 %
        (2, 120, 900, "none"),
        (30, 120, 900, "large"),
        (29, 120, 900, "moderate"),
    ],
)
def test_more_foreign_images_are_claimed_only_where_both_intervals_are_apart(
    count: int, n: int, validated: int, level: str
) -> None:
    found = incoming.outside(count, n, validated, within=0.98)
    assert (found.level, found.outside, found.n) == (level, count, n)
    expected = stats.binomtest(count, n).proportion_ci(method="wilson")
    assert (found.share.low, found.share.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_chance_alone_is_seldom_taken_for_more_foreign_images() -> None:
    levels = [
        incoming.outside(int(DICE.binomial(100, 0.03)), 100, 78, 1 - DICE.binomial(78, 0.03) / 78).level
        for _ in range(500)
    ]
    assert sum(level != "none" for level in levels) < 0.025 * 500


def test_the_rule_of_a_release_that_kept_no_distances_is_read() -> None:
    assert DomainRule.model_validate({"n": 78, "within": 0.97}).distances is None
