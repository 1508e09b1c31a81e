"""Maps brought to another size in strips are those of torch in one piece."""

import pytest
import torch
import torch.nn.functional as F

from mtpeft.models.prediction.strips import Resizing


@pytest.mark.parametrize('limit', [1, 300, 10**9])
@pytest.mark.parametrize('target', [(7, 9), (29, 40), (3, 4), (7, 21), (20, 9), (1, 1)])
@pytest.mark.parametrize('cuts', [(7,), (1, 2, 4), (1,) * 7])
def test_strips_are_the_whole_map(target, cuts, limit):
    x = torch.randn(2, 3, 7, 9)
    resizing, rows = Resizing((7, 9), target, limit), []
    for strip in x.split(cuts, 2):
        rows += list(resizing.push(strip))
    expected = F.interpolate(x, target, mode='bilinear', align_corners=False)
    torch.testing.assert_close(torch.cat(rows, 2), expected, rtol=1e-5, atol=1e-5)


def test_no_more_is_held_than_is_needed():
    x = torch.randn(1, 4, 256, 32)
    resizing, held, largest = Resizing((256, 32), (512, 64), 1024), [], 0
    for strip in x.split(8, 2):
        for rows in resizing.push(strip):
            largest = max(largest, rows.numel())
        held.append(resizing._pending.shape[2])
    assert largest <= 1024 and max(held) <= 8 + 4
