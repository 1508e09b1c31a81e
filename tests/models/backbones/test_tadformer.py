"""TADFormer over whole backbones: prompts, gates, what is trained, and what is refused."""

import copy

import pytest
import torch
from helpers import tadformer_oracle as oracle
from helpers.adapter_grid import stir
from helpers.backbones import TINY
from torch import nn

from mtpeft.adapters import NotMergeableError
from mtpeft.adapters.lanes.current import within
from mtpeft.models.backbones import AdapterBackbone, TADFormerBackbone
from mtpeft.models.backbones.swin_keys import timm_to_mmseg_swin

TASKS = ('semseg', 'depth', 'normals')
SWINS = ['timm Swin', 'mmseg Swin']


def plugins(rank=2, **options):
    cfg = dict(type='TADFormer', rank=rank, **options)
    return [
        dict(cfg=cfg, targets=['qkv']),
        dict(cfg=cfg, targets=['proj', 'fc1', 'fc2'], lanes='task'),
    ]


def tadformer(family='timm Swin', tasks=TASKS, filter='dynamic', drop_path=0.0, dropout=0.0, **kw):
    rate = dict(drop_path_rate=drop_path) if family in SWINS else {}
    network = {**TINY[family], **rate}
    kw.setdefault('plugins', plugins(filter=filter, dropout=dropout))
    torch.manual_seed(0)
    return TADFormerBackbone(network, tasks=tasks, **kw)


def stirred(*args, std=0.3, **kw):
    """Weights of a size at which every part counts."""
    model = tadformer(*args, **kw)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'norm' in name and name.endswith('weight'):
                continue
            parameter.add_(torch.randn(parameter.shape, generator=generator) * std)
    return model


def flat(levels):
    return torch.cat([x.flatten() for task in sorted(levels) for x in levels[task]])


# -- the last block of a stage ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ('size', 'options'),
    [
        ((14, 21), dict()),
        ((7, 7), dict(prompts_per_task=2)),
        ((14, 14), dict(prompt_gate=False)),
        ((7, 7), dict(filter='static')),
        ((7, 14), dict(filter='none')),
    ],
    ids=str,
)
def test_a_last_block_is_what_loops_give(size, options):
    model = stirred(**options).double().eval()
    stage, family, stream = 1, model.family, model.token_stream
    name = family.stages[stage].blocks[-1]
    block, lanes = model.network.get_submodule(name), model.lanes[name]
    x = torch.randn(2, *size, 16).double()
    prompts = torch.randn(2, 3 * options.get('prompts_per_task', 1), 16).double()
    with torch.no_grad(), within(size=size):
        assert any(block.shift_size) == (size != (7, 7))
        (shared, own), after = stream.run(lanes, block, x, prompts)
        expected = oracle.block(
            block,
            stream.norms[stage][-1],
            stream.gates[stage],
            x,
            prompts,
            tasks=3,
            shift=block.shift_size[0],
            prompt_gate=options.get('prompt_gate', True),
        )
    for found, wanted in zip((shared, own, after), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    differ = (own[0] - own[1]).abs().max()
    assert (differ > 1e-2) == (options.get('prompt_gate', True) or 'filter' in options)


@pytest.mark.parametrize('family', SWINS)
@pytest.mark.parametrize('size', [(64, 64), (70, 99), (224, 224)])
def test_the_start_is_half_skip_and_half_the_pretrained_stream(family, size):
    """B = 0: the gate at either end gives the skip, or the shared stream in sight of prompts."""
    model = tadformer(family, tap='pre_merge').eval()
    assert all(not layer.adapter.B.any() for layer in model.adapter_layers().values())
    for norm in ('norm0', 'norm1', 'norm2', 'norm3') if family == 'mmseg Swin' else ():
        setattr(model.network, norm, nn.Identity())  # of un-merged levels: not linear
    x = torch.randn(1, 3, *size)
    ends = {}
    with torch.no_grad():
        for value in (-100.0, 0.0, 100.0):
            for gate in model.token_stream.gates:
                gate.fill_(value)
            ends[value] = model(x)
        shared = []
        for lane in model.lanes.values():
            lane.block.register_forward_hook(lambda *given: shared.append(given[-1]))
        model(x)
        maps = [s if s.ndim == 4 else s.unflatten(1, end.shape[-2:])
                for s, end in zip(shared, ends[0.0]['depth'], strict=True)]  # fmt: skip
    for task in TASKS:
        for level in range(4):
            stream, half, skip = (ends[v][task][level] for v in (-100.0, 0.0, 100.0))
            torch.testing.assert_close(half, (stream + skip) / 2, rtol=1e-4, atol=1e-5)
            expected = maps[level].permute(0, 3, 1, 2)
            torch.testing.assert_close(stream, expected, rtol=1e-4, atol=1e-5)
            assert not torch.allclose(stream, skip, atol=1e-3)


# -- backbones -------------------------------------------------------------------------------------


@pytest.mark.parametrize('options', [dict(), dict(filter='static', prompts_per_task=2)], ids=str)
@pytest.mark.parametrize('size', [(224, 224), (448, 224)])
def test_timm_and_mmseg_agree(options, size):
    ours, theirs = (stirred(f, std=0.2, **options).double().eval() for f in SWINS)
    result = theirs.network.load_state_dict(
        timm_to_mmseg_swin(ours.network.state_dict()), strict=False
    )
    assert not result.unexpected_keys
    assert all(k.startswith('norm') or 'position_index' in k for k in result.missing_keys)
    theirs.token_stream.load_state_dict(ours.token_stream.state_dict())
    x = torch.randn(1, 3, *size).double()
    with torch.no_grad():
        torch.testing.assert_close(flat(ours(x)), flat(theirs(x)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('family', SWINS)
@pytest.mark.parametrize('size', [(33, 47), (64, 96)])
def test_levels_of_any_size(family, size):
    model, plain = stirred(family), AdapterBackbone(TINY[family], tasks=TASKS)
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        levels, expected = model(x), plain(x)
    assert list(levels) == list(TASKS)
    for task in TASKS:
        assert [y.shape for y in levels[task]] == [y.shape for y in expected[task]]
    assert model.out_channels == plain.out_channels and model.strides == plain.strides


def test_tasks_load_in_any_order():
    for options in (dict(prompts_per_task=2), dict(filter='static')):
        model = stirred(**options).double().eval()
        other = tadformer(tasks=TASKS[::-1], **options).double().eval()
        other.load_state_dict(model.state_dict())
        x = torch.randn(1, 3, 64, 64).double()
        with torch.no_grad():
            torch.testing.assert_close(flat(model(x)), flat(other(x)))


def test_a_prompt_gates_its_task_in_every_stage_and_is_seen_by_all():
    model = stirred().double().eval()
    x = torch.randn(1, 3, 64, 64).double()
    with torch.no_grad():
        before = model(x)
        model.token_stream.prompts['depth'].mul_(-3.0)
        after = model(x)
    moved = {t: [(a - b).abs().max() for a, b in zip(before[t], after[t], strict=True)]
             for t in TASKS}  # fmt: skip
    for level in range(4):
        assert moved['semseg'][level] > 1e-6
        assert moved['depth'][level] > moved['semseg'][level]


@pytest.mark.parametrize('family', SWINS)
def test_checkpointing_gives_the_same_gradients(family):
    results = {}
    for with_cp in (False, True):
        model = stirred(family, with_cp=with_cp, dropout=0.1, drop_path=0.2, std=0.1).train()
        torch.manual_seed(1)
        out = flat(model(torch.randn(2, 3, 64, 96)))
        out.square().mean().backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results[with_cp] = out.detach(), grads
    torch.testing.assert_close(results[True], results[False], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('options', [dict(), dict(prompt_gate=False, filter='static')], ids=str)
def test_what_is_trained_gets_a_gradient_and_the_rest_stays(options):
    model = stirred(train_also=['block_norms', 'patch_embed'], std=0.1, **options).train()
    unused = set(model.unused_parameter_names())
    norms = {n for n, _ in model.named_parameters() if n.startswith('token_stream.norms.')}
    last = {n for n in norms if n.split('.')[3] == '1'}  # two blocks a stage
    assert unused == (norms - last if options == {} else norms)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    flat(model(torch.randn(2, 3, 64, 64))).square().mean().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            reached = parameter.grad is not None and parameter.grad.abs().sum() > 0
            assert reached == (name not in unused), name
    optimizer.step()
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert {'network.layers.1.blocks.1.attn.proj.weight', 'network.layers.1.downsample.reduction'
            '.weight'} <= frozen  # fmt: skip
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == set(before) - frozen - unused


def test_gradients_equal_finite_differences_in_prompts_and_gates():
    model = stirred(std=0.2).double().eval()
    x = torch.randn(1, 3, 32, 32).double()
    weights = torch.randn(flat(model(x)).numel()).double()

    def value():
        return (flat(model(x)) * weights).sum()

    value().backward()
    chosen = [model.token_stream.prompts['depth'], model.token_stream.gates[1],
              model.token_stream.norms[2][1].weight,
              model.network.layers[0].blocks[1].mlp.fc1.adapter.filter.std]  # fmt: skip
    for parameter in chosen:
        direction = torch.randn_like(parameter)
        slope = (parameter.grad * direction).sum()
        with torch.no_grad():
            parameter += 1e-5 * direction
            up = value()
            parameter -= 2e-5 * direction
            down = value()
            parameter += 1e-5 * direction
        torch.testing.assert_close(slope, (up - down) / 2e-5, rtol=1e-4, atol=1e-6)


# -- training --------------------------------------------------------------------------------------


def test_stochastic_depth_draws_for_each_task():
    """At B = 0 and without skip, lanes equal the shared stream, but for what is drawn."""
    model = tadformer(drop_path=0.5)
    with torch.no_grad():
        for gate in model.token_stream.gates:
            gate.fill_(-100.0)
    x = torch.randn(16, 3, 32, 32)
    with torch.no_grad():
        still, drawn = model.eval()(x), model.train()(x)
    for level in range(1, 4):
        assert torch.allclose(still['semseg'][level], still['depth'][level], atol=1e-5)
        assert not torch.allclose(drawn['semseg'][level], drawn['depth'][level], atol=1e-3)


def test_lanes_start_from_what_the_shared_path_dropped():
    model = tadformer(dropout=0.5, prompt_gate=False, tap='pre_merge').train()
    with torch.no_grad():
        for gate in model.token_stream.gates:
            gate.fill_(100.0)  # only the skip, which is the dropped attention
        levels = model(torch.randn(1, 3, 56, 56))
    zeros = {task: levels[task][0] == 0 for task in TASKS}
    assert 0.4 < zeros['semseg'].float().mean() < 0.6
    assert all(torch.equal(zeros[task], zeros['semseg']) for task in TASKS)


@pytest.mark.parametrize('family', SWINS)
def test_bfloat16_on_a_cpu(family):
    model = stirred(family, std=0.05, dropout=0.05, drop_path=0.1).train()
    with torch.autocast('cpu', torch.bfloat16):
        out = flat(model(torch.randn(2, 3, 64, 64)))
    out.float().square().mean().backward()
    used = [p for n, p in model.named_parameters()
            if p.requires_grad and n not in model.unused_parameter_names()]  # fmt: skip
    assert torch.isfinite(out).all() and all(torch.isfinite(p.grad).all() for p in used)
    exact = model.eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        low = flat(exact(x)).float()
    with torch.no_grad():
        full = flat(exact(x))
    assert (low - full).norm() / full.norm() < 0.05


def test_a_copy_is_its_own():
    model = stirred().eval()
    other = copy.deepcopy(model)
    stir(other, 1.0)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = flat(model(x))
        other.load_state_dict(model.state_dict())
        torch.testing.assert_close(flat(other(x)), before)
        nn.init.constant_(other.token_stream.gates[0], 5.0)
        assert not torch.allclose(flat(other(x)), before, atol=1e-3)
        torch.testing.assert_close(flat(model(x)), before)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize('family', sorted(set(TINY) - set(SWINS)))
def test_other_backbones(family):
    with pytest.raises(ValueError, match=r'\(timm Swin, mmseg SwinTransformer\), got'):
        tadformer(family)


def test_bad_options():
    qkv, others = plugins()
    with pytest.raises(ValueError, match=r'set tasks=\[...\]'):
        tadformer(tasks=None)
    for number in (0, 1.0, True):
        with pytest.raises(ValueError, match='prompts_per_task to be an integer from 1'):
            tadformer(prompts_per_task=number)
    with pytest.raises(ValueError, match="on qkv of every stage's last block, got no adapter"):
        tadformer(plugins=[others])
    with pytest.raises(ValueError, match='without lanes on qkv.*TADFormer with lanes'):
        tadformer(plugins=[{**others, 'targets': ['qkv', 'proj', 'fc1', 'fc2']}])
    with pytest.raises(ValueError, match='got TADFormer without lanes on fc2'):
        some = {**qkv, 'targets': ['qkv', 'fc2']}, {**others, 'targets': ['proj', 'fc1']}
        tadformer(plugins=some)
    with pytest.raises(ValueError, match='got LoRA with lanes on proj'):
        tadformer(plugins=[qkv, {**others, 'cfg': dict(type='LoRA', rank=2)}])
    # another backbone's windows are no map
    with pytest.raises(ValueError, match='see one: fc1, fc2; type=.TADFormerBackbone'):
        AdapterBackbone(TINY['timm Swin'], plugins=plugins(), tasks=TASKS)
    with pytest.raises(NotMergeableError, match='attend to task prompts'):
        tadformer().merged_state_dict()
