"""Losses against loops over pixels."""

import math

import pytest
import torch
from tiny_models import random_label

from mtpeft.models.build import build_module
from mtpeft.registry import MODELS
from mtpeft.tasks import DenseTask, build_tasks

NAMES = ('semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge')


def softplus(x):
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def unit(v):
    norm = math.sqrt(sum(x * x for x in v))
    return [x / norm for x in v]


def loop(name, logits, label, valid):
    """The definitions of the protocol, a pixel at a time, in Python floats."""
    batch, _, height, width = logits.shape
    pixels = [
        (logits[b, :, i, j].tolist(), label[b, :, i, j].tolist())
        for b in range(batch) for i in range(height) for j in range(width) if valid[b, i, j]
    ]  # fmt: skip
    if name in ('semseg', 'human_parts'):
        terms = [math.log(sum(math.exp(x) for x in z)) - z[int(y[0])] for z, y in pixels]
    elif name in ('sal', 'edge'):
        w = 0.95 if name == 'edge' else sum(y[0] == 0 for _, y in pixels) / len(pixels)
        terms = [w * softplus(-z[0]) if y[0] == 1 else (1 - w) * softplus(z[0]) for z, y in pixels]
    elif name == 'depth':
        terms = [abs(z[0] - y[0]) for z, y in pixels]
    else:
        terms = [sum(abs(a - b) for a, b in zip(unit(z), unit(y), strict=True)) / 3
                 for z, y in pixels]  # fmt: skip
    return sum(terms) / len(terms)


def case(name, size=(5, 7), batch=3, seed=0):
    task = build_tasks([name])[name]
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, task.channels, *size, generator=generator)
    label = torch.stack([random_label(task, size, generator) for _ in range(batch)])
    return task, logits, label, task.valid(label, channel_axis=1)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('batch', [1, 3])
def test_equals_the_definition(name, batch):
    task, logits, label, valid = case(name, batch=batch)
    assert 0 < valid.sum() < valid.numel()
    loss = build_module(task.loss)(logits, label, valid)
    assert loss.ndim == 0
    assert loss.item() == pytest.approx(loop(name, logits, label, valid), rel=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_nothing_valid_is_zero_and_connected(name):
    task, logits, label, valid = case(name)
    logits.requires_grad_()
    loss = build_module(task.loss)(logits, label, torch.zeros_like(valid))
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.eq(0).all()


@pytest.mark.parametrize('name', NAMES)
def test_invalid_pixels_have_no_gradient_whatever_they_hold(name):
    task, logits, label, valid = case(name)
    logits.requires_grad_()
    loss = build_module(task.loss)
    wanted = loss(logits, label, valid)
    garbage = float('nan') if label.is_floating_point() else 250
    other = torch.where(valid.unsqueeze(1), label, torch.full_like(label, garbage))
    value = loss(logits, other, valid)
    value.backward()
    assert value == wanted
    assert logits.grad.isfinite().all()
    gone = (~valid).unsqueeze(1).expand_as(logits.grad)
    assert logits.grad[gone].eq(0).all() and logits.grad[~gone].ne(0).any()


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_is_computed_in_float32_under_autocast(name, dtype):
    task, logits, label, valid = case(name)
    loss = build_module(task.loss)
    half = logits.to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(half, label, valid)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, loss(half.float(), label, valid), rtol=0, atol=0)


@pytest.mark.parametrize('name', NAMES)
def test_wrong_shapes_are_refused(name):
    task, logits, label, valid = case(name)
    loss = build_module(task.loss)
    with pytest.raises(ValueError, match='need a label'):
        loss(logits, label[..., :-1], valid)
    with pytest.raises(ValueError, match='need a label'):
        loss(logits, torch.cat([label, label], 1), valid)
    with pytest.raises(ValueError, match='a mask'):
        loss(logits, label, valid[:1])


def test_saliency_without_negatives_is_finite():
    task, logits, _, valid = case('sal')
    ones = torch.ones(logits.shape, dtype=torch.long)
    assert build_module(task.loss)(logits, ones, valid).isfinite()


def test_vector_values_mean_over_elements():
    flow = DenseTask(
        name='flow', kind='values', channels=2, loss=dict(type='MaskedL1Loss'), metric={},
        headline='epe', lower_is_better=True,
    )  # fmt: skip
    label = torch.tensor([[1.0, 3.0], [0.0, 0.0]]).T.view(1, 2, 1, 2)
    loss = build_module(flow.loss)(torch.zeros(1, 2, 1, 2), label, flow.valid(label, 1))
    assert loss.item() == 2.0


@pytest.mark.parametrize('weight', [0, 1, -0.2, 3])
def test_positive_weight_out_of_range(weight):
    with pytest.raises(ValueError, match='positive_weight'):
        MODELS.build(dict(type='BalancedBCELoss', positive_weight=weight))
