"""Edge matching against exhaustive assignments, and what thinning must do."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from skimage.morphology import skeletonize

from mtpeft.evaluation.functional import edge_compute, edge_update, pool
from mtpeft.evaluation.functional.edge import _Nearby, _OneToOne
from mtpeft.evaluation.functional.edge_nms import suppress_non_maxima

HALF = [0.5]


def _update(pred, label, max_dist, thresholds=HALF, **kwargs):
    pred, label = torch.as_tensor(pred, dtype=torch.float32), torch.as_tensor(label)
    return edge_update(pred, label, torch.ones_like(label).bool(), thresholds, max_dist, **kwargs)


def _lines(size, rows, dtype=np.float32):
    picture = np.zeros((size, size), dtype)
    picture[rows, 4:-4] = 1
    return picture


@pytest.mark.parametrize('radius', [0, 1, 1.5, 3.2])
@pytest.mark.parametrize('seed', range(4))
def test_one_to_one_matches_as_many_as_the_best_assignment(radius, seed):
    rng = np.random.default_rng(seed)
    truth, thin = rng.random((2, 14, 14)) < 0.15
    allowed = cdist(np.argwhere(thin), np.argwhere(truth)) <= radius
    rows, columns = linear_sum_assignment(~allowed)
    best = int(allowed[rows, columns].sum())
    assert _OneToOne(truth, radius)(thin) == (best, best)


@pytest.mark.parametrize('radius', [0, 1, 1.5, 3.2])
def test_nearby_counts_pixels_with_any_partner_and_bounds_one_to_one(radius):
    rng = np.random.default_rng(5)
    truth, thin = rng.random((2, 20, 17)) < 0.1
    allowed = cdist(np.argwhere(thin), np.argwhere(truth)) <= radius
    hits, found = _Nearby(truth, radius)(thin)
    assert (hits, found) == (allowed.any(1).sum(), allowed.any(0).sum())
    assert _OneToOne(truth, radius)(thin)[0] <= min(hits, found)


@pytest.mark.parametrize('count', [_Nearby, _OneToOne])
def test_empty_sides_match_nothing(count):
    empty, full = np.zeros((5, 5), bool), np.eye(5, dtype=bool)
    assert count(empty, 2)(full) == count(full, 2)(empty) == (0, 0)


@pytest.mark.parametrize('exact', [True, False])
@pytest.mark.parametrize('seed', range(3))
def test_the_label_itself_is_a_perfect_prediction(exact, seed):
    rng = np.random.default_rng(seed)
    label = skeletonize(rng.random((24, 31)) < 0.3).astype(np.int64)
    figures = edge_compute(pool([_update(0.8 * label, label, 0, exact=exact)]))
    assert figures == dict(odsF=100, oisF=100)


@pytest.mark.parametrize('shift, expected', [(0, 100), (2, 100), (3, 0)])
def test_a_shifted_line_counts_within_the_distance(shift, expected):
    label = _lines(40, [20], np.int64)
    distance = 2.5 / np.hypot(40, 40)
    figures = edge_compute(pool([_update(_lines(40, [20 + shift]), label, distance)]))
    assert figures['odsF'] == expected


def test_a_doubled_line_costs_precision_only_when_matched_one_to_one():
    label, pred = _lines(40, [20], np.int64), _lines(40, [17, 23])
    distance = 4 / np.hypot(40, 40)
    assert edge_compute(pool([_update(pred, label, distance, exact=False)]))['odsF'] == 100
    exact = edge_compute(pool([_update(pred, label, distance, exact=True)]))['odsF']
    assert exact == pytest.approx(200 / 3)  # P = 1/2, R = 1


def test_thick_predictions_and_labels_are_thinned():
    label, thick = _lines(40, [20], np.int64), _lines(40, [19, 20, 21])
    counts = _update(thick, label, 2 / np.hypot(40, 40))
    assert counts['claimed'].item() <= label.sum()
    assert _update(thick, thick.astype(np.int64), 0)['actual'].item() <= label.sum()


def test_suppression_keeps_the_ridge_of_a_blurred_line():
    profile = np.exp(-((np.arange(21) - 10) ** 2) / 8).astype(np.float32)
    for ridge in (np.tile(profile[:, None], (1, 21)), np.tile(profile, (21, 1))):
        kept = suppress_non_maxima(ridge) > 0
        assert np.array_equal(kept, ridge == 1)
    assert not suppress_non_maxima(np.zeros((4, 4))).any()


def test_ods_is_one_threshold_for_the_set_and_ois_one_a_picture():
    label = _lines(40, [20], np.int64)
    faint = 0.4 * _lines(40, [20]) + 0.2 * _lines(40, [8])
    strong = 0.9 * _lines(40, [20]) + 0.7 * _lines(40, [8])
    thresholds = [0.1, 0.3, 0.5, 0.8]
    figures = edge_compute(pool([_update(p, label, 0, thresholds) for p in (faint, strong)]))
    # At .3: both found, one line too many: P = 2/3, R = 1.
    assert figures['oisF'] == 100
    assert figures['odsF'] == pytest.approx(80)


def test_ignored_pixels_count_neither_way():
    label, pred = _lines(40, [20], np.int64), _lines(40, [8, 20])
    valid = torch.ones(40, 40).bool()
    valid[:14] = False
    counts = edge_update(torch.from_numpy(pred), torch.from_numpy(label), valid, HALF, 0)
    assert counts['claimed'] == counts['hits'] == counts['actual'] == label.sum()


@pytest.mark.parametrize('pred', [0, 1])
def test_a_set_with_nothing_to_find_has_no_figures(pred):
    picture = pred * _lines(20, [9])
    assert edge_compute(pool([_update(picture, np.zeros((20, 20), np.int64), 0.01)])) == {}


@pytest.mark.parametrize('pred, expected', [(0, 100), (1, 200 / 3)])
def test_a_picture_with_nothing_to_find_counts_what_is_wrong_there(pred, expected):
    line, empty = _lines(20, [9]), np.zeros((20, 20), np.int64)
    whole, other = _update(line, line, 0.01), _update(pred * line, empty, 0.01)
    # as many wrong pixels as right ones, or none: P = 1/2 or 1, R = 1
    figures = edge_compute(pool([whole, other]))
    assert figures['odsF'] == pytest.approx(expected)
    assert figures['oisF'] >= figures['odsF'] - 1e-9


def test_one_pixel():
    figures = edge_compute(pool([_update([[0.9]], [[1]], 0.01)]))
    assert figures['odsF'] == 100


def _boundaries(seed, blur):
    """Boundaries of random smooth regions ``(96, 96)``, and a blurred, noisy guess of them."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    regions = np.digitize(gaussian_filter(rng.random((96, 96)), 12), [0.49, 0.51])
    label = np.zeros((96, 96), np.int64)
    label[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    label[1:] |= regions[1:] != regions[:-1]
    pred = gaussian_filter(label.astype(float), blur)
    noise = gaussian_filter(rng.standard_normal((96, 96)), 2)
    return np.clip(pred / pred.max() + 0.5 * noise, 0, 1), label


@pytest.mark.parametrize('blur, gap', [(1, 1.0), (2, 13.0)])
def test_documented_tolerance_of_sharing_partners(blur, gap):
    thresholds = np.linspace(0, 1, 21)[1:-1]
    pictures = [_boundaries(seed, blur) for seed in range(2)]
    shared, exact = (
        edge_compute(pool([_update(p, y, 0.011, thresholds, exact=e) for p, y in pictures]))
        for e in (False, True)
    )
    assert exact['odsF'] <= shared['odsF'] <= exact['odsF'] + gap
    assert exact['odsF'] <= exact['oisF']
