"""Figures as released code counts them: saliency's other maxF, edges without matching."""

import cv2
import numpy as np
import pytest
import torch
from skimage.morphology import disk

from mtpeft.evaluation.functional import (
    dilated_edge_compute,
    dilated_edge_update,
    pool,
    saliency_compute,
    saliency_update,
)
from mtpeft.registry import METRICS
from mtpeft.structures import MultiTaskDataSample


def pictures(seed, shares=(0.3, 0.7, 0.0, 1.0), size=(9, 7)):
    rng = np.random.default_rng(seed)
    for share in shares:
        label = (rng.random(size) < share).astype(np.int64)
        yield np.clip(0.4 * label + 0.6 * rng.random(size), 0, 1).astype(np.float32), label


def even(pictures):
    """Means of precision and recall, 0 where there is nothing; F1 at 15 thresholds."""
    scores = []
    for t in np.linspace(0.2, 0.9, 15):
        rows = []
        for prob, label in pictures:
            guess, truth = prob > t, label > 0
            hits = (guess & truth).sum()
            rows.append((hits / (guess.sum() + 1e-12), hits / (truth.sum() + 1e-12)))
        p, r = np.mean(rows, 0)
        scores.append(2 * p * r / (p + r + 1e-12))
    return 100 * max(scores)


def pooled(pictures):
    """All pixels, and probabilities that pass a sigmoid once more."""
    best = 0.0
    for t in torch.arange(0.05, 1, 0.05):
        hits = claimed = actual = 0
        for prob, label in pictures:
            guess, truth = torch.from_numpy(prob).sigmoid() >= t, torch.from_numpy(label)
            hits += int((guess * truth).sum())
            claimed, actual = claimed + int(guess.sum()), actual + int(truth.sum())
        if hits:
            p, r = hits / claimed, hits / actual
            best = max(best, 1.3 * p * r / (0.3 * p + r))
    return 100 * best


def figures(pictures, f_measure):
    every = [(torch.from_numpy(p), torch.from_numpy(y)) for p, y in pictures]
    stats = pool([saliency_update(p, y, torch.ones_like(y).bool()) for p, y in every])
    return saliency_compute(stats, f_measure)


@pytest.mark.parametrize('seed', range(3))
def test_three_figures_are_called_max_f(seed):
    shown = list(pictures(seed))
    found = {name: figures(shown, name) for name in ('mean', 'even', 'pooled')}
    assert found['even']['maxF'] == pytest.approx(even(shown))
    assert found['pooled']['maxF'] == pytest.approx(pooled(shown))
    assert len({round(f['maxF'], 3) for f in found.values()}) == 3
    assert len({f['mIoU'] for f in found.values()}) == 1


def test_a_picture_with_nothing_to_find():
    """Right by the mean, wrong by the released code's."""
    nothing = [(np.full((2, 2), 0.1, np.float32), np.zeros((2, 2), np.int64))]
    found = [figures(nothing, name)['maxF'] for name in ('mean', 'even', 'pooled')]
    assert found == [pytest.approx(100), 0, 0]


def test_metrics_take_the_options():
    sample = MultiTaskDataSample()
    for name in ('sal', 'edge'):
        label = torch.zeros(1, 24, 24, dtype=torch.int64)
        label[:, :, 10:12] = 1
        sample.set_gt(name, label)
        sample.set_pred(name, torch.where(label.roll(1, -1) > 0, 0.8, 0.1))
    found = {}
    for f_measure in ('mean', 'even', 'pooled'):
        metric = METRICS.build(dict(type='SaliencyMetric', task='sal', f_measure=f_measure))
        metric.process(None, [sample])
        found[f_measure] = metric.evaluate(1)['sal/maxF']
    assert found == pytest.approx(dict(mean=50, even=50, pooled=50))
    metric = METRICS.build(
        dict(type='EdgeMetric', task='edge', counting='dilated', max_dist=0.03, thresholds=9)
    )
    metric.process(None, [sample])
    assert metric.evaluate(1)['edge/odsF'] == 100
    for options, match in ((dict(counting='dilate'), 'counting'),
                           (dict(counting='dilated', exact=False), 'matches none')):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            METRICS.build(dict(type='EdgeMetric', task='edge', **options))
    with pytest.raises(ValueError, match='f_measure'):
        METRICS.build(dict(type='SaliencyMetric', task='sal', f_measure='max'))


def grown(mask, kernel):
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def oracle(pictures, thresholds, share):
    """Dilation with scikit-image's disk; pooled counts, and the mean of pictures' own best."""

    def f(claimed, hits, actual, found):
        p = hits / claimed if claimed else 0.0
        r = found / actual if actual else 1.0
        return 2 * p * r / (p + r) if p + r else 0.0

    counts = np.zeros((len(pictures), len(thresholds), 4))
    for i, (prob, label) in enumerate(pictures):
        radius = max(1, round(share * float(np.hypot(*label.shape))))
        kernel = disk(radius)
        for k, t in enumerate(thresholds):
            guess, truth = prob >= t, label > 0
            counts[i, k] = [guess.sum(), (guess & grown(truth, kernel)).sum(),
                            truth.sum(), (truth & grown(guess, kernel)).sum()]  # fmt: skip
    ods = max(f(*counts[:, k].sum(0)) for k in range(len(thresholds)))
    own = [max(1.0 if c[0] == c[2] == 0 else f(*c) for c in rows) for rows in counts]
    return dict(odsF=100 * ods, oisF=100 * np.mean(own))


@pytest.mark.parametrize('share', [0.01, 0.05, 0.1])
@pytest.mark.parametrize('seed', range(3))
def test_dilated_edges(seed, share):
    shown = list(pictures(seed, shares=(0.05, 0.2, 0.0), size=(21, 30)))
    thresholds = np.linspace(0, 1, 21)
    stats = [
        dilated_edge_update(torch.from_numpy(p), torch.from_numpy(y), torch.ones(y.shape).bool(),
                            thresholds, share)
        for p, y in shown
    ]  # fmt: skip
    assert dilated_edge_compute(pool(stats)) == pytest.approx(oracle(shown, thresholds, share))


def test_thick_predictions_cost_nothing_within_the_tolerance():
    label = torch.zeros(40, 40, dtype=torch.int64)
    label[:, 20] = 1
    thick = torch.zeros(40, 40)
    thick[:, 18:23] = 0.9
    everywhere = torch.ones_like(label).bool()
    stats = dilated_edge_update(thick, label, everywhere, [0.5], 2 / np.hypot(40, 40))
    assert dilated_edge_compute(pool([stats])) == dict(odsF=100, oisF=100)
    empty = dilated_edge_update(thick, label * 0, everywhere, [0.5], 0.01)
    assert dilated_edge_compute(pool([empty])) == {}
