"""Properties of a backbone with adapters, over families and methods."""

from collections import Counter
from functools import cache

import pytest
import timm
import torch
from helpers.adapter_grid import checkerboard, label, methods, stir
from helpers.backbones import MLP, TASKS, TINY, tiny, wake
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from mtpeft.models.backbones import AdapterBackbone

families = pytest.mark.parametrize('family', TINY)
# here mmseg and timm shift their windows alike; 224 is in test_swin_windows.py
SIDES = {family: 448 if 'Swin' in family else 128 for family in TINY}
PAIRS = checkerboard(TINY, methods(), 4)
over_some = pytest.mark.parametrize(('family', 'method'), PAIRS, ids=label)


def linear_only(family, method):
    convolutions = ('timm EfficientNet', 'timm MobileNet', 'mmseg MiT', 'mmseg ResNet')
    return method.get('mode') == 'addition' and family in convolutions


def picture(size=(32, 64), batch=1):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def plain(family):
    """The stock network and its function to levels, built and run by its own library."""
    cfg = {k: v for k, v in TINY[family].items() if k != 'type'}
    if family.startswith('mmseg'):
        with DefaultScope.overwrite_default_scope('mmseg'):
            network = MMSEG.build(TINY[family])
        return network, network
    name = TINY[family]['type'].removeprefix('timm.')
    if 'Swin' in family:
        cfg.update(img_size=SIDES[family])
    elif family in ('timm ViT', 'timm EVA', 'timm DINOv3'):
        cfg.update(dynamic_img_size=True)
    network = timm.create_model(name, num_classes=0, **cfg)
    return network, lambda x: network.forward_intermediates(x, intermediates_only=True)[-4:]


plain_again = cache(plain)


@over_some
def test_start_equals_the_plain_network(family, method):
    if method.get('mode') == 'addition':
        pytest.skip('MTLoRA addition adds a LayerNorm, which is no identity at the start')
    network, levels_of = plain_again(family)
    model = tiny(family, method, tap='pre_merge').eval()
    network.eval()
    network.load_state_dict(
        {k: v for k, v in model.network.state_dict().items() if '.adapter.' not in k}
    )
    x = picture((SIDES[family],) * 2)
    with torch.no_grad():
        levels, expected = model(x), levels_of(x)
    for task in TASKS:
        for ours, theirs in zip(levels[task], expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@over_some
def test_lane_strategies_agree(family, method):
    if linear_only(family, method):
        pytest.skip('addition normalises the last axis: Linear layers only')
    results = []
    model = tiny(family, method).double().eval()
    torch.manual_seed(1)
    stir(model, 0.05)
    # each method and each family with both
    turn = methods().index(method) - list(TINY).index(family)
    for strategy in ('loop', ('fold', 'vmap')[turn // 2 % 2]):
        model.zero_grad()
        model.streams.lanes = model.streams.make_lanes(strategy)
        levels = model(picture().double())
        sum(level.square().mean() for task in levels.values() for level in task).backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((levels, grads))
    expected, expected_grads = results[0]
    for levels, grads in results[1:]:
        torch.testing.assert_close(levels, expected, rtol=1e-6, atol=1e-8)
        # a folded pass gives what nobody reads a gradient of zero instead of none
        extra = {n for n in grads if n not in expected_grads}
        assert extra <= set(model.unused_parameter_names())
        assert not any(grads.pop(n).any() for n in extra)
        torch.testing.assert_close(grads, expected_grads, rtol=1e-6, atol=1e-8)


class _Calls(TorchDispatchMode):
    """Counts the operators that are called."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found[func.overloadpacket.__name__] += 1
        return func(*args, **kwargs or {})


def test_attention_runs_backwards_once_a_block():
    lanes = dict(cfg=dict(type='LoRA', rank=2), targets=['proj', 'fc1', 'fc2'], lanes='task')
    model = AdapterBackbone(
        TINY['timm Swin'], plugins=[lanes], tasks=TASKS, train_also=['patch_embed']
    )
    loss = sum(level.mean() for levels in model(picture()).values() for level in levels)
    with _Calls() as calls:
        loss.backward()
    blocks = sum(len(stage.blocks) for stage in model.family.stages)
    assert calls.found['_softmax_backward_data'] == blocks


@over_some
def test_gradient_reaches_all_that_trains_but_the_unused(family, method):
    if linear_only(family, method):
        pytest.skip('addition normalises the last axis: Linear layers only')
    model = tiny(family, method, train_also=['block_norms']).train()
    for module in model.modules():  # a path that is dropped has no gradient
        if hasattr(module, 'drop_prob'):
            module.drop_prob = 0.0
    stir(model, 0.05)
    levels = model(picture(batch=2))
    sum(level.square().mean() for task in levels.values() for level in task).backward()
    without = {
        n for n, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    }  # fmt: skip
    assert without == set(model.unused_parameter_names())
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@families
@pytest.mark.parametrize('tap', ['post_merge', 'pre_merge'])
def test_a_network_trained_whole_has_no_parameter_without_effect(family, tap):
    model = AdapterBackbone(TINY[family], tasks=TASKS, tap=tap, freeze=False).train()
    wake(model.network)
    levels = model(picture((224, 224), batch=2))
    sum(level.square().mean() for level in levels['depth']).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


@families
def test_one_step_leaves_the_frozen_base_as_it_was(family):
    model = tiny(family).train()
    frozen = model.frozen_state_keys()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    identity = model.base_identity()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        levels = model(picture(batch=2))
        sum(level.square().mean() for task in levels.values() for level in task).backward()
        optimizer.step()
    after = model.state_dict()
    assert frozen and all(torch.equal(after[k], before[k]) for k in frozen)
    assert any(not torch.equal(after[k], before[k]) for k in before if k not in frozen)
    assert model.base_identity() == identity
    with torch.no_grad():
        next(p for p in model.parameters() if not p.requires_grad).add_(1)
    assert model.base_identity()['sha256'] != identity['sha256']


@families
def test_merged_trunk_loads_strictly_and_equals_the_shared_stream(family):
    # in float64: random Swins amplify float32's rounding by what differs between processors
    model = tiny(family, tasks=None).eval().double()
    stir(model, 0.1)
    network, levels_of = plain(family)
    network.double().load_state_dict(model.merged_state_dict(), strict=True)
    network.eval()
    x = picture((SIDES[family],) * 2).double()
    with torch.no_grad():
        ours, theirs = model(x), levels_of(x)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(b.abs().max()))


@families
@pytest.mark.parametrize('count', [1, 2, 5])
def test_any_number_and_order_of_tasks(family, count):
    names = [f'task{i}' for i in range(count)]
    model = tiny(family, tasks=names).eval()
    stir(model, 0.1)
    other = tiny(family, tasks=names[::-1]).eval()
    other.load_state_dict(model.state_dict())
    a, b = model(picture()), other(picture())
    assert list(a) == names and list(b) == names[::-1]
    torch.testing.assert_close(a, {name: b[name] for name in names}, rtol=1e-5, atol=1e-5)
    if count > 1:
        assert not torch.allclose(a['task0'][-1], a['task1'][-1])


@families
@pytest.mark.parametrize('size', [(50, 33), (97, 64)])
def test_any_size_and_the_declared_shapes(family, size):
    model = tiny(family).eval()
    levels = model(picture(size))['depth']
    assert [x.shape[1] for x in levels] == list(model.out_channels)
    patch = model.family.patch_size
    for level, stride in zip(levels, model.strides, strict=True):
        expected = tuple(-(-(-(-s // patch) * patch) // stride) for s in size)
        assert tuple(level.shape[-2:]) == expected


@families
def test_checkpointing_changes_nothing(family):
    results = []
    for with_cp in (False, True):
        model = tiny(family, with_cp=with_cp)
        if results:
            model.load_state_dict(results[0][0])
        else:
            stir(model, 0.05)
        torch.manual_seed(3)
        levels = model.train()(picture(batch=2))
        sum(level.square().mean() for task in levels.values() for level in task).backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((model.state_dict(), levels, grads))
    torch.testing.assert_close(results[1][1:], results[0][1:], rtol=1e-4, atol=1e-6)


@families
def test_bf16_autocast_is_that_of_a_plain_loop(family):
    model = tiny(family).eval()
    looped = tiny(family, lane_strategy='loop').eval()
    looped.load_state_dict(model.state_dict())
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        ours, theirs = model(picture()), looped(picture())
    for task in TASKS:
        for a, b in zip(ours[task], theirs[task], strict=True):
            assert (a.float() - b.float()).norm() < 0.02 * b.float().norm()


def test_batchnorm_of_the_base_keeps_its_statistics():
    model = tiny('timm EfficientNet').train()
    assert not any(m.training for m in model.modules() if isinstance(m, _BatchNorm))
    whole = tiny('timm EfficientNet', freeze=False).train()
    norms = [m.training for m in whole.modules() if isinstance(m, _BatchNorm)]
    assert any(norms) and not all(norms)  # only those inside lanes stay


def test_components_are_a_partition():
    model = tiny('timm Swin', dict(type='MTLoRA', rank=2, task_rank=1), train_also=['block_norms'])
    components = model.parameter_components()
    names = [n for group in components.values() for n in group]
    assert sorted(names) == sorted(n for n, _ in model.named_parameters())
    assert {'lora_shared', 'lora_task', 'norms', 'unused', 'backbone'} <= components.keys()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(tap='after'), "tap='after' is unknown"),
        (dict(lane_strategy='map'), "Did you mean 'vmap'"),
        (dict(train_also=['block_norm']), "Did you mean 'block_norms'"),
        (dict(tasks=['a', 'a']), 'must differ'),
        (dict(plugins=[dict(cfg=dict(type='LoRA'), targets=['fc3'])]), "Did you mean .*'fc"),
        (dict(plugins=[dict(cfg=dict(type='LoRA'), targets=['fc1'], lanes='task')]), 'needs the n'),
        (dict(plugins=[dict(cfg=dict(type='LoRA', rank=0), targets=['fc1'])]), 'blocks.0.mlp.fc1'),
        (dict(plugins=[dict(cfg=dict(type='LoRA', rank=-2), targets=['fc1'])]), 'got -2'),
        (dict(plugins=[dict(cfg=dict(type='LoRA', rank=9), targets=['fc1'])]), 'from 1 to 8'),
        (dict(plugins=[dict(cfg=dict(type='LoRA'), target=['fc1'])]), "Did you mean 'targets'"),
        (dict(plugins=[dict(cfg=dict(type='LoRA'), targets='fc1')]), 'to be a list'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AdapterBackbone(TINY['timm Swin'], **options)


def test_wrong_names_are_named():
    with pytest.raises(KeyError, match='swin_tiny_patch4_window7_224'):
        AdapterBackbone(dict(type='timm.swin_tinny_patch4_window7_224'))
    with pytest.raises(TypeError, match='wrong option'):
        AdapterBackbone({**TINY['timm Swin'], 'embed_dims': 4})
    with pytest.raises(KeyError, match="Did you mean .*'LoRA'"):
        tiny('timm Swin', dict(type='LORAA'))
    with pytest.raises(TypeError, match="no option 'ranks'. Did you mean 'rank'"):
        tiny('timm Swin', dict(type='LoRA', ranks=2))
    with pytest.raises(TypeError, match='adapted already'):
        plugins = [dict(cfg=dict(type='LoRA', rank=2), targets=['fc1'])] * 2
        AdapterBackbone(TINY['timm Swin'], plugins=plugins)
    with pytest.raises(TypeError, match='groups'):
        plugins = [dict(cfg=dict(type='LoRA', rank=2), targets=['conv_dw'])]
        AdapterBackbone(TINY['timm EfficientNet'], plugins=plugins)


@families
def test_a_role_that_a_family_lacks_names_those_it_has(family):
    role = 'conv3' if 'conv3' not in MLP[family] else 'qkv'
    plugins = [dict(cfg=dict(type='LoRA', rank=2), targets=[role])]
    roles = ', '.join(tiny(family).family.roles)
    with pytest.raises(ValueError, match=f"'{role}' matches no layer.*Roles of .*: {roles}"):
        AdapterBackbone(TINY[family], plugins=plugins)


def test_unlisted_family_has_shared_adapters_only():
    cfg = dict(type='timm.regnetx_002')
    plugins = [dict(cfg=dict(type='LoRA', rank=2), targets=['conv1.conv'])]
    model = AdapterBackbone(cfg, plugins=plugins, tasks=TASKS).eval()
    levels = model(picture())
    assert [x.shape[1] for x in levels['depth']] == list(model.out_channels) == [24, 56, 152, 368]
    with pytest.raises(ValueError, match='no family table.*timm Swin'):
        AdapterBackbone(cfg, plugins=[{**plugins[0], 'lanes': 'task'}], tasks=TASKS)


def test_lanes_follow_their_adapters_only():
    model = tiny('timm Swin').eval()
    before = model(picture())
    with torch.no_grad():
        for layer in model.adapter_layers().values():
            if layer.adapter.tasks:
                layer.adapter.task_B[1].normal_()
    after = model(picture())
    assert MLP['timm Swin'] == ['fc1', 'fc2']
    for task, changed in zip(TASKS, (False, True, False), strict=True):
        assert torch.allclose(before[task][0], after[task][0]) is not changed


def test_recomputation_can_be_switched_on_a_model_that_is_built():
    model, calls = tiny('timm Swin').train(), []
    model.network.layers[0].blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    for with_cp, passes in ((False, 1), (True, 2)):
        model.with_cp = with_cp
        calls.clear()
        sum(
            x.sum() for levels in model(torch.zeros(1, 3, 64, 64)).values() for x in levels
        ).backward()
        assert model.with_cp is with_cp and len(calls) == passes
