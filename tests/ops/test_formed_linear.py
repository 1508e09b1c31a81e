"""The product with a weight that was formed equals the frozen layer and the low-rank path."""

import copy
from itertools import pairwise

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.backbones import TINY
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from mtpeft.adapters import adapt_layer, layers
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.ops.formed_linear import FULL, THIN, best_form, formed_linear

SCALE = 0.7
WAYS = pytest.mark.parametrize('thin', [THIN, FULL])
GAINED = pytest.mark.parametrize('gained', [False, True])


def tensors(gained, lanes=(), bias=True, dtype=torch.float64):
    """x, W0, bias, A, B, gain; all but W0 with a gradient."""
    torch.manual_seed(0)
    shapes = (*lanes, 2, 5, 6), (4, 6), (4,), (*lanes, 2, 6), (*lanes, 4, 2), (*lanes, 4)
    x, weight, b0, a, b, gain = (torch.randn(s, dtype=dtype) for s in shapes)
    made = [x, weight, b0 if bias else None, a, b, gain.abs() + 0.5 if gained else None]
    for i in (0, 2, 3, 4, 5):
        if made[i] is not None:
            made[i].requires_grad_()
    return made


def plain(x, weight, bias, a, b, gain):
    """The formula, product by product."""
    low = SCALE * ((x @ a.mT) @ b.mT)
    out = x @ weight.mT + low
    out = out if gain is None else out * gain
    return out if bias is None else out + bias


def gradients(out, made):
    wanted = [t for t in made if t is not None and t.requires_grad]
    torch.manual_seed(1)
    return torch.autograd.grad(out, wanted, torch.randn_like(out))


@WAYS
@GAINED
@pytest.mark.parametrize('bias', [True, False])
def test_it_is_the_formula(thin, gained, bias):
    made = tensors(gained, bias=bias)
    out = formed_linear(*made, SCALE, thin)
    expected = plain(*made)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradients(out, made), gradients(expected, made))


@WAYS
@GAINED
def test_finite_differences(thin, gained):
    made = tensors(gained)
    assert torch.autograd.gradcheck(lambda *t: formed_linear(*t, SCALE, thin), made)


def test_the_full_way_trains_the_weight_too():
    made = tensors(gained=True)
    made[1].requires_grad_()
    out, expected = formed_linear(*made, SCALE, FULL), plain(*made)
    torch.testing.assert_close(gradients(out, made), gradients(expected, made))


@WAYS
@GAINED
@pytest.mark.parametrize('same_input', [False, True])
def test_lanes_under_vmap_are_a_loop(thin, gained, same_input):
    made = tensors(gained, lanes=(3,))
    x, weight, bias, a, b, gain = made
    x = made[0] = x[0].detach().requires_grad_() if same_input else x
    in_dims = None if same_input else 0, 0, 0, 0 if gained else None

    def lane(x, a, b, gain):
        return formed_linear(x, weight, bias, a, b, gain, SCALE, thin)

    out = torch.vmap(lane, in_dims)(x, a, b, gain)
    expected = torch.stack(
        [
            plain(x if same_input else x[i], weight, bias, a[i], b[i], gain[i] if gained else None)
            for i in range(3)
        ]
    )
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradients(out, made), gradients(expected, made))


def test_a_layer_without_lanes_in_a_lane_block():
    x, weight, bias, a, b, _ = tensors(gained=False)
    x = x.expand(3, *x.shape)
    out = torch.vmap(lambda x: formed_linear(x, weight, bias, a, b, None, SCALE, THIN))(x)
    torch.testing.assert_close(out, plain(x, weight, bias, a, b, None))


def test_a_frozen_weight_that_is_mapped_is_refused():
    x, weight, bias, a, b, _ = tensors(gained=False)
    with pytest.raises(ValueError, match='the same for all'):
        torch.vmap(lambda w: formed_linear(x, w, bias, a, b, None, SCALE, THIN))(weight[None])


@WAYS
@pytest.mark.parametrize('lanes', [(), (3,)])
def test_the_result_may_be_changed_in_place(thin, lanes):
    made = tensors(gained=False, lanes=lanes)
    out, other = (formed_linear(*made, SCALE, thin) for _ in range(2))
    torch.testing.assert_close(gradients(out.mul_(2), made), gradients(other * 2, made))


@WAYS
def test_under_checkpointing(thin):
    made = tensors(gained=True)
    out = checkpoint(lambda *t: formed_linear(*t, SCALE, thin), *made, use_reentrant=False)
    torch.testing.assert_close(gradients(out, made), gradients(plain(*made), made))


@WAYS
def test_only_what_is_asked_for_is_computed(thin):
    x, weight, bias, a, b, gain = tensors(gained=True)
    fixed = [t.detach() for t in (weight, bias, b, gain)]
    out = formed_linear(x.detach(), *fixed[:2], a, *fixed[2:], SCALE, thin)
    (grad,) = gradients(out, [a])
    (expected,) = gradients(plain(x.detach(), *fixed[:2], a, *fixed[2:]), [a])
    torch.testing.assert_close(grad, expected)


def test_the_thin_way_gives_no_gradient_to_a_gain_of_zero():
    made = tensors(gained=True)
    with torch.no_grad():
        made[5][1] = 0
    thin, full = (gradients(formed_linear(*made, SCALE, w), made)[-1] for w in (THIN, FULL))
    assert thin[1] == 0 != full[1]
    keep = [0, 2, 3]
    torch.testing.assert_close(thin[keep], full[keep])


@WAYS
@GAINED
def test_library_checks_and_compiles_without_a_break(thin, gained):
    made = tensors(gained, dtype=torch.float32)
    torch.library.opcheck(torch.ops.mtpeft.formed_linear.default, (*made, SCALE, thin))
    torch._dynamo.reset()
    compiled = torch.compile(formed_linear, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(*made, SCALE, thin), plain(*made))


@WAYS
def test_a_small_change_survives_half_precision(thin):
    """Forming W in bfloat16 would lose a change of W0 below 1/256 of it."""
    torch.manual_seed(0)
    x = torch.ones(1, 64, dtype=torch.bfloat16)
    weight, a, b = torch.rand(4, 64) + 1, torch.ones(1, 64), torch.full((4, 1), 1e-3)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        changed = formed_linear(x, weight, None, a, b, None, 1.0, thin)
    expected = (weight + 1e-3).bfloat16().float().sum(1)
    assert changed.dtype == torch.bfloat16
    torch.testing.assert_close(changed[0].float(), expected, rtol=1e-2, atol=0)
    lost = weight.bfloat16() + torch.tensor(1e-3).bfloat16()
    assert not torch.equal(lost.float().sum(1), expected)


@pytest.mark.parametrize('lanes', [(), (3,)])
def test_operations_are_counted(lanes):
    x, weight, bias, a, b, _ = tensors(gained=False, lanes=lanes)
    with FlopCounterMode(display=False) as counter:
        formed_linear(x, weight, bias, a, b, None, SCALE, THIN)
    rows, number = 10, max([1, *lanes])
    assert counter.get_total_flops() == 2 * number * (rows * 4 * 6 + 4 * 2 * 6)


# -- the layers that choose ----------------------------------------------------------------------

CFGS = [
    dict(type='LoRA', rank=3, task_rank=2),
    dict(type='DoRA', rank=3, task_rank=2),
    dict(type='DoRA', rank=3, detach_norm=False),
    dict(type='AdaLoRA', rank=3),
]


@pytest.fixture
def forced(monkeypatch):
    """Call it with a form, or ``None`` for the choice of the library, and see what is used."""
    used = []

    def force(form):
        def choose(**sizes):
            used.append(form or best_form(**sizes))
            return used[-1]

        monkeypatch.setattr(layers, 'best_form', choose)
        return used

    return force


def results(model, x):
    """Levels and gradients of all trainable parameters."""
    model.zero_grad()
    levels = [level for streams in model(x).values() for level in streams]
    channel = torch.arange(1024)[:, None, None]
    sum((level * channel[: level.shape[1]]).mean() for level in levels).backward()
    return levels, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('form', ['thin', 'full', None])
@pytest.mark.parametrize('cfg', CFGS, ids=str)
def test_every_form_gives_the_same_network(form, cfg, forced):
    strategy = ('vmap', 'fold', 'loop')[(CFGS.index(cfg) + ('thin', 'full', None).index(form)) % 3]
    plugins = [
        dict(cfg=cfg, targets=['qkv', 'reduction']),
        dict(cfg=cfg, targets=['proj', 'fc1', 'fc2'], lanes='task'),
    ]
    torch.manual_seed(0)
    model = AdapterBackbone(
        TINY['timm Swin'], plugins=plugins, tasks=('sal', 'depth'), lane_strategy=strategy
    )
    stir(model.eval(), 0.1)  # no drop path
    x = torch.randn(1, 3, 64, 64)
    forced('plain')
    expected = results(copy.deepcopy(model), x)
    used = forced(form)
    torch.testing.assert_close(results(model, x), expected, rtol=1e-3, atol=1e-3)
    assert used and (form is None or set(used) == {'plain', form})


@pytest.mark.parametrize(
    'cfg',
    [*CFGS, dict(type='MTLoRA', rank=3, dropout=0.0), dict(type='TADFormer', rank=3, dropout=0.0)],
    ids=str,
)
def test_layers_without_lanes_use_it(cfg, forced):
    used = forced('thin')
    adapt_layer(nn.Linear(6, 4).requires_grad_(False), cfg)(torch.randn(3, 6))
    assert used == ['thin']


@pytest.mark.parametrize('form', ['thin', 'full'])
def test_dropout_and_trained_weights_keep_the_plain_form(form, forced):
    used = forced(form)
    layer = adapt_layer(nn.Linear(6, 4), dict(type='LoRA', rank=2, dropout=0.5))
    layer.train()(torch.randn(3, 6))
    assert not used
    layer.eval()(torch.randn(3, 6)).sum().backward()
    assert not used and layer.weight.grad is not None  # W0 is trained here
    layer.requires_grad_(False)(torch.randn(3, 6))
    assert used == [form]


def test_half_precision_keeps_the_plain_form(forced):
    used = forced('thin')
    layer = adapt_layer(nn.Linear(6, 4).requires_grad_(False), dict(type='DoRA', rank=2))
    stir(layer, 0.1)
    x = torch.randn(8, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16 and not used
    torch.testing.assert_close(out.float(), layer(x), rtol=3e-2, atol=3e-2)
    assert used == ['thin']
    out.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in layer.adapter.parameters())


def test_an_activation_in_place_may_follow():
    """The thin way to the gradient of a gain would need the output as it was."""
    cfg = dict(type='DoRA', rank=2)
    torch.manual_seed(0)
    layer = adapt_layer(nn.Linear(64, 64).requires_grad_(False), cfg)
    stir(layer, 0.1)
    x = torch.randn(4096, 64)
    assert best_form(4096, 64, 64, 2, gain=True) == 'thin'  # what it would be
    nn.Sequential(layer, nn.ReLU(inplace=True))(x).sum().backward()
    got = layer.adapter.magnitude.grad.clone()
    layer.adapter.zero_grad()
    nn.Sequential(layer, nn.ReLU())(x).sum().backward()
    torch.testing.assert_close(got, layer.adapter.magnitude.grad)


# -- the choice ----------------------------------------------------------------------------------


def test_more_rows_and_more_rank_leave_the_plain_form_narrow_layers_take_the_full_way():
    order = ['plain', 'thin', 'full']
    wide = [best_form(rows, 768, 3072, 64) for rows in (49, 400, 3136, 25088)]
    assert wide[0] == 'plain' and wide[-1] == 'thin'
    assert [order.index(f) for f in wide] == sorted(order.index(f) for f in wide)
    ranks = [best_form(25088, 96, 96, rank) for rank in (1, 4, 16, 64)]
    assert [order.index(f) for f in ranks] == sorted(order.index(f) for f in ranks)
    assert ranks[-1] == 'full'


def test_lanes_that_share_their_input_pass_the_frozen_weight_once():
    one = dict(rows=25088, inner=384, outer=384, rank=4)
    assert best_form(**one, lanes=8) == 'thin'
    assert best_form(**one, lanes=8, same_input=True) == 'plain'


def test_without_a_backward_pass_a_formed_weight_pays_sooner():
    sizes = dict(inner=384, outer=384, rank=64)
    rows = range(16, 2000, 16)
    first = [
        next(n for n in rows if best_form(rows=n, **sizes, grad=grad) != 'plain')
        for grad in (False, True)
    ]
    assert all(a <= b for a, b in pairwise(first))
