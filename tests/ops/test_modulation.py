"""Sine, low-pass and effective rank, against scipy and numpy."""

import numpy as np
import pytest
import torch
from helpers.formed import Doubled
from scipy.ndimage import gaussian_filter

from mtpeft.adapters.frequencies import effective_rank
from mtpeft.ops.modulation import modulate

# omega -> effective rank of the sine of a 384 x 384 product of rank 64 and std .01 (published
# nowhere; computed for the design of this library)
EFFECTIVE_RANKS = {1: 61, 20: 71, 50: 112, 100: 209, 200: 304}


def product_of_rank(rank, size=384, std=0.01):
    m = torch.randn(size, rank, dtype=torch.float64) @ torch.randn(rank, size, dtype=torch.float64)
    return std * m / m.std()


def numpy_effective_rank(m):
    sigma = np.linalg.svd(m.numpy(), compute_uv=False)
    p = sigma / sigma.sum()
    p = p[p > 0]
    return np.exp(-(p * np.log(p)).sum())


@pytest.mark.parametrize('shape', [(2, 9, 12), (1, 40, 7), (3, 2, 5), (1, 1, 1), (2, 6, 8, 3, 3)])
def test_the_low_pass_is_scipys_gaussian(shape):
    """Over (out, in), each tap of a kernel for itself, borders repeated."""
    base = torch.randn(shape, dtype=torch.float64)
    omega = torch.linspace(1, 3, shape[0], dtype=torch.float64)
    found = modulate(base, omega, gain=0.7)
    sine = np.sin(omega.view(-1, *[1] * (len(shape) - 1)).numpy() * base.numpy())
    expected = 0.7 * gaussian_filter(sine, sigma=1, radius=3, mode='nearest', axes=(1, 2))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_one_base_serves_every_frequency_and_options_take_parts_out():
    base, omega = torch.randn(1, 8, 6), torch.tensor([2.0, 5.0])
    plain = modulate(base, omega, 1.0, lowpass=False)
    torch.testing.assert_close(plain, torch.stack([(2 * base[0]).sin(), (5 * base[0]).sin()]))
    linear = modulate(base, omega, 0.5, sine=False, lowpass=False)
    torch.testing.assert_close(linear, torch.stack([base[0], 2.5 * base[0]]))
    blurred = modulate(base, omega, 1.0, sine=False)
    torch.testing.assert_close(blurred[1], 2.5 * blurred[0])
    assert not torch.allclose(blurred[0], linear[0])


def test_the_gradient_is_that_of_the_formula():
    base = torch.randn(2, 5, 9, dtype=torch.float64, requires_grad=True)
    omega = torch.tensor([1.0, 4.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, w: modulate(m, w, 0.3), (base, omega))


def test_large_angles_keep_their_digits_under_autocast():
    base, omega = torch.randn(1, 16, 16), torch.tensor([200.0])
    with torch.autocast('cpu', torch.bfloat16):
        low = modulate(base, omega, 1.0)
    torch.testing.assert_close(low, modulate(base, omega, 1.0), rtol=0, atol=0)
    half = modulate(base.bfloat16(), omega, 1.0)
    assert half.dtype == torch.bfloat16
    exact = modulate(base.bfloat16().float(), omega, 1.0)
    torch.testing.assert_close(half.float(), exact, atol=4e-3, rtol=1e-2)


@pytest.mark.parametrize('omega, expected', EFFECTIVE_RANKS.items())
def test_effective_rank_grows_with_the_frequency(omega, expected):
    """The linear regime ends near omega x std = .5; then a sine raises the rank above 64."""
    m = (omega * product_of_rank(64)).sin()
    found = effective_rank(m).item()
    assert found == pytest.approx(numpy_effective_rank(m), rel=1e-9)
    assert found == pytest.approx(expected, rel=0.03)


def test_effective_rank_of_what_is_known():
    identity = torch.eye(4, 7)
    vector = torch.outer(torch.arange(1.0, 5), torch.arange(1.0, 8))
    stacked = torch.stack([identity, 3 * identity, vector, torch.zeros(4, 7)])
    torch.testing.assert_close(
        effective_rank(stacked), torch.tensor([4.0, 4.0, 1.0, 0.0], dtype=torch.float64)
    )


def test_the_order_of_operations_matters():
    """The sine of the fused matrix has a high rank; a product of sines keeps the factors' rank."""
    a, b = (torch.randn(shape, dtype=torch.float64) for shape in ((8, 96), (96, 8)))
    fused = effective_rank((50 * 0.01 * (b @ a) / (b @ a).std()).sin()).item()
    factors = b.sin() @ a.sin()
    assert torch.linalg.matrix_rank(factors) == 8
    assert effective_rank(factors).item() <= 8 < 2 * 8 < fused
    angle = 3 * (b @ a)
    assert not torch.allclose(angle.sin(), (3 * b).sin() @ a.sin(), atol=0.1)


def test_weights_are_kept_only_while_nothing_is_trained():
    module = Doubled().eval()
    for _ in range(2):
        module()
    assert module.times == 2  # gradients are on: they need a graph of their own
    with torch.no_grad():
        for _ in range(3):
            module()
        assert module.times == 3
        module.weight.mul_(2)
        assert torch.equal(module(), torch.full((3,), 4.0)) and module.times == 4
        module.load_state_dict(dict(weight=torch.zeros(3)))
        assert torch.equal(module(), torch.zeros(3)) and module.times == 5
        module.weight.data.fill_(1.0)  # as an EMA hook swaps weights, before it sets the mode
        module.eval()
        assert torch.equal(module(), torch.full((3,), 2.0))
        assert module.double()().dtype == torch.float64
        module.train()
        before = module.times
        module(), module()
        assert module.times == before + 2


def test_a_graph_makes_weights_at_every_pass():
    module = Doubled().eval()
    torch._dynamo.reset()
    compiled = torch.compile(module, backend='eager', fullgraph=True)
    with torch.no_grad():
        module()  # kept by the module, and not what the graph returns
        for value in (1.0, 3.0):
            module.weight.fill_(value)
            assert torch.equal(compiled(), torch.full((3,), 2 * value))
