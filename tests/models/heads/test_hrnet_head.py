"""HRNet head."""

import numpy as np
import pytest
import torch

from mtpeft.models import HRNetHead


def bilinear(x, height, width):
    """Half-pixel bilinear interpolation (no align_corners), written out."""
    out = np.zeros((*x.shape[:-2], height, width))
    rows, columns = x.shape[-2:]
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
            z = min(max((j + 0.5) * columns / width - 0.5, 0), columns - 1)
            a, b = int(y), int(z)
            c, d = min(a + 1, rows - 1), min(b + 1, columns - 1)
            u, v = y - a, z - b
            out[..., i, j] = (
                (1 - u) * ((1 - v) * x[..., a, b] + v * x[..., a, d])
                + u * ((1 - v) * x[..., c, b] + v * x[..., c, d])
            )  # fmt: skip
    return out


def test_equals_numpy():
    torch.manual_seed(0)
    head = HRNetHead((2, 3), channels=5, out_channels=4).eval()
    head.norm.running_mean.uniform_(-1, 1)
    head.norm.running_var.uniform_(0.5, 2)
    levels = torch.rand(2, 2, 4, 6), torch.rand(2, 3, 2, 3)
    with torch.no_grad():
        got = head(levels).numpy()
    state = {k: v.numpy() for k, v in head.state_dict().items()}
    x = np.concatenate([levels[0].numpy(), bilinear(levels[1].numpy(), 4, 6)], 1)
    x = np.einsum('oc,bchw->bohw', state['conv1.weight'][:, :, 0, 0], x)
    x = x + state['conv1.bias'][:, None, None]
    scale = state['norm.weight'] / np.sqrt(state['norm.running_var'] + 1e-5)
    x = (x - state['norm.running_mean'][:, None, None]) * scale[:, None, None]
    x = np.maximum(x + state['norm.bias'][:, None, None], 0)
    x = np.einsum('oc,bchw->bohw', state['conv2.weight'][:, :, 0, 0], x)
    np.testing.assert_allclose(got, x + state['conv2.bias'][:, None, None], atol=1e-5)


def test_published_count():
    outputs = (21, 7, 1, 3)
    heads = [HRNetHead(out_channels=n) for n in outputs]
    assert sum(p.numel() for head in heads for p in head.parameters()) == 1_213_952


def test_largest_level_may_come_anywhere_and_any_number():
    head = HRNetHead((2, 3, 4), out_channels=1)
    levels = [torch.rand(1, c, s, s) for c, s in ((2, 2), (3, 7), (4, 3))]
    assert head(levels).shape == (1, 1, 7, 7)
    with pytest.raises(ValueError, match='Expected 3 levels'):
        head(levels[:2])
