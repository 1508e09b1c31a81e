"""Lanes beside a whole MLP or block: the module's own output, and what each task adds."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import stir
from helpers.backbones import FIRST, MLP, TASKS, TINY, wake
from torch import nn

from mtpeft.adapters import AdapterModule, adapt_layer
from mtpeft.models.backbones import AdapterBackbone

ON_MAP = [family for family in TINY if family != 'timm Hiera']
PLACES = [(family, 'block') for family in ON_MAP] + [('timm Swin', 'mlp'), ('timm ViT', 'mlp')]
places = pytest.mark.parametrize(('family', 'place'), PLACES, ids=[' '.join(p) for p in PLACES])


def beside(family, place='block', kernel_size=3, **options):
    plugins = [
        dict(cfg=dict(type='LoRA', rank=2), targets=FIRST[family] + MLP[family]),
        dict(cfg=dict(type='SineAWB', rank=2, kernel_size=kernel_size), targets=[place],
             lanes='task'),
    ]  # fmt: skip
    torch.manual_seed(0)
    model = AdapterBackbone(TINY[family], plugins=plugins, tasks=TASKS, **options)
    wake(model.network)
    stir(model, 0.1)
    return model.eval()


class Cropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(x)[:, 1:]


def counted(function, layer, calls):
    def call(self, *args):
        calls.extend([1] if self is layer else [])
        return function(self, *args)

    return call


def flat(levels):
    return torch.cat([x.flatten() for task in TASKS for x in levels[task]])


def gradients(model, x):
    torch.manual_seed(1)  # paths are dropped
    flat(model(x)).square().mean().backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@places
def test_strategies_agree(family, place):
    x = torch.randn(2, 3, 64, 96)
    model = beside(family, place)
    plain = beside(family, place, lane_strategy='loop')
    torch.testing.assert_close(flat(model(x)), flat(plain(x)), rtol=1e-4, atol=1e-5)
    found, wanted = gradients(model, x), gradients(plain, x)
    assert set(wanted) == set(found)
    for name, grad in wanted.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-3, atol=1e-5, msg=name)
    folded = beside(family, place, lane_strategy='fold')
    torch.testing.assert_close(flat(folded(x)), flat(plain(x)), rtol=1e-4, atol=1e-5)
    some = model(x, tasks=['normals'])['normals']
    for one, all_ in zip(some, model(x)['normals'], strict=True):
        torch.testing.assert_close(one, all_, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('family', ['timm Swin', 'timm EfficientNet', 'mmseg Swin'])
@pytest.mark.parametrize('kernel_size', [None, 5])
def test_a_level_is_the_blocks_output_and_a_convolution_of_its_input(family, kernel_size):
    model = beside(family, kernel_size=kernel_size, tap='pre_merge')
    stage = model.family.stages[0]
    block = model.network.get_submodule(stage.lane_block)
    seen = {}

    def note(module, args, out):  # of the shared stream, which comes first
        seen.update({} if seen else dict(start=args[0], out=out))

    block.register_forward_hook(note)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        levels = model(x)
        kernels = block.adapter.kernels()
        shared, start = seen['out'], seen['start']
        if start.ndim == 3:  # rows of a map
            start, shared = (t.unflatten(1, levels['depth'][0].shape[2:]) for t in (start, shared))
        if model.family.layout == 'NHWC':
            start, shared = start.permute(0, 3, 1, 2), shared.permute(0, 3, 1, 2)
        for task, kernel in zip(TASKS, kernels, strict=True):
            stride = -(-start.shape[2] // shared.shape[2])
            wanted = shared + F.conv2d(start, kernel, None, stride, (kernel_size or 1) // 2)
            if stage.out_norm is None:
                torch.testing.assert_close(levels[task][0], wanted, rtol=1e-4, atol=1e-5)
            else:
                norm = model.network.get_submodule(stage.out_norm)
                wanted = norm(wanted.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                torch.testing.assert_close(levels[task][0], wanted, rtol=1e-4, atol=1e-5)


@places
def test_the_start_and_the_keys_are_the_networks(family, place):
    model = beside(family, place)
    plain = AdapterBackbone(TINY[family], tasks=TASKS).eval()
    own = {k: v for k, v in model.state_dict().items() if k.startswith('network.')}
    frozen = {k: v for k, v in own.items() if '.adapter.' not in k}
    assert list(frozen) == [k for k in plain.state_dict() if k.startswith('network.')]
    plain.load_state_dict(frozen, strict=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rpartition('.')[2] in ('B', 'base_B'):
                parameter.zero_()
        x = torch.randn(1, 3, 64, 64)
        torch.testing.assert_close(flat(model(x)), flat(plain(x)), rtol=1e-4, atol=1e-5)


def test_only_the_last_blocks_have_lanes_and_inner_layers_are_computed_once(monkeypatch):
    model = beside('timm Swin')
    hosts = [n for n, la in model.adapter_layers().items() if isinstance(la, AdapterModule)]
    assert hosts == [stage.lane_block for stage in model.family.stages]
    calls = []
    inner = model.network.get_submodule(hosts[0]).mlp.fc1
    for name in ('frozen', 'adapted'):
        monkeypatch.setattr(type(inner), name, counted(getattr(type(inner), name), inner, calls))
    with torch.no_grad():
        model(torch.randn(1, 3, 64, 64))
    assert len(calls) == 1


@pytest.mark.parametrize('family', ['timm Swin', 'mmseg Swin', 'timm EfficientNet'])
def test_in_training_with_checkpointing_autocast_and_copies(family):
    x = torch.randn(2, 3, 64, 64)
    model, again = beside(family).double(), beside(family, with_cp=True).double()
    x = x.double()
    found, wanted = gradients(again.train(), x), gradients(model.train(), x)
    for name, grad in wanted.items():
        torch.testing.assert_close(found[name], grad, msg=name)
    model, x = model.eval().float(), x.float()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        low = flat(model(x)).float()
    whole = flat(model(x))
    assert (low - whole).abs().mean() < 0.05 * whole.abs().mean()
    torch.testing.assert_close(flat(copy.deepcopy(model)(x)), whole)
    torch.testing.assert_close(flat(pickle.loads(pickle.dumps(model))(x)), whole)


def test_merging_leaves_it_beside_the_merged_block():
    model = beside('timm Swin')
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = flat(model(x))
        report = model.merge_adapters()
        torch.testing.assert_close(flat(model(x)), before, rtol=1e-4, atol=1e-5)
    assert set(report.left) == {stage.lane_block for stage in model.family.stages}


def test_what_cannot_be():
    awb = dict(type='SineAWB', rank=2)

    def build(*plugins, family='timm Swin'):
        return AdapterBackbone(TINY[family], plugins=plugins, tasks=TASKS)

    with pytest.raises(ValueError, match=r"blocks.1' has lanes.*SineAWB.*mlp.fc1' inside it"):
        build(dict(cfg=awb, targets=['block'], lanes='task'),
              dict(cfg=dict(type='LoRA', rank=2), targets=['fc1'], lanes='task'))  # fmt: skip
    with pytest.raises(ValueError, match="task lanes only. Set lanes='task'"):
        build(dict(cfg=awb, targets=['block']))
    with pytest.raises(TypeError, match='expected a Linear layer or a Conv2d'):
        build(dict(cfg=dict(type='LoRA', rank=2), targets=['mlp'], lanes='task'))
    with pytest.raises(ValueError, match="reuse='A'.*a module has none"):
        build(dict(cfg=dict(**awb, reuse='A'), targets=['block'], lanes='task'))
    with pytest.raises(ValueError, match='with some inside, got Identity'):
        adapt_layer(nn.Identity(), awb, TASKS)
    with pytest.raises(TypeError, match='got Sequential'):
        adapt_layer(nn.Sequential(nn.Linear(4, 4)), awb, TASKS)
    layer = adapt_layer(Cropping(), awb, TASKS)
    with pytest.raises(ValueError, match='Cropping changes the size of its map'):
        layer.adapter.lane(layer, torch.zeros(1, 8, 8, 3),
                           layer.adapter.lane_slices(layer)[0], None)  # fmt: skip


def test_blocks_whose_tokens_are_in_another_order_take_no_kernel():
    with pytest.raises(ValueError, match="SineAWB beside 'blocks.1'.*those of Hiera have another"):
        beside('timm Hiera')
