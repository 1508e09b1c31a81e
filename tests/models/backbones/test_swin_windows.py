"""timm's and mmseg's Swin are the same function here, at any size of the map."""

from functools import partial

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.backbones import TASKS, TINY

from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.backbones.swin_keys import timm_to_mmseg_swin

PLUGINS = [
    dict(cfg=dict(type='MTLoRA', rank=2), targets=['qkv', 'reduction']),
    dict(
        cfg=dict(type='MTLoRA', rank=2, task_rank=1), targets=['proj', 'fc1', 'fc2'], lanes='task'
    ),
]


def pair():
    timm_swin = AdapterBackbone(TINY['timm Swin'], plugins=PLUGINS, tasks=TASKS).eval()
    mmseg_swin = AdapterBackbone(TINY['mmseg Swin'], plugins=PLUGINS, tasks=TASKS).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in timm_swin.network.parameters():
            parameter.normal_(0, 0.2)
    stir(timm_swin, 0.2)
    state = timm_to_mmseg_swin(timm_swin.network.state_dict())
    result = mmseg_swin.network.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert all(k.startswith('norm') or 'position_index' in k for k in result.missing_keys)
    return timm_swin, mmseg_swin


@pytest.mark.parametrize('size', [(224, 224), (448, 448), (224, 448)])
def test_timm_and_mmseg_agree(size):
    timm_swin, mmseg_swin = pair()
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        ours, theirs = timm_swin(x), mmseg_swin(x)
    for task in TASKS:
        for a, b in zip(ours[task], theirs[task], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize('which', [0, 1])
def test_shift_follows_the_map(which):
    model = pair()[which]
    for size, shifted in (
        (224, [True, True, True, False]),
        (448, [True] * 4),
        (56, [True] + [False] * 3),
    ):
        found = []
        for stage in model.family.stages:
            block = model.network.get_submodule(stage.blocks[1])
            note = partial(_note_shift, found, block if which == 0 else block.attn)
            block.register_forward_hook(note)
        model(torch.zeros(1, 3, size, size))
        assert [shift in ((3, 3), 3) for shift in found[-4:]] == shifted
        assert [shift in ((0, 0), 0) for shift in found[-4:]] == [not s for s in shifted]


def _note_shift(found, windows, *_):
    """A hook: the shift of the pass that is made now."""
    found.append(windows.shift_size)
