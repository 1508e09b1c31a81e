"""Lanes of a Swin pass what follows attention, which runs once for all streams."""

import pytest
import torch
from helpers.adapter_grid import stir

from mtpeft.adapters.lanes.block import LaneBlock
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.backbones.families.swin_parts import SwinParts
from mtpeft.ops import gelu_low_rank_add

TASKS = ('semseg', 'depth', 'normals')
NETWORKS = dict(
    timm=dict(type='timm.swin_tiny_patch4_window7_224', embed_dim=8, depths=(2, 2),
              num_heads=(1, 2), window_size=4, img_size=32),
    mmseg=dict(type='mmseg.SwinTransformer', embed_dims=8, depths=(2, 2), num_heads=(1, 2),
               strides=(4, 2), out_indices=(0, 1), window_size=4),
)  # fmt: skip
networks = pytest.mark.parametrize('kind', NETWORKS)


def build(kind, strategy='vmap', targets=('proj', 'fc1', 'fc2'), adapter='MTLoRA', amount=0.1,
          options=(), **network):  # fmt: skip
    torch.manual_seed(0)
    cfg = dict(type=adapter, rank=4, **(dict(task_rank=2) if adapter == 'MTLoRA' else {}))
    cfg.update(options)
    plugins = [
        dict(cfg=dict(type='LoRA', rank=4), targets=['qkv']),
        dict(cfg=cfg, targets=['proj'], lanes='task'),
        dict(cfg=cfg, targets=['fc1', 'fc2'], lanes='task'),
    ]
    if 'qkv' in targets:
        plugins = [dict(cfg=cfg, targets=list(targets), lanes='task')]
    net = AdapterBackbone(
        {**NETWORKS[kind], **network}, plugins, tasks=TASKS, lane_strategy=strategy
    )
    if amount:
        stir(net, amount)
    return net.double().eval()


def attentions(net):
    """Counts the calls of attention's dropout, which every pass of attention makes."""
    calls = []
    for lane in net.lanes.values():
        block = lane.block
        attention = block.attn if hasattr(block.attn, 'attn_drop') else block.attn.w_msa
        attention.attn_drop.register_forward_hook(lambda *_: calls.append(1))
    return calls


def levels_and_gradients(net, x, seed=1):
    levels = net(x)
    torch.manual_seed(seed)
    loss = sum((torch.randn_like(m) * m).sum() for task in TASKS for m in levels[task])
    loss.backward()
    grads = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    return levels, grads


@networks
@pytest.mark.parametrize('adapter', ['MTLoRA', 'LoRA', 'DoRA'])
@pytest.mark.parametrize('size', [(32, 32), (36, 52)], ids=str)
def test_equals_lanes_that_pass_the_whole_block(kind, adapter, size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    results = []
    for strategy in ('vmap', 'loop'):
        results.append(levels_and_gradients(build(kind, strategy, adapter=adapter), x))
    (levels, grads), (plain, plain_grads) = results
    for task in TASKS:
        for ours, theirs in zip(levels[task], plain[task], strict=True):
            torch.testing.assert_close(ours, theirs)
    assert grads.keys() == plain_grads.keys()
    torch.testing.assert_close(grads, plain_grads)


@networks
@pytest.mark.parametrize('in_turn', [True, False])
def test_in_turn_and_at_once_are_the_same(kind, in_turn, monkeypatch):
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = levels_and_gradients(build(kind, 'loop'), x)
    monkeypatch.setattr(LaneBlock, '_only_add', lambda *_: in_turn)
    got = levels_and_gradients(build(kind), x)
    torch.testing.assert_close(got, expected)


@networks
@pytest.mark.parametrize('grad', [True, False])
def test_attention_runs_once(kind, grad):
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    net = build(kind)
    calls = attentions(net)
    with torch.set_grad_enabled(grad):
        net(x)
    assert len(calls) == len(net.lanes)


@networks
def test_lanes_in_attention_pass_it_themselves(kind):
    net = build(kind, targets=('qkv', 'proj'))
    calls = attentions(net)
    net(torch.randn(1, 3, 32, 32, dtype=torch.float64))
    assert len(calls) > len(net.lanes)


@pytest.mark.parametrize('rate', [0.0, 0.5])
def test_each_lane_draws_its_own_dropout_of_attention(rate):
    net = build('timm', adapter='LoRA', amount=0, attn_drop_rate=rate, drop_path_rate=0).train()
    levels = net(torch.randn(1, 3, 32, 32, dtype=torch.float64))
    # lanes that are the shared stream differ by what they draw alone
    same = torch.equal(levels['semseg'][0], levels['depth'][0])
    assert same == (rate == 0)


@networks
def test_one_requested_task_starts_behind_attention_too(kind):
    net = build(kind, adapter='DoRA')
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    expected, calls = net(x)['depth'], attentions(net)
    torch.testing.assert_close(net(x, tasks=['depth'])['depth'], expected)
    assert len(calls) == len(net.lanes)


@networks
@pytest.mark.parametrize(
    ('adapter', 'options'),
    [('MTLoRA', dict(mode='matrix')), ('MTLoRA', dict(mode='matrixv2'))]
    + [(adapter, dict(frozen_input='shared')) for adapter in ('LoRA', 'DoRA', 'SineLoRA')],
)  # fmt: skip
@pytest.mark.parametrize('merged', [False, True])
def test_an_activation_in_runs_changes_nothing(kind, adapter, options, merged, monkeypatch):
    ways = ('vmap', 'loop')
    nets = [build(kind, way, adapter=adapter, options=options) for way in ways]
    if merged:
        for net in nets:
            net.merge_adapters()
    calls = []
    monkeypatch.setattr(gelu_low_rank_add, '_LARGE', 1)
    never = 'the hidden map was made as a whole'
    monkeypatch.setattr(gelu_low_rank_add.LowRankSum, 'made', lambda _: pytest.fail(never))
    runs = gelu_low_rank_add._runs
    monkeypatch.setattr(gelu_low_rank_add, '_runs', lambda *x: calls.append(1) or runs(*x))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    if merged:
        with torch.no_grad():
            got, expected = (net(x) for net in nets)
    else:
        got, expected = (levels_and_gradients(net, x) for net in nets)
    torch.testing.assert_close(got, expected)
    # Sine-LoRA's lanes are no low-rank products
    assert bool(calls) == (adapter != 'SineLoRA')


@networks
@pytest.mark.parametrize('adapter, started', [('MTLoRA', 2), ('DoRA', 1)])
@pytest.mark.parametrize('wanted', [1, 2, 3])
def test_windows_are_joined_for_all_lanes_at_once(kind, adapter, started, wanted, monkeypatch):
    """What lanes start from (proj's input, its frozen output), not what each of them makes."""
    net, sizes, rejoin = build(kind, adapter=adapter), [], SwinParts.rejoin
    plain = build(kind, 'loop', adapter=adapter)

    def counted(parts, windows, size):
        sizes.append(len(windows))
        return rejoin(parts, windows, size)

    monkeypatch.setattr(SwinParts, 'rejoin', counted)
    x = torch.randn(2, 3, 36, 52, dtype=torch.float64)
    levels = net(x, tasks=TASKS[:wanted])
    # of the last block nobody reads the shared stream, which lanes of DoRA do without
    blocks = len(net.lanes) - (adapter == 'DoRA')
    assert len(sizes) == blocks * (1 if wanted == 1 else started)
    monkeypatch.undo()
    for task, found in levels.items():
        torch.testing.assert_close(found, plain(x)[task])
