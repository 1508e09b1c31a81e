"""Every adapter, shared stream and lanes, is one graph for torch.compile, without a break."""

from inspect import signature

import pytest
import torch
from helpers.adapter_grid import TASKS, methods, stir
from helpers.backbones import TINY

from mtpeft.models import AdapterBackbone
from mtpeft.registry import ADAPTERS

LANES = ['proj', 'fc1', 'fc2']


def trios():
    """The first variant of each adapter, three to a block."""
    each = {cfg['type']: cfg for cfg in reversed(methods())}
    # the last layer of a block sees a map, which a kernel needs
    names = sorted(each, key=lambda name: (name == 'TADFormer', name))
    each = [dict(each[name], **undropped(name)) for name in names]
    return [each[start : start + 3] for start in range(0, len(each), 3)]


def undropped(name):
    return dict(dropout=0.0) if 'dropout' in signature(ADAPTERS.get(name)).parameters else {}


@pytest.mark.parametrize('cfgs', trios(), ids=lambda cfgs: '-'.join(c['type'] for c in cfgs))
def test_no_break_through_a_block(cfgs):
    torch.manual_seed(0)
    lanes = zip(cfgs, LANES[-len(cfgs) :], strict=True)
    net = AdapterBackbone(
        dict(TINY['timm Swin'], depths=(1,), num_heads=(1,), drop_path_rate=0.0, out_indices=(0,)),
        tasks=TASKS,
        plugins=[
            dict(cfg=cfgs[0], targets=['qkv']),
            *(dict(cfg=cfg, targets=[name], lanes='task') for cfg, name in lanes),
        ],
    ).double()
    stir(net, 0.1)
    x = torch.randn(1, 3, 28, 28).double()
    expected = net(x)
    torch._dynamo.reset()
    # fullgraph raises at a break
    net.compile(backend='eager', fullgraph=True)
    torch.testing.assert_close(net(x), expected, rtol=1e-6, atol=1e-8)
