"""DoRA against its definition."""

import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import LAYERS, TASKS, stir
from torch import nn

from mtpeft.adapters import LaneBlock, adapt_layer
from mtpeft.adapters.dora import row_norms


def adapted(kind='linear', tasks=(), **options):
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    layer = adapt_layer(build(), dict(type='DoRA', rank=3, **options), tasks).double()
    return layer, torch.randn(shape, dtype=torch.float64)


def defined(layer, a, b, magnitude):
    """W' row by row, in plain loops."""
    w0, rows = layer.weight.detach().flatten(1), []
    for o in range(w0.shape[0]):
        row = w0[o] + layer.adapter.scale * sum(b[o, i] * a[i].flatten() for i in range(len(a)))
        rows.append(magnitude[o] * row / row.square().sum().sqrt())
    return torch.stack(rows).view_as(layer.weight).detach()


def apply(layer, weight, x):
    plain = LAYERS['linear' if isinstance(layer, nn.Linear) else 'conv 3x3 stride 2'][0]().double()
    plain.load_state_dict(dict(weight=weight, bias=layer.bias.detach()))
    return plain(x)


@pytest.mark.parametrize('kind', ['linear', 'conv 3x3 stride 2'])
def test_definition(kind):
    layer, x = adapted(kind, TASKS)
    stir(layer)
    adapter = layer.adapter
    weight = defined(layer, adapter.A, adapter.B, adapter.magnitude)
    torch.testing.assert_close(layer(x), apply(layer, weight, x))
    torch.testing.assert_close(adapter.weight(layer), weight)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

    _, lanes = LaneBlock(Block(), TASKS, lambda block, x: block.layer(x))(x)
    for i, task in enumerate(TASKS):
        weight = defined(layer, adapter.task_A[i], adapter.task_B[i], adapter.task_magnitude[i])
        torch.testing.assert_close(lanes[i], apply(layer, weight, x))
        torch.testing.assert_close(adapter.weight(layer, task), weight)


@pytest.mark.parametrize('lanes', [(), (4,)])
@pytest.mark.parametrize('sizes', [(6, 5), (600, 500)], ids=['direct', 'small products'])
def test_row_norms(lanes, sizes):
    out, inner = sizes
    weight = torch.randn(out, inner, dtype=torch.float64)
    a = torch.randn(*lanes, 3, inner, dtype=torch.float64)
    b = torch.randn(*lanes, out, 3, dtype=torch.float64)
    expected = torch.linalg.vector_norm(
        weight + 2.5 * torch.einsum('...or,...ri->...oi', b, a), dim=-1
    )
    torch.testing.assert_close(row_norms(weight, a, b, 2.5), expected)


def test_row_norms_leave_low_precision():
    weight, a, b = torch.randn(6, 5), torch.randn(2, 5), torch.randn(6, 2)
    expected = row_norms(weight, a, b, 1.0)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.testing.assert_close(row_norms(weight, a, b, 1.0), expected, rtol=0, atol=0)
    halves = [x.bfloat16() for x in (weight, a, b)]
    norms = row_norms(*halves, 1.0)
    assert norms.dtype == torch.float32
    torch.testing.assert_close(norms, row_norms(*(x.float() for x in halves), 1.0))


@pytest.mark.parametrize('sizes', [(12, 10), (700, 500)])
def test_start_is_exact(sizes):
    for layer in (nn.Linear(*sizes), nn.Linear(*sizes, bias=False)):
        x = torch.randn(5, sizes[0])
        expected = layer(x)
        assert torch.equal(adapt_layer(layer, dict(type='DoRA', rank=4))(x), expected)


def test_magnitudes_start_from_weights_loaded_after_injection():
    layer, x = adapted(tasks=TASKS)
    other = LAYERS['linear'][0]().double()
    other.weight.data.mul_(3)
    layer.load_state_dict(other.state_dict(), strict=False)
    torch.testing.assert_close(layer(x), other(x))
    norms = torch.linalg.vector_norm(other.weight, dim=1)
    torch.testing.assert_close(layer.adapter.magnitude.data, norms.detach())
    torch.testing.assert_close(layer.adapter.task_magnitude.data, norms.detach().expand(3, -1))


def test_a_whole_checkpoint_keeps_its_magnitudes():
    layer, x = adapted(tasks=TASKS)
    stir(layer)
    expected, state = layer(x), {k: v.clone() for k, v in layer.state_dict().items()}
    fresh, _ = adapted(tasks=TASKS)
    fresh.load_state_dict(state)
    assert torch.equal(fresh(x), expected)


@pytest.mark.parametrize('detach', [True, False])
def test_gradient_through_the_norm_is_optional(detach):
    layer, x = adapted(detach_norm=detach)
    stir(layer)
    adapter = layer.adapter
    layer(x).pow(3).mean().backward()
    got = [p.grad.clone() for p in (adapter.A, adapter.B, adapter.magnitude)]
    a, b, m = (
        p.detach().clone().requires_grad_() for p in (adapter.A, adapter.B, adapter.magnitude)
    )
    direction = layer.weight.detach() + adapter.scale * b @ a
    norm = direction.norm(dim=1, keepdim=True)
    weight = m[:, None] * direction / (norm.detach() if detach else norm)
    F.linear(x, weight, layer.bias).pow(3).mean().backward()
    for ours, theirs in zip(got, (a.grad, b.grad, m.grad), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_row_of_zeros_stays_finite():
    layer = nn.Linear(6, 4)
    layer.weight.data[1] = 0
    new = adapt_layer(layer, dict(type='DoRA', rank=2))
    out = new(torch.randn(3, 6))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(p.grad).all() for p in new.adapter.parameters())
    torch.testing.assert_close(out[:, 1], layer.bias[1].expand(3))
