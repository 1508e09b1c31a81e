"""Every task through the whole network with parameters of its own."""

import pytest
import torch
from helpers.adapter_grid import checkerboard, label, methods, stir
from helpers.backbones import MLP, TASKS, TINY, tiny, wake
from torch import nn

from mtpeft.adapters import NotMergeableError, adapt_layer
from mtpeft.models.backbones import AdapterBackbone

families = pytest.mark.parametrize('family', TINY)
LORA = dict(type='LoRA', rank=2)


def tied(method):
    """Do lanes and shared stream need one another?"""
    adapter = adapt_layer(nn.Linear(12, 12), method, TASKS).adapter
    return adapter.coupling.ties or getattr(adapter, 'reuse', None)


UNTIED = [m for m in methods() if not tied(m)]
SOME = 'timm Swin', 'mmseg Swin', 'timm ViT', 'timm EfficientNet'
over_methods = pytest.mark.parametrize('method', UNTIED, ids=label)
over_some = pytest.mark.parametrize(('family', 'method'), checkerboard(SOME, UNTIED, 4), ids=label)


def network(family, method=None, **options):
    return tiny(family, method, streams='network', **options)


def picture(size=(64, 96), batch=2):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def backward(levels):
    sum(x.square().mean() * (1 + i) for i, t in enumerate(levels) for x in levels[t]).backward()


def plain(family, state, tap):
    """The network without any adapter, weights ``state``."""
    model = AdapterBackbone(TINY[family], tap=tap).eval().double()
    model.network.load_state_dict(state, strict=True)
    return model


@families
@pytest.mark.parametrize('tap', ['post_merge', 'pre_merge'])
def test_each_task_is_a_plain_network_with_its_merged_weights(family, tap):
    model = network(family, tap=tap).eval().double()
    stir(model, 0.1)
    x = picture().double()
    with torch.no_grad():
        levels = model(x)
        for task in TASKS:
            own = plain(family, model.merged_state_dict(task), tap)(x)
            for found, expected in zip(levels[task], own, strict=True):
                peak = float(expected.abs().max())
                torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8 * peak)
    assert not torch.allclose(levels['semseg'][-1], levels['depth'][-1])


@pytest.mark.parametrize('family', ['timm Swin', 'timm EfficientNet'])
@over_methods
def test_the_start_is_the_pretrained_network(family, method):
    model = network(family, method, tap='pre_merge').eval()
    bare = AdapterBackbone(TINY[family], tap='pre_merge').eval()
    state = {k: v for k, v in model.network.state_dict().items() if '.adapter.' not in k}
    bare.network.load_state_dict(state)
    with torch.no_grad():
        levels, expected = model(picture()), bare(picture())
    for task in TASKS:
        for found, wanted in zip(levels[task], expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@over_some
def test_fold_equals_loop_in_value_and_gradient(family, method):
    results = []
    model = network(family, method).eval()
    stir(model, 0.05)
    for strategy in ('loop', 'fold'):
        model.zero_grad()
        model.streams.lanes = model.streams.make_lanes(strategy)
        levels = model(picture())
        backward(levels)
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((levels, grads))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-2, atol=1e-5)


@families
@pytest.mark.parametrize('with_cp', [False, True])
def test_all_that_trains_has_an_effect(family, with_cp):
    model = network(family, with_cp=with_cp, train_also=['block_norms']).train()
    stir(model, 0.05)
    backward(model(picture()))
    without = [
        n for n, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]  # fmt: skip
    assert without == model.unused_parameter_names() == []
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    # what only a shared stream would read is not there
    for layer in model.adapter_layers().values():
        if layer.adapter.tasks:
            assert {n for n, _ in layer.adapter.named_parameters()} == {'task_A', 'task_B'}


def test_checkpointing_changes_nothing():
    results = []
    for with_cp in (False, True):
        model = network('mmseg Swin', with_cp=with_cp)
        if results:
            model.load_state_dict(results[0][0])
        else:
            stir(model, 0.05)
        torch.manual_seed(3)
        levels = model.train()(picture())
        backward(levels)
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((model.state_dict(), levels, grads))
    torch.testing.assert_close(results[1][1:], results[0][1:], rtol=1e-4, atol=1e-6)


def test_what_comes_before_the_first_task_parameters_is_computed_once():
    plugins = [
        dict(cfg=LORA, targets=['qkv']),
        dict(cfg=LORA, targets=['re:layers.2.blocks.1.mlp.fc.'], lanes='task'),
    ]
    model = AdapterBackbone(TINY['timm Swin'], plugins=plugins, tasks=TASKS, streams='network')
    batches = {}
    for name in (n for stage in model.family.stages for n in stage.blocks):
        block = model.network.get_submodule(name)
        block.register_forward_hook(
            lambda module, x, out, name=name: batches.update({name: len(out)})
        )
    stir(model, 0.1)
    levels = model.eval()(picture(batch=2))
    assert [batches[f'layers.{i}.blocks.{j}'] for i in range(4) for j in range(2)] == [
        2, 2, 2, 2, 2, 6, 6, 6,
    ]  # fmt: skip
    assert torch.equal(levels['semseg'][0], levels['depth'][0])
    assert not torch.allclose(levels['semseg'][2], levels['depth'][2])


@pytest.mark.parametrize('tap', ['post_merge', 'pre_merge'])
@pytest.mark.parametrize('family', ['timm Swin', 'mmseg Swin', 'timm ConvNeXt'])
def test_a_merging_can_have_task_parameters(family, tap):
    plugins = [dict(cfg=LORA, targets=['reduction'], lanes='task')]
    model = AdapterBackbone(TINY[family], plugins=plugins, tasks=TASKS, streams='network', tap=tap)
    wake(model.network)
    model.eval().double()
    stir(model, 0.1)
    x = picture().double()
    with torch.no_grad():
        levels = model(x)
        for task in TASKS:
            own = plain(family, model.merged_state_dict(task), tap)(x)
            torch.testing.assert_close(levels[task], own, rtol=1e-7, atol=1e-7)


@families
def test_any_order_and_number_of_tasks_and_any_size(family):
    names = ['a', 'b', 'c', 'd']
    model = network(family, tasks=names).eval().double()
    stir(model, 0.1)
    other = network(family, tasks=names[::-1]).eval().double()
    other.load_state_dict(model.state_dict())
    x = picture((50, 33), batch=1).double()
    a, b = model(x), other(x)
    torch.testing.assert_close(a, {name: b[name] for name in names}, rtol=1e-5, atol=1e-5)
    one = network(family, tasks=['b']).eval().double()
    state = {k: v for k, v in model.state_dict().items() if k in one.state_dict()}
    one.load_state_dict(state)
    torch.testing.assert_close(one(x)['b'], a['b'], rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError, match='Missing key'):
        model.load_state_dict(state)


def test_one_step_leaves_the_frozen_base_as_it_was():
    model = network('timm EfficientNet').train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        backward(model(picture()))
        optimizer.step()
    after, frozen = model.state_dict(), model.frozen_state_keys()
    assert frozen and all(torch.equal(after[k], before[k]) for k in frozen)
    assert all(not torch.equal(after[k], before[k]) for k in before if 'task_' in k)


@pytest.mark.parametrize(
    ('method', 'message'),
    [
        (dict(type='MTLoRA', rank=2), "fc1': MTLoRA ties its lanes.*they read it"),
        (dict(type='MTLoRA', rank=2, mode='addition'), 'they read it|it reads them'),
        (dict(type='LoRA', rank=2, frozen_input='shared'), "frozen_input='task'"),
    ],
)
def test_lanes_that_need_a_shared_stream_are_refused(method, message):
    with pytest.raises(ValueError, match=message):
        network('timm Swin', method)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(streams='net'), "streams='net' is unknown. Did you mean 'network'"),
        (dict(streams='network', lane_strategy='vmap'), "'vmap' is unknown with streams='network'"),
        (dict(streams='network', lanes='shared'), "give a plugin lanes='task'"),
        (dict(streams='network', clock=dict(tokens='prepend')), "tokens='free'"),
    ],
)
def test_wrong_options_are_named(options, message):
    plugin = dict(cfg=LORA, targets=MLP['timm Swin'], lanes=options.pop('lanes', 'task'))
    with pytest.raises(ValueError, match=message):
        AdapterBackbone(TINY['timm Swin'], plugins=[plugin], tasks=TASKS, **options)


def test_merging_says_which_stream_it_can():
    with pytest.raises(NotMergeableError, match="name one: task='semseg' | 'depth'"):
        network('timm Swin').merged_state_dict()
    with pytest.raises(KeyError, match="no task 'dept'. Did you mean 'depth'"):
        network('timm Swin').merged_state_dict('dept')
    with pytest.raises(NotMergeableError, match="streams='network' has one"):
        tiny('timm Swin').merged_state_dict('depth')
