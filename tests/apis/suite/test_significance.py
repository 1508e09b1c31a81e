"""Welch's test against its textbook formula, Holm's correction against closed testing."""

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy.integrate import quad

from mtpeft.apis.suite.significance import holm, p_values, welch
from mtpeft.apis.suite.summary import Row, Stat


def textbook(one, other):
    """Student's density, integrated over its tails, at Welch and Satterthwaite's degrees."""
    a, b = (statistics.variance(values) / len(values) for values in (one, other))
    t = (statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(a + b)
    nu = (a + b) ** 2 / (a**2 / (len(one) - 1) + b**2 / (len(other) - 1))
    scale = math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)) / math.sqrt(nu * math.pi)
    tail, _ = quad(lambda x: scale * (1 + x * x / nu) ** (-(nu + 1) / 2), abs(t), math.inf)
    return 2 * tail


@pytest.mark.parametrize('seed', range(5))
def test_welch_is_the_textbooks(seed):
    draw = np.random.default_rng(seed)
    one, other = draw.normal(0, 1, 3 + seed).tolist(), draw.normal(1, 3, 4).tolist()
    assert welch(one, other) == pytest.approx(textbook(one, other), rel=1e-6)
    assert welch(one, other) == welch(other, one)
    # neither a shift nor a scale of both changes it
    moved = [[7 - 2 * value for value in values] for values in (one, other)]
    assert welch(*moved) == pytest.approx(welch(one, other))


@pytest.mark.parametrize(
    ('one', 'other'), [([1.0], [1.0, 2.0]), ([], []), ([1.0, 1.0], [2.0, 2.0, 2.0])]
)
def test_what_seeds_cannot_say_is_not_said(one, other):
    assert welch(one, other) is None


@pytest.mark.parametrize('seed', range(8))
def test_holm_is_closed_testing(seed):
    """Corrected: the largest Bonferroni p of all sets of hypotheses that hold this one."""
    draw = np.random.default_rng(seed)
    found = {name: float(draw.choice([draw.uniform(), 0.01])) for name in 'abcde'[: 1 + seed % 5]}
    sets = [subset for n in range(1, len(found) + 1) for subset in itertools.combinations(found, n)]
    expected = {
        name: max(
            min(1.0, len(subset) * min(found[other] for other in subset))
            for subset in sets if name in subset
        )
        for name in found
    }  # fmt: skip
    assert holm(found) == pytest.approx(expected)


def row(label, *values, role='method'):
    return Row(label, role, delta_m=Stat.of(values) if values else None)


def test_rows_are_tested_and_corrected_together():
    rows = [
        row('single_task', 0.0, role='single_task'), row('a', 1.0, 2.0, 3.0),
        row('b', 2.0, 4.0, 9.0), row('one', 3.0), row('none'), row('c', 7.0, 7.5, 8.5),
    ]  # fmt: skip
    plain = {'b': textbook([2, 4, 9], [1, 2, 3]), 'c': textbook([7, 7.5, 8.5], [1, 2, 3])}
    low, high = sorted(plain.values())
    found = p_values(rows, 'a')
    assert sorted(found) == ['b', 'c']
    assert sorted(found.values()) == pytest.approx([2 * low, max(2 * low, high)])
    for against, match in (('bb', "Did you mean 'b'"), ('one', 'it has 1'), ('none', 'it has 0'),
                           ('single_task', 'label of a method')):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            p_values(rows, against)
