"""Weights that are made tile by tile are those of the formula, and so are their gradients."""

import pytest
import torch

from mtpeft.ops import tiled_modulation
from mtpeft.ops.lowpass import smooth
from mtpeft.ops.tiled_modulation import tiled_modulation as tiled

# at the ends of an axis, within it, narrower than the kernel, one entry; taps of a kernel
SHAPES = [(9, 12), (40, 7), (2, 5), (1, 1), (4, 3), (13, 30), (6, 8, 3, 3), (9, 4, 1, 1)]
TILES = [(96, 1024), (4, 9), (1, 1), (3, 27)]
OPTIONS = [(True, True), (False, True), (True, False), (False, False)]


def formula(base, omega, weight, gain, sine, lowpass):
    change = omega.view(-1, *[1] * (base.ndim - 1)) * base
    change = change.sin() if sine else change
    change = smooth(smooth(change, 1), 2) if lowpass else change
    return gain * change if weight is None else weight + gain * change


@pytest.mark.parametrize('options', OPTIONS, ids=str)
@pytest.mark.parametrize('tile', TILES, ids=str)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_equals_the_formula(shape, tile, options, monkeypatch):
    monkeypatch.setattr(tiled_modulation, '_ROWS', tile[0])
    monkeypatch.setattr(tiled_modulation, '_COLUMNS', tile[1])
    omega = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64, requires_grad=True)
    frozen = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    for count, weight in ((1, None), (3, frozen)):
        base = torch.randn(count, *shape, dtype=torch.float64, requires_grad=True)
        inputs = [base, omega] if weight is None else [base, omega, weight]
        found = tiled(base, omega, weight, 0.3, *options)
        expected = formula(base, omega, weight, 0.3, *options)
        torch.testing.assert_close(found, expected)
        upstream = torch.randn_like(expected)
        torch.testing.assert_close(
            torch.autograd.grad(found, inputs, upstream),
            torch.autograd.grad(expected, inputs, upstream),
        )


@pytest.mark.parametrize('trained', range(3))
def test_gradients_that_are_not_wanted_are_none(trained):
    tensors = [torch.randn(1, 5, 6), torch.randn(2), torch.randn(5, 6)]
    tensors[trained].requires_grad_()
    tiled(*tensors, 0.5).sum().backward()
    assert [t.grad is not None for t in tensors] == [i == trained for i in range(3)]


@pytest.mark.parametrize('order', [(0, 2, 1, 3, 4), (0, 1, 4, 2, 3), (0, 4, 3, 2, 1)], ids=str)
def test_strided_tensors_are_read_as_they_are(order):
    """Channels last among them."""
    base = torch.randn(1, 6, 5, 3, 2, dtype=torch.float64).permute(order).requires_grad_()
    weight = torch.randn(base.shape[1:][::-1], dtype=torch.float64).permute(3, 2, 1, 0)
    omega = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    expected = formula(base, omega, weight, 0.3, True, True)
    found = tiled(base, omega, weight, 0.3)
    torch.testing.assert_close(found, expected)
    upstream, inputs = torch.randn_like(expected), [base, omega]
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
    )


def test_no_matrix_is_kept_for_the_backward_pass():
    kept = []
    base, omega = torch.randn(1, 32, 16, requires_grad=True), torch.rand(4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        tiled(base, omega, torch.randn(32, 16), 0.5)
    assert sum(t.numel() for t in kept) == base.numel() + omega.numel()
