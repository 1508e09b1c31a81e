"""Confusion matrix, IoU and accuracy against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score
from torchmetrics.classification import MulticlassJaccardIndex

from mtpeft.evaluation.functional import (
    class_iou,
    pool,
    segmentation_compute,
    segmentation_update,
)


def _pictures(num_classes: int, unused: int | None, seed: int = 0):
    rng = np.random.default_rng(seed)
    classes = [c for c in range(num_classes) if c != unused]
    for size in ((5, 7), (1, 1), (8, 3)):
        label = rng.choice([*classes, 255], size)
        label[0, 0] = classes[0]
        yield torch.from_numpy(rng.choice(classes, size)), torch.from_numpy(label)


@pytest.mark.parametrize('num_classes, unused', [(2, None), (5, None), (5, 2), (40, 39)])
def test_pooled_confusion_agrees_with_scikit_learn(num_classes, unused):
    pairs = list(_pictures(num_classes, unused))
    pooled = pool([segmentation_update(p, y, y != 255, num_classes) for p, y in pairs])
    truth = torch.cat([y[y != 255] for _, y in pairs]).numpy()
    guess = torch.cat([p[y != 255] for p, y in pairs]).numpy()
    labels = list(range(num_classes))

    expected = confusion_matrix(truth, guess, labels=labels)
    assert np.array_equal(pooled['confusion'].numpy(), expected)

    figures = segmentation_compute(pooled)
    seen = sorted(set(truth) | set(guess))
    mean = jaccard_score(truth, guess, labels=seen, average='macro', zero_division=0)
    assert figures['mIoU'] == pytest.approx(100 * mean)
    assert figures['aAcc'] == pytest.approx(100 * accuracy_score(truth, guess))

    zero = segmentation_compute(pooled, absent='zero')['mIoU']
    every = jaccard_score(truth, guess, labels=labels, average='macro', zero_division=0)
    assert zero == pytest.approx(100 * every)
    if unused is not None:
        assert zero < figures['mIoU']
        assert class_iou(pooled['confusion'])[unused].isnan()


def test_mean_iou_agrees_with_torchmetrics():
    reference = MulticlassJaccardIndex(num_classes=6, ignore_index=255)
    statistics = []
    for pred, label in _pictures(6, None, seed=3):
        reference.update(pred.flatten(), label.flatten())
        statistics.append(segmentation_update(pred, label, label != 255, 6))
    # This set shows every class, where all conventions about absent classes agree.
    assert (pool(statistics)['confusion'].sum(0) > 0).all()
    mean = segmentation_compute(pool(statistics))['mIoU']
    assert mean == pytest.approx(100 * float(reference.compute()))


def test_a_class_that_is_only_predicted_counts_zero():
    y, p = torch.zeros(4).long(), torch.tensor([0, 0, 0, 1])
    pooled = pool([segmentation_update(p, y, y == y, 3)])
    assert segmentation_compute(pooled)['mIoU'] == pytest.approx((75 + 0) / 2)


@pytest.mark.parametrize('label, pred', [(3, 0), (-1, 0), (0, 3)])
def test_values_beyond_the_classes_are_refused(label, pred):
    y, p = torch.tensor([0, label]), torch.tensor([0, pred])
    with pytest.raises(ValueError, match=r'classes in 0\.\.2'):
        segmentation_update(p, y, y == y, 3)


def test_unknown_absent_names_the_choices():
    confusion = dict(confusion=torch.eye(2).long())
    with pytest.raises(ValueError, match="'skip'"):
        segmentation_compute(confusion, absent='skipp')


def test_no_valid_pixel_is_an_error_and_not_a_number():
    with pytest.raises(ValueError, match='at least one valid pixel'):
        segmentation_compute(dict(confusion=torch.zeros(3, 3).long()))
