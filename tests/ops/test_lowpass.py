"""The Gaussian low-pass of weights."""

import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from mtpeft.ops.lowpass import RADIUS, SIGMA, smooth

SHAPES = [(2, 5, 7), (3, 64, 65), (2, 130, 3), (2, 1, 2), (2, 70, 6, 3, 3), (2, 9, 200, 1, 1)]


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('dim', [1, 2])
def test_equals_scipy(shape, dim):
    x = torch.randn(shape, dtype=torch.float64)
    expected = gaussian_filter1d(x.numpy(), SIGMA, dim, mode='nearest', radius=RADIUS)
    torch.testing.assert_close(smooth(x, dim), torch.from_numpy(expected))
