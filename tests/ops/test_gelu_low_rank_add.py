"""GELU in runs of rows before a low-rank product."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtpeft.ops import gelu_low_rank_add as module
from mtpeft.ops.gelu_low_rank_add import LowRankSum, gelu_low_rank_add, made, takes_less


def tensors(shape=(3, 5, 6), out=4, rank=2, dtype=torch.float64):
    sizes = (*shape[:-1], out), shape, (rank, shape[-1]), (out, rank)
    return [torch.randn(size, dtype=dtype, requires_grad=True) for size in sizes]


@pytest.mark.parametrize('approximate', ['none', 'tanh'])
@pytest.mark.parametrize('run', [1, 13, 1 << 18], ids=['one row', 'two rows', 'all'])
def test_equals_the_plain_form_with_gradients(run, approximate, monkeypatch):
    monkeypatch.setattr(module, '_RUN', run)
    frozen, x, a, b = inputs = tensors()
    plain = frozen + 0.7 * F.gelu(x, approximate=approximate) @ a.T @ b.T
    upstream = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, inputs, upstream)
    out = gelu_low_rank_add(*inputs, 0.7, approximate)
    torch.testing.assert_close(out, plain)
    got = torch.autograd.grad(out, inputs, upstream)
    torch.testing.assert_close(got, expected)


def test_numeric_gradients(monkeypatch):
    monkeypatch.setattr(module, '_RUN', 13)
    assert torch.autograd.gradcheck(lambda *args: gelu_low_rank_add(*args, 0.7), tensors((4, 3)))


def test_no_rows():
    inputs = tensors((0, 6))
    out = gelu_low_rank_add(*inputs, 0.7)
    out.sum().backward()
    assert out.shape == (0, 4)
    assert torch.equal(inputs[2].grad, torch.zeros_like(inputs[2]))


def test_keeps_nothing_of_the_size_of_the_activation():
    kept = []
    frozen, x, a, b = inputs = tensors((64, 32))

    def pack(tensor):
        kept.append(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        gelu_low_rank_add(*inputs, 0.7)
    assert set(kept) <= {t.untyped_storage().data_ptr() for t in (x, a, b)}


def test_only_large_plain_gelus_are_taken_in_runs(monkeypatch):
    monkeypatch.setattr(module, '_LARGE', 100)
    large, small = torch.zeros(10, 10), torch.zeros(9, 11)
    assert takes_less(nn.GELU(), large)
    assert takes_less(nn.GELU('tanh'), large.double())
    assert not takes_less(nn.GELU(), small)
    assert not takes_less(nn.ReLU(), large)
    assert not takes_less(nn.GELU(), large.bfloat16())
    with torch.autocast('cpu', torch.bfloat16):
        assert not takes_less(nn.GELU(), large)


@pytest.mark.parametrize('run', [1, 13, 1 << 18], ids=['one row', 'two rows', 'all'])
def test_of_a_sum_that_is_not_made(run, monkeypatch):
    monkeypatch.setattr(module, '_RUN', run)
    frozen, x, a, b = tensors()
    before = tensors((3, 5, 7), out=6, rank=3)
    inputs = [frozen, a, b, *before]
    plain = (
        frozen + 0.7 * F.gelu(before[0] + 0.3 * before[1] @ before[2].T @ before[3].T) @ a.T @ b.T
    )
    upstream = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, inputs, upstream)
    unmade = LowRankSum(*before, 0.3)
    copies = [t.detach().clone() for t in inputs]
    out = gelu_low_rank_add(frozen, unmade, a, b, 0.7)
    torch.testing.assert_close(out, plain)
    torch.testing.assert_close(torch.autograd.grad(out, inputs, upstream), expected)
    # runs are written over, what they are made of is not
    assert all(map(torch.equal, inputs, copies))
    torch.testing.assert_close(gelu_low_rank_add(frozen, made(unmade), a, b, 0.7), plain)
