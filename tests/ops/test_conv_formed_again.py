"""A convolution whose kernel is formed twice equals that with a kernel that is kept."""

import pytest
import torch
import torch.nn.functional as F

from mtpeft.ops import conv_formed_again as module
from mtpeft.ops.conv_formed_again import Geometry, conv_formed_again

LANES = 3
GEOMETRIES = [Geometry(), Geometry((2, 1), (1, 2), (1, 2))]


def double(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def make(a, b, weight):
    """Sources with an axis of lanes, of which that of ``weight`` is 1."""
    return weight + (b @ a).sin()[..., None, None]


def same_gradients(found, expected, inputs):
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
    )


@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
@pytest.mark.parametrize('bias', [True, False])
def test_equals_the_convolution_with_a_kept_kernel(bias, geometry):
    x, a, b, weight = double(2, 5, 7, 6), double(2, 5), double(6, 2), double(6, 5, 3, 3)
    inputs = [x, a, b, weight, *([double(6)] if bias else [])]
    kept = inputs[4] if bias else None
    found = conv_formed_again(x, kept, make, geometry, a, b, weight)
    expected = F.conv2d(x, make(a, b, weight), kept, *geometry)
    same_gradients(found, expected, inputs)


@pytest.mark.parametrize('at_once', [False, True], ids=['in turn', 'at once'])
@pytest.mark.parametrize(
    'mapped', [(0, 0, 0), (None, 0, 0), (1, None, 1), (4, 1, None), (0, None, None)], ids=str
)
@pytest.mark.parametrize('channels_last', [False, True])
def test_lanes_under_vmap_equal_lanes_one_by_one(mapped, at_once, channels_last, monkeypatch):
    """Whatever is mapped, on whichever axis, on a CPU and as on other devices."""
    if at_once:
        monkeypatch.setattr(module, 'groups_of_lanes', lambda x, count: [slice(None)])
    weight, bias = double(6, 5, 3, 3), double(6)
    shapes = dict(x=(2, 5, 7, 6), a=(2, 5), b=(6, 2))
    tensors = []
    for shape, dim in zip(shapes.values(), mapped, strict=True):
        sides = list(shape)
        sides[dim if dim is not None else 0 : dim or 0] = [] if dim is None else [LANES]
        tensors.append(double(*sides))

    def lane(x, a, b, form=conv_formed_again):
        x = x.movedim(1, -1).contiguous().movedim(-1, 1) if channels_last else x
        return form(x, bias, make, GEOMETRIES[1], a, b, weight)

    def kept(x, bias, make, geometry, *sources):
        return F.conv2d(x, make(*sources), bias, *geometry)

    found = torch.vmap(lane, in_dims=mapped)(*tensors)
    slices = [
        [t if dim is None else t.select(dim, i) for t, dim in zip(tensors, mapped, strict=True)]
        for i in range(LANES)
    ]
    expected = torch.stack([lane(*one, form=kept) for one in slices])
    same_gradients(found, expected, [*tensors, weight, bias])


def test_each_lane_stays_channels_last_and_may_be_changed_in_place():
    a, b, weight = double(LANES, 2, 5), double(LANES, 6, 2), double(6, 5, 3, 3)
    x = double(2, 5, 7, 6).to(memory_format=torch.channels_last)
    lane = torch.vmap(lambda a, b: conv_formed_again(x, None, make, Geometry(), a, b, weight))
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in lane(a, b))
    conv_formed_again(x, None, make, Geometry(), a[0], b[0], weight).relu_().sum().backward()


def test_no_kernel_is_kept():
    a, b, weight = double(2, 5), double(6, 2), double(6, 5, 3, 3)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        conv_formed_again(double(2, 5, 7, 6), None, make, Geometry(), a, b, weight)
    assert [t.numel() for t in kept].count(weight.numel()) == 1  # the source itself


def test_each_lane_with_a_bias_of_its_own_is_refused():
    weight = double(6, 5, 3, 3)
    with pytest.raises(ValueError, match='one bias for all lanes'):
        torch.vmap(
            lambda x, bias: conv_formed_again(x, bias, lambda w: w, Geometry(), weight)
        )(double(LANES, 2, 5, 7, 6), double(LANES, 6))  # fmt: skip
