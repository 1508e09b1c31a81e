"""The operator is the sum of a frozen output and a low-rank product, for lanes as a loop."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from mtpeft.ops.low_rank_add import low_rank_add

SCALE = 0.7
LANES = 3
STACKED = pytest.mark.parametrize(
    ('frozen_lanes', 'x_lanes'), [(False, False), (False, True), (True, False), (True, True)]
)


def tensors(frozen_lanes=False, x_lanes=False, lanes=0, dtype=torch.float64):
    """frozen, x, A, B, all with a gradient."""
    torch.manual_seed(0)
    lead = (lanes,) if lanes else ()
    shapes = (2, 5, 4), (2, 5, 6), (2, 6), (4, 2)
    stacked = frozen_lanes, x_lanes, True, True
    made = [
        torch.randn(*(lead if s else ()), *shape, dtype=dtype, requires_grad=True)
        for shape, s in zip(shapes, stacked, strict=True)
    ]
    return made


def plain(frozen, x, a, b):
    return frozen + SCALE * ((x @ a.mT) @ b.mT)


def loop(frozen, x, a, b, frozen_lanes, x_lanes):
    return torch.stack(
        [
            plain(frozen[i] if frozen_lanes else frozen, x[i] if x_lanes else x, a[i], b[i])
            for i in range(LANES)
        ]
    )


def gradients(out, made):
    torch.manual_seed(1)
    return torch.autograd.grad(out, made, torch.randn_like(out))


def test_one_stream():
    made = tensors()
    out, expected = low_rank_add(*made, SCALE), plain(*made)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradients(out, made), gradients(expected, made))
    assert torch.autograd.gradcheck(lambda *t: low_rank_add(*t, SCALE), made)


@STACKED
def test_lanes_under_vmap_are_a_loop(frozen_lanes, x_lanes):
    made = tensors(frozen_lanes, x_lanes, LANES)
    dims = 0 if frozen_lanes else None, 0 if x_lanes else None, 0, 0
    out = torch.vmap(lambda *t: low_rank_add(*t, SCALE), dims)(*made)
    expected = loop(*made, frozen_lanes, x_lanes)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradients(out, made), gradients(expected, made))


@STACKED
def test_rows_of_lanes_with_the_same_factors(frozen_lanes, x_lanes):
    if not (frozen_lanes or x_lanes):
        pytest.skip('nothing to map')
    frozen, x, a, b = tensors(frozen_lanes, x_lanes, LANES)
    dims = 0 if frozen_lanes else None, 0 if x_lanes else None
    out = torch.vmap(lambda f, x: low_rank_add(f, x, a[0], b[0], SCALE), dims)(frozen, x)
    same = [t[:1].expand_as(t) for t in (a, b)]
    torch.testing.assert_close(out, loop(frozen, x, *same, frozen_lanes, x_lanes))


@STACKED
def test_lanes_by_finite_differences(frozen_lanes, x_lanes):
    made = tensors(frozen_lanes, x_lanes, LANES)
    assert torch.autograd.gradcheck(lambda *t: low_rank_add(*t, SCALE, frozen_lanes, x_lanes), made)


@STACKED
@pytest.mark.parametrize('lanes', [0, LANES])
def test_library_checks_and_compiles_without_a_break(frozen_lanes, x_lanes, lanes):
    if not lanes and (frozen_lanes or x_lanes):
        pytest.skip('one stream has no lanes')
    made = tensors(frozen_lanes, x_lanes, lanes, torch.float32)
    args = (*made, SCALE, frozen_lanes, x_lanes)
    torch.library.opcheck(torch.ops.mtpeft.low_rank_add.default, args)
    torch._dynamo.reset()
    compiled = torch.compile(low_rank_add, fullgraph=True, backend='aot_eager')
    out, expected = compiled(*args), low_rank_add(*args)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradients(out, made), gradients(expected, made))


def test_under_checkpointing():
    made = tensors()
    out = checkpoint(lambda *t: low_rank_add(*t, SCALE), *made, use_reentrant=False)
    torch.testing.assert_close(gradients(out, made), gradients(plain(*made), made))


def test_factors_in_float32_beside_rows_in_half_precision():
    made = tensors(dtype=torch.float32)
    low = [t.detach().bfloat16().requires_grad_() for t in made[:2]]
    out = low_rank_add(*low, *made[2:], SCALE)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), plain(*made), rtol=3e-2, atol=3e-2)
    grads = gradients(out, [*low, *made[2:]])
    assert [g.dtype for g in grads] == [torch.bfloat16] * 2 + [torch.float32] * 2


@STACKED
@pytest.mark.parametrize('lanes', [0, LANES])
def test_the_result_may_be_changed_in_place(frozen_lanes, x_lanes, lanes):
    if not lanes and (frozen_lanes or x_lanes):
        pytest.skip('one stream has no lanes')
    made = tensors(frozen_lanes, x_lanes, lanes)
    out, other = (low_rank_add(*made, SCALE, frozen_lanes, x_lanes) for _ in range(2))
    torch.testing.assert_close(gradients(out.mul_(2), made), gradients(other * 2, made))


def test_mapping_twice_is_refused():
    made = [t[None] for t in tensors(True, True, LANES)]
    twice = torch.vmap(torch.vmap(lambda *t: low_rank_add(*t, SCALE)))
    with pytest.raises(ValueError, match='mapped once'):
        twice(*made)


@STACKED
def test_operations_are_counted(frozen_lanes, x_lanes):
    made = tensors(frozen_lanes, x_lanes, LANES)
    with FlopCounterMode(display=False) as counter:
        out = low_rank_add(*made, SCALE, frozen_lanes, x_lanes)
    forward = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    once = 2 * LANES * 10 * 2  # lanes, rows, rank
    assert forward == once * (6 + 4)
    assert counter.get_total_flops() == once * (3 * 6 + 2 * 4)
