"""Every adapter, shared stream and lanes, is one graph for torch.compile, without a break."""

import pytest
import torch
from helpers.adapter_grid import TASKS, methods, stir
from helpers.backbones import TINY

from mtpeft.models import AdapterBackbone
from mtpeft.utils.compiling import OLDEST_TORCH, traces_lanes

pytestmark = pytest.mark.skipif(
    not traces_lanes(), reason=f'torch {OLDEST_TORCH} or newer compiles lanes'
)

LANES = ['proj', 'fc1', 'fc2']


def trios():
    """The first variant of each adapter, three to a block, with each strategy in turn."""
    each = {cfg['type']: cfg for cfg in reversed(methods())}
    # the last layer of a block sees a map, which a kernel needs
    names = sorted(each, key=lambda name: (name == 'TADFormer', name))
    for turn, start in enumerate(range(0, len(names), 3)):
        trio = names[start : start + 3]
        strategy = ('vmap', 'loop', 'fold')[turn % 3]
        yield pytest.param([each[n] for n in trio], strategy, id='-'.join([*trio, strategy]))


def build(cfgs, **options):
    torch.manual_seed(0)
    lanes = zip(cfgs, LANES[-len(cfgs) :], strict=True)
    net = AdapterBackbone(
        dict(TINY['timm Swin'], depths=(2,), num_heads=(1,), out_indices=(0,), drop_path_rate=0.3),
        plugins=[
            dict(cfg=cfgs[0], targets=['qkv']),
            *(dict(cfg=cfg, targets=[name], lanes='task') for cfg, name in lanes),
        ],
        **options,
    )
    stir(net, 0.1)
    return net.double()


def check(net, **request):
    """One graph gives what the network gave before, dropout and dropped paths included."""
    x = torch.randn(2, 3, 28, 28).double()
    torch.manual_seed(1)
    expected = net(x, **request)
    torch._dynamo.reset()
    # fullgraph raises at a break; this backend draws as the network does
    net.compile(backend='eager', fullgraph=True)
    torch.manual_seed(1)
    torch.testing.assert_close(net(x, **request), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(('cfgs', 'strategy'), trios())
def test_no_break_in_training(cfgs, strategy):
    check(build(cfgs, tasks=TASKS, lane_strategy=strategy).train())


def test_no_break_in_one_task_or_inference():
    lora = dict(type='LoRA', rank=2, dropout=0.1)
    check(build([lora], tasks=TASKS[:1]).train())
    with torch.no_grad():
        check(build([lora], tasks=TASKS).eval(), tasks=[TASKS[1]])
