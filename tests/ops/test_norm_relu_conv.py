"""Norm, ReLU and convolution in runs of channels."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtpeft.ops import norm_relu_conv as module
from mtpeft.ops.levels_conv import convolve_levels
from mtpeft.ops.norm_relu_conv import conv_norm_relu_conv, norm_relu_conv

WIDTHS = (3, 4)


class OwnNorm(nn.BatchNorm2d):
    """Twice the norm."""

    def forward(self, x):
        return 2 * super().forward(x)


def layers(channels=10, out=3, **norm):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels, **norm)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm.double(), nn.Conv2d(channels, out, 1).double()


def plain(x, norm, conv):
    return conv(F.relu(norm(x)))


def calls(monkeypatch):
    """Counts the passes in runs."""
    seen, runs = [], module._runs
    monkeypatch.setattr(module, '_runs', lambda *args: seen.append(args) or runs(*args))
    return seen


@pytest.mark.parametrize('options', [{}, dict(momentum=0.3, eps=0.1),
                                     dict(track_running_stats=False)], ids=str)  # fmt: skip
@pytest.mark.parametrize('bias', [True, False], ids=['bias', 'no bias'])
@pytest.mark.parametrize('run', [1, 3 * 2 * 20, 1 << 18], ids=['one', 'three', 'all'])
def test_training_equals_the_three_modules(run, bias, options, monkeypatch):
    monkeypatch.setattr(module, '_RUN', run)
    seen = calls(monkeypatch)
    norm, conv = layers(**options)
    if not bias:
        conv.bias = None
    modules = nn.ModuleList([norm, conv])
    reference = copy.deepcopy(modules)
    x = torch.randn(2, 10, 4, 5, dtype=torch.float64, requires_grad=True)
    x_too = x.detach().clone().requires_grad_()
    for _ in range(2):  # running statistics go on
        out, expected = norm_relu_conv(x, *modules), plain(x_too, *reference)
        torch.testing.assert_close(out, expected)
        upstream = torch.randn_like(out)
        out.backward(upstream)
        expected.backward(upstream)
    assert len(seen) == 4  # forward and backward pass
    torch.testing.assert_close(x.grad, x_too.grad)
    torch.testing.assert_close(modules.state_dict(), reference.state_dict())
    for ours, theirs in zip(modules.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_numeric_gradients(monkeypatch):
    monkeypatch.setattr(module, '_RUN', 3 * 2 * 6)
    norm, conv = layers(4, 2)
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    inputs = x, norm.weight, norm.bias, conv.weight, conv.bias

    def run(*tensors):
        return module._NormReLUConv.apply(*tensors, norm.eps)[0]

    assert torch.autograd.gradcheck(run, inputs)


def test_the_map_is_all_that_is_kept_of_its_size():
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    norm, conv = layers()
    x = torch.randn(2, 10, 4, 5, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        norm_relu_conv(x, norm, conv)
    assert [n for n in kept.values() if n >= x.numel()] == [x.numel()]


@pytest.mark.parametrize(
    'change',
    [lambda n, c: n.eval(), lambda n, c: setattr(n, 'momentum', None),
     lambda n, c: setattr(n, '__class__', OwnNorm),
     lambda n, c: setattr(c, 'stride', (2, 2))],
    ids=['eval', 'cumulative', 'another norm', 'stride'],
)  # fmt: skip
def test_others_are_called_as_they_are(change, monkeypatch):
    seen = calls(monkeypatch)
    norm, conv = layers()
    change(norm, conv)
    reference = copy.deepcopy(norm), conv
    x = torch.randn(2, 10, 4, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(norm_relu_conv(x, norm, conv), plain(x, *reference))
    assert not seen


def test_half_precision_takes_the_modules(monkeypatch):
    seen = calls(monkeypatch)
    norm, conv = layers()
    x = torch.randn(2, 10, 4, 4, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        assert norm_relu_conv(x, norm.float(), conv.float()).dtype == torch.bfloat16
    assert not seen


def test_one_value_a_channel_is_an_error_as_ever():
    norm, conv = layers()
    x = torch.randn(1, 10, 1, 1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        norm_relu_conv(x, norm, conv)


@pytest.mark.parametrize('folded', [True, False])
@pytest.mark.parametrize('run', [1, 3 * 2 * 32, 1 << 20], ids=['one', 'three', 'all'])
def test_inference_equals_the_modules(run, folded, monkeypatch):
    monkeypatch.setattr(module, '_RUN_OF_LEVELS', run)
    seen = calls(monkeypatch)
    norm, last = layers()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm = nn.Identity() if folded else norm.eval()
    first = nn.Conv2d(7, 10, 1).double()
    levels = [torch.randn(2, c, *s, dtype=torch.float64)
              for c, s in zip(WIDTHS, ((4, 8), (2, 4)), strict=True)]  # fmt: skip
    wide = convolve_levels(levels, WIDTHS, first.weight, first.bias)
    with torch.no_grad():
        out = conv_norm_relu_conv(levels, WIDTHS, first, norm, last)
    torch.testing.assert_close(out, plain(wide, norm, last).detach())
    assert len(seen) == 1
    # with gradients the same, by the modules
    torch.testing.assert_close(conv_norm_relu_conv(levels, WIDTHS, first, norm, last), out)
    assert len(seen) == 1


@pytest.mark.parametrize('which', [0, 1])
def test_modules_with_hooks_are_called(which, monkeypatch):
    seen, calls_of_hook = calls(monkeypatch), []
    modules = layers()
    modules[which].register_forward_hook(lambda *_: calls_of_hook.append(1))
    x = torch.randn(2, 10, 4, 4, dtype=torch.float64, requires_grad=True)
    norm_relu_conv(x, *modules)
    first, levels = nn.Conv2d(3, 10, 1).double(), [torch.randn(1, 3, 4, 4).double()]
    with torch.no_grad():
        conv_norm_relu_conv(levels, (3,), first, modules[0].eval(), modules[1])
    assert calls_of_hook == [1, 1] and not seen


@pytest.mark.parametrize('training', [True, False])
def test_a_bias_that_the_norm_takes_out_has_no_gradient(training):
    norm, last = layers()
    norm.train(training)
    first, levels = nn.Conv2d(3, 10, 1).double(), [torch.randn(2, 3, 4, 4).double()]
    out = conv_norm_relu_conv(levels, (3,), first, norm, last)
    torch.testing.assert_close(out, plain(first(levels[0]), copy.deepcopy(norm), last))
    out.square().sum().backward()
    assert first.weight.grad.any()
    assert first.bias.grad.any() == (not training)
