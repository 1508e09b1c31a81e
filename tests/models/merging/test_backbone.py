"""Merged backbones: the same levels, and the very same modules again after it."""

import copy

import pytest
import torch
from helpers.adapter_grid import checkerboard, label, methods, stir
from helpers.backbones import TASKS, TINY, tiny
from torch import nn

from mtpeft.adapters import AdapterLayer, low_rank_adapters
from mtpeft.models import TADFormerBackbone
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.backbones.parameters import unread_prefixes
from mtpeft.models.merging.in_place import InPlaceGELU

families = pytest.mark.parametrize('family', TINY)
SOME = ['timm Swin', 'mmseg Swin', 'timm ViT', 'timm EfficientNet']
some = pytest.mark.parametrize('family', SOME)
over_methods = pytest.mark.parametrize('method', methods(), ids=label)
PAIRS = checkerboard(SOME, methods(), 4)
over_some = pytest.mark.parametrize(('family', 'method'), PAIRS, ids=label)
LORA = dict(type='LoRA', rank=2)


def picture(size=(64, 96), batch=2):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def spread_norms(network):
    """BatchNorms with statistics and weights of their own."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)


def awake(family, method=None, **options):
    model = tiny(family, method, **options).eval()
    stir(model, 0.1)
    spread_norms(model.network)
    return model


def build(family, method, **options):
    """A backbone with the method, or ``None`` where it is refused for its own reasons."""
    try:
        return awake(family, method, **options)
    except ValueError as error:
        known = ('a Linear layer', 'needs the map', 'ties its lanes', 'ties the base', 'divide',
                 'multiple')  # fmt: skip
        if not any(text in str(error) for text in known):
            raise
        pytest.skip(str(error))


def in_turn(method, turn):
    """One of two families for a method, the other two for the next one."""
    return SOME[(methods().index(method) + 2 * turn) % len(SOME)]


def flat(levels):
    if isinstance(levels, dict):
        return {(t, i): x for t, own in levels.items() for i, x in enumerate(own)}
    return dict(enumerate(levels))


def close(found, expected, rtol=1e-4):
    found, expected = flat(found), flat(expected)
    assert found.keys() == expected.keys()
    for key, wanted in expected.items():
        peak = float(wanted.abs().max())
        torch.testing.assert_close(found[key], wanted, rtol=rtol, atol=rtol * peak, msg=str(key))


def check(model, size=(64, 96)):
    """Merged equals unmerged, and unmerged again it is what it was; the report.

    In double precision: random networks amplify what single precision rounds.
    """
    model.double()
    modules = dict(model.named_modules())
    state = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        before = model(picture(size).double())
        report = model.merge_adapters(log=False)
        close(model(picture(size).double()), before, 1e-7)
        model.unmerge_adapters()
        after = model(picture(size).double())
    assert {n: id(m) for n, m in model.named_modules()} == {n: id(m) for n, m in modules.items()}
    assert model.state_dict().keys() == state.keys()
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    for key, x in flat(after).items():
        assert torch.equal(x, flat(before)[key])
    assert {row[0] for row in report.rows} >= set(model.adapted)
    return report


@over_some
def test_every_method(family, method):
    check(build(family, method))


@families
@pytest.mark.parametrize('strategy', ['vmap', 'fold', 'loop'])
@pytest.mark.parametrize('tap', ['post_merge', 'pre_merge'])
def test_every_family(family, strategy, tap):
    report = check(awake(family, LORA, lane_strategy=strategy, tap=tap))
    assert not report.left


@families
@pytest.mark.parametrize('mode', ['matrix', 'matrixv2'])
def test_lanes_that_read_the_shared_stream(family, mode):
    method = dict(type='MTLoRA', rank=4, mode=mode)
    report = check(awake(family, method, tap='pre_merge'))
    assert report.names('shared')
    assert report.names('shared path') or report.left


@over_methods
@pytest.mark.parametrize('turn', [0, 1])
def test_streams_through_the_whole_network(method, turn):
    check(build(in_turn(method, turn), method, streams='network'))


@over_methods
@pytest.mark.parametrize('turn', [0, 1])
def test_without_tasks_the_network_is_plain(method, turn):
    model = build(in_turn(method, 1 - turn), method, tasks=None)
    check(model)
    report = model.merge_adapters()
    if not report.left:
        assert not any(isinstance(m, AdapterLayer) for m in model.network.modules())


def tadformer(kind, prompt_gate=True, type='timm Swin', **options):
    lora = dict(type='TADFormer', rank=6)
    return TADFormerBackbone(
        TINY[type],
        plugins=[
            dict(cfg=lora, targets=['qkv']),
            dict(cfg=dict(lora, filter=kind), targets=['proj', 'fc1', 'fc2'], lanes='task'),
        ],
        tasks=TASKS, prompt_gate=prompt_gate, **options,
    )  # fmt: skip


@pytest.mark.parametrize('kind', ['dynamic', 'static', 'none'])
@pytest.mark.parametrize('type', ['timm Swin', 'mmseg Swin'])
def test_tadformer(kind, type):
    model = tadformer(kind, type=type).eval()
    stir(model, 0.1)
    report = check(model)
    assert report.names('shared path')
    assert 'token_stream' in report.left


@pytest.mark.parametrize('family', ['timm Swin', 'timm ViT'])
@pytest.mark.parametrize('deep', [False, True])
def test_prompts_stay(family, deep):
    report = check(awake(family, prompts=dict(number=2, deep=deep)))
    assert list(report.left) == ['token_stream']


def test_sinewich_with_tokens_in_the_network():
    method = dict(type='SineAWB', rank=3, kernel_size=None)
    model = AdapterBackbone(
        TINY['timm Swin'],
        plugins=[dict(cfg=LORA, targets=['qkv']), dict(cfg=method, targets=['fc1'], lanes='task')],
        tasks=TASKS, clock=dict(tokens='prepend'),
    )  # fmt: skip
    stir(model, 0.1)
    assert list(check(model.eval()).left) == ['token_stream']


def test_kernels_beside_a_layer_are_left():
    kernel = dict(type='SineAWB', rank=3, kernel_size=3)
    plugins = [dict(cfg=LORA, targets=['qkv']), dict(cfg=kernel, targets=['fc1'], lanes='task'),
               dict(cfg=LORA, targets=['fc2'], lanes='task')]  # fmt: skip
    model = AdapterBackbone(TINY['timm Swin'], plugins=plugins, tasks=TASKS).eval()
    stir(model, 0.1)
    report = check(model)
    layers = model.adapter_layers().items()
    assert set(report.left) == {n for n, la in layers if n.endswith('fc1') and la.adapter.tasks}


@pytest.mark.parametrize('type', ['DoRA', 'MTLoRA', 'SineAWB', 'SineLoRA', 'AdaLoRA'])
def test_pruned_components(type):
    model = awake('timm Swin', dict(type=type, rank=4))
    for number, adapter in enumerate(low_rank_adapters(model).values()):
        for group in adapter.groups.values():
            for index in range(len(group.streams)):
                order = torch.randperm(group.rank)[: 1 + (number + index) % group.rank]
                tensors = {name: [p.data] for name, p in group.parameters.items()}
                group.keep(index, order, tensors)
    check(model)


def test_a_merged_backbone_does_not_train():
    model = awake('timm Swin')
    model.merge_adapters()
    with pytest.raises(RuntimeError, match='unmerge_adapters'):
        model.train()
    with pytest.raises(RuntimeError, match='cannot be merged again'):
        model.merge_adapters()
    with pytest.raises(RuntimeError, match='unmerge_adapters'):
        model.init_weights()
    with pytest.raises(RuntimeError, match='unmerge_adapters'):
        model.merged_state_dict()
    assert not any(p.requires_grad for p in model.network.layers[0].blocks[0].attn.parameters()
                   if p.ndim == 2 and p is not None and p.shape[0] == 24)  # fmt: skip
    model.unmerge_adapters()
    model.train()


@pytest.mark.parametrize('family', ['timm Swin', 'mmseg Swin'])
def test_activations_save_memory_outside_lane_blocks(family):
    model = awake(family).double()
    x = picture().double().requires_grad_()
    expected = torch.autograd.grad(sum(m.sum() for m in flat(model(x)).values()), x)
    model.merge_adapters()
    found = {n for n, m in model.network.named_modules() if isinstance(m, InPlaceGELU)}
    lanes = {n for n in found if any(n.startswith(f'{block}.') for block in model.lanes)}
    # all MLPs but those of the lane blocks
    known = sum(isinstance(m, nn.GELU) for m in model.network.modules())
    assert found and not lanes and len(found) == known - len(model.lanes)
    inputs, outputs = [], []
    act = model.network.get_submodule(min(found))
    act.register_forward_hook(lambda m, a, out: outputs.append(out.data_ptr()))
    act.register_forward_pre_hook(lambda m, a: inputs.append(a[0].data_ptr()))
    with torch.no_grad():
        model(x)
    assert inputs == outputs
    # asked for a gradient, it writes over nothing
    got = torch.autograd.grad(sum(m.sum() for m in flat(model(x)).values()), x)
    torch.testing.assert_close(got, expected)
    assert inputs != outputs


def test_keys_name_tasks():
    model = awake('timm Swin', dict(type='DoRA', rank=2))
    plain = {k for k in model.state_dict() if '.adapter.' not in k}
    model.merge_adapters()
    keys = set(model.state_dict())
    added = {k for k in keys - plain if '.adapter.' in k}
    assert plain <= keys and keys - plain == added
    assert {k.rsplit('.', 1)[1] for k in added} == set(TASKS)
    name = 'network.layers.0.blocks.1.mlp.fc1'
    assert model.state_dict()[f'{name}.adapter.task_weight.depth'].shape == (32, 8)


def test_what_is_set_aside_moves_with_the_backbone():
    model = awake('timm Swin')
    twin = copy.deepcopy(model).double()
    model.merge_adapters()
    model.double()
    model.unmerge_adapters()
    assert {v.dtype for v in model.state_dict().values() if v.is_floating_point()} == {
        torch.float64
    }
    with torch.no_grad():
        close(model(picture().double()), twin(picture().double()), 1e-12)


def test_a_copy_unmerges_by_itself():
    model = awake('timm Swin')
    before = flat(model(picture()))
    model.merge_adapters()
    twin = copy.deepcopy(model)
    twin.unmerge_adapters()
    assert model.merged and not twin.merged
    for key, x in flat(twin(picture())).items():
        assert torch.equal(x, before[key])


def test_for_good():
    model = awake('timm Swin', dict(type='DoRA', rank=2))
    before = model(picture())
    model.merge_adapters(reversible=False)
    close(model(picture()), before)
    with pytest.raises(RuntimeError, match='nothing to go back to'):
        model.unmerge_adapters()


@pytest.mark.parametrize('family', ['timm EfficientNet', 'timm MobileNet', 'mmseg ResNet'])
def test_batchnorms_are_folded_outside_of_lane_blocks(family):
    model = awake(family)
    norms = {n for n, m in model.network.named_modules()
             if isinstance(m, nn.modules.batchnorm._BatchNorm)}  # fmt: skip
    read = {n for n in norms if not f'{n}.'.startswith(unread_prefixes(model.family, model.tap))}
    lanes = {n for n in read if any(n.startswith(f'{block}.') for block in model.lanes)}
    report = check(model)
    assert set(report.names('norm')) == read - lanes


def test_an_unlisted_network():
    plugins = [dict(cfg=LORA, targets=['re:layer[1-4].0.conv[12]'])]
    model = AdapterBackbone(dict(type='timm.resnet10t'), plugins=plugins, tasks=TASKS).eval()
    stir(model, 0.1)
    spread_norms(model.network)
    report = check(model, (64, 64))
    assert report.names('shared') and report.names('norm')


@some
@pytest.mark.parametrize('merged', [False, True])
def test_the_last_shared_stream_is_not_computed_where_nobody_reads_it(family, merged):
    model = awake(family)
    if merged:
        model.merge_adapters()
    lane = model.lanes[model.family.stages[-1].lane_block]
    layer, calls = list(lane.task_layers.values())[-1], []
    kept = layer.adapter.shared_and_memory
    layer.adapter.shared_and_memory = lambda *args: calls.append(1) or kept(*args)
    with torch.no_grad():
        levels = model(picture())
        assert not calls
        del layer.adapter.shared_and_memory
        looped = awake(family, lane_strategy='loop')
        looped.load_state_dict(_unmerged_state(model))
        close(levels, looped(picture()))


def _unmerged_state(model):
    model.unmerge_adapters()
    return model.state_dict()
