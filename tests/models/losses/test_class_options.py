"""Weights of classes, smoothed labels, Dice."""

import math

import pytest
import torch
import torch.nn.functional as F
from models.tiny_models import tiny_model

from mtpeft.models.losses import DiceLoss, PixelCrossEntropyLoss


def case(channels=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, channels, 5, 6, generator=generator)
    label = torch.randint(max(2, channels), (2, 1, 5, 6), generator=generator)
    valid = torch.rand(2, 5, 6, generator=generator) < 0.7
    return logits, label.masked_fill(~valid[:, None], 255), valid


@pytest.mark.parametrize('weight', [None, [0.5, 1, 2, 4], [0.01, 0.02, 0.0, 0.01]])
@pytest.mark.parametrize('smoothing', [0.0, 0.1, 1.0])
def test_cross_entropy_is_that_of_torch(weight, smoothing):
    logits, label, valid = case()
    expected = F.cross_entropy(
        logits, label[:, 0], None if weight is None else torch.tensor(weight, dtype=torch.float),
        ignore_index=255, label_smoothing=smoothing,
    )  # fmt: skip
    loss = PixelCrossEntropyLoss(class_weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(loss(logits, label, valid), expected)


def test_a_weighted_loss_without_a_label_is_0_and_connected():
    logits, label, valid = case()
    for loss in (PixelCrossEntropyLoss(class_weight=[1, 2, 3, 4]), DiceLoss()):
        value = loss(logits.requires_grad_(), label, torch.zeros_like(valid))
        assert value == 0
        value.backward()
        assert not logits.grad.any()


@pytest.mark.parametrize('channels', [1, 2, 4])
@pytest.mark.parametrize('smooth', [1.0, 0.01])
def test_dice_is_its_definition(channels, smooth):
    logits, label, valid = case(channels)
    total = 0.0
    for c in range(channels):
        both = squares = number = 0.0
        for b, i, j in valid.nonzero().tolist():
            z = logits[b, :, i, j].tolist()
            if channels == 1:
                p, y = 1 / (1 + math.exp(-z[0])), int(label[b, 0, i, j])
            else:
                p = math.exp(z[c]) / sum(map(math.exp, z))
                y = int(label[b, 0, i, j] == c)
            both, squares, number = both + p * y, squares + p * p, number + y
        total += (2 * both + smooth) / (squares + number + smooth)
    found = DiceLoss(smooth)(logits, label, valid)
    assert found.item() == pytest.approx(1 - total / channels, rel=1e-5)


@pytest.mark.parametrize(('options', 'words'), [
    (dict(class_weight=[1, -1]), 'at least 0'),
    (dict(class_weight=[0, 0]), 'at least 0'),
    (dict(label_smoothing=1.5), 'between 0 and 1'),
])  # fmt: skip
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        PixelCrossEntropyLoss(**options)


@pytest.mark.parametrize('kind', ['PixelCrossEntropyLoss', 'mmseg.CrossEntropyLoss'])
def test_weights_of_other_classes_are_refused_when_the_model_is_built(kind):
    loss = dict(type=kind, class_weight=[1.0, 2.0])
    with pytest.raises(ValueError, match="'semseg' has 5 classes, and its loss 2 weights"):
        tiny_model(tasks=dict(semseg=dict(num_classes=5, loss=loss)))
