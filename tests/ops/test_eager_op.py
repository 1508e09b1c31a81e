"""An operator without the dispatcher, and with it where a transform is at work."""

import pytest
import torch

from mtpeft.ops.eager_op import eager


def scaled(calls):
    """``x * s`` as an operator and as its eager form; ``calls`` notes which of them ran."""

    def formula(x, s):
        return x * s

    def operator(x, s):
        calls.append('operator')
        return x * s

    def setup(ctx, inputs, output):
        calls.append('eager')
        _, ctx.s = inputs
        ctx.save_for_backward(inputs[0])

    return eager(operator, formula, setup, lambda ctx, grad: (grad * ctx.s, None))


def test_runs_the_formula_with_its_gradient():
    calls = []
    function = scaled(calls)
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(function(x, 2.0), x * 2)
    assert torch.autograd.gradcheck(lambda x: function(x, 2.0), x)
    assert set(calls) == {'eager'}


def test_transforms_get_the_operator():
    calls = []
    function = scaled(calls)
    x = torch.randn(4, 3)
    assert torch.equal(torch.vmap(lambda x: function(x, 2.0))(x), x * 2)
    assert torch.equal(
        torch.func.grad(lambda x: function(x, 2.0).sum())(x), torch.full((4, 3), 2.0)
    )
    compiled = torch.compile(lambda x: function(x, 2.0), backend='eager', fullgraph=True)
    assert torch.equal(compiled(x), x * 2)
    assert 'eager' not in calls


def test_a_second_derivative_is_an_error():
    x = torch.randn(3, requires_grad=True)
    (grad,) = torch.autograd.grad(scaled([])(x, 2.0).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()
