"""Saliency figures against a plain loop over scikit-learn's scores."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score, precision_score, recall_score

from mtpeft.evaluation.functional import pool, saliency_compute, saliency_update


def _oracle(pictures):
    thresholds = np.linspace(0.2, 0.9, 15)
    scores = np.zeros((len(pictures), 3, 15))
    for i, (prob, label) in enumerate(pictures):
        keep = label != 255
        truth = label[keep]
        for t, threshold in enumerate(thresholds):
            guess = (prob[keep] > threshold).astype(int)
            empty = 1 if truth.sum() + guess.sum() == 0 else 0
            for s, score in enumerate((jaccard_score, precision_score, recall_score)):
                scores[i, s, t] = score(truth, guess, zero_division=empty)
    jaccard, precision, recall = scores.mean(0)
    f = 1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-12)
    return 100 * jaccard.max(), 100 * f.max()


def _figures(pictures):
    tensors = [(torch.from_numpy(p), torch.from_numpy(y)) for p, y in pictures]
    return saliency_compute(pool([saliency_update(p, y, y != 255) for p, y in tensors]))


def _random(rng, size, positives):
    label = (rng.random(size) < positives).astype(np.int64)
    label[rng.random(size) < 0.1] = 255
    label[0, 0] = 0
    noisy = 0.5 * (label == 1) + 0.6 * rng.random(size)
    return np.clip(noisy, 0, 1).astype(np.float32), label


@pytest.mark.parametrize('seed', range(3))
def test_agrees_with_a_loop_over_pictures_and_thresholds(seed):
    rng = np.random.default_rng(seed)
    pictures = [_random(rng, (6, 9), p) for p in (0.3, 0.7, 0.0, 1.0)]
    figures = _figures(pictures)
    miou, max_f = _oracle(pictures)
    assert figures['mIoU'] == pytest.approx(miou)
    assert figures['maxF'] == pytest.approx(max_f)


@pytest.mark.parametrize(
    'label, prob, expected',
    [(0, 0.1, 100), (0, 0.95, 0), (1, 0.1, 0), (1, 0.95, 100), (1, 0.2, 0), (1, 0.21, 100)],
)
def test_one_pixel(label, prob, expected):
    picture = (np.array([[prob]]), np.array([[label]]))
    figures = _figures([picture])
    assert figures == pytest.approx(dict(mIoU=expected, maxF=expected))


def test_the_best_threshold_is_one_for_the_set_and_not_one_a_picture():
    label = np.array([[1, 0]])
    low, high = np.array([[0.4, 0.3]]), np.array([[0.85, 0.7]])
    # Alone each picture has a perfect threshold; together none is perfect for both.
    assert _figures([(low, label)])['mIoU'] == _figures([(high, label)])['mIoU'] == 100
    assert _figures([(low, label), (high, label)])['mIoU'] == pytest.approx(75)
