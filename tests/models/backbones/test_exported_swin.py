"""What a Swin computes otherwise while a graph is exported is the same."""

import pytest
import torch
from helpers.backbones import tiny

from mtpeft.models.backbones.families import fitted_shift

SIZES = [(14, 14), (7, 21), (21, 7), (14, 28)]


@pytest.mark.parametrize('family', ['timm Swin', 'timm Swin V2'])
@pytest.mark.parametrize('size', SIZES)
def test_masks_of_shifted_windows(family, size, monkeypatch):
    block = tiny(family).network.layers[0].blocks[1]
    x = torch.zeros(1, *size, 8)  # padded to windows, as timm calls it
    wanted = block.get_attn_mask(x)
    monkeypatch.setattr(fitted_shift, 'exported', lambda: True)
    found = block.get_attn_mask(x)
    assert wanted is not None and (wanted < 0).any()
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize('size', SIZES)
def test_windows_put_back(size, monkeypatch):
    attention = tiny('mmseg Swin').network.stages[0].blocks[1].attn
    x = torch.randn(3, *size, 8)
    windows = attention.window_partition(x)
    assert torch.equal(attention.window_reverse(windows, *size), x)
    monkeypatch.setattr(fitted_shift, 'exported', lambda: True)
    assert torch.equal(attention.window_reverse(windows, *size), x)
