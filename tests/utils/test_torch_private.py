"""What torch does not promise to keep is still there, and does what is said of it.

A failure here says which name is gone: find what took its place, and write it into
``mtpeft/utils/torch_private.py``.
"""

from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn

try:
    from mtpeft.utils import torch_private
except ImportError as gone:
    pytest.fail(str(gone), pytrace=False)


def test_a_name_that_is_gone_is_told():
    expected = rf'torch {torch.__version__.split("+")[0]}.* has no private name Linear\.forvard'
    with pytest.raises(ImportError, match=expected):
        torch_private.private(nn.Linear, 'forvard', '2.14.1')
    with pytest.raises(ImportError, match=r'torch\.nn\._gone.*torch 2\.14\.1 has it'):
        torch_private.private(nn, '_gone', '2.14.1')


def test_is_batched_sees_what_vmap_hides():
    seen = []

    def function(x, y):
        seen.extend([torch_private.is_batched(x), torch_private.is_batched(y)])
        return x + y

    torch.vmap(function, in_dims=(0, None))(torch.zeros(2, 3), torch.zeros(3))
    assert seen == [True, False]
    assert not torch_private.is_batched(torch.zeros(2))


def test_transform_is_there_while_one_is_at_work():
    seen = []

    def function(x):
        seen.append(torch_private.transform())
        return x.sum()

    function(torch.zeros(2))
    assert seen == [None]
    torch.vmap(function)(torch.zeros(2, 2))
    torch.func.grad(function)(torch.zeros(2))
    assert len(seen) == 3 and None not in seen[1:]


def test_wrap_compiled_calls_around_each_pass():
    calls = []

    class Doubled(nn.Module):
        def forward(self, x):
            calls.append('pass')
            if x.numel() == 0:
                raise ValueError('nothing')
            return 2 * x

    module = Doubled()

    @contextmanager
    def around():
        calls.append('before')
        try:
            yield
        finally:
            calls.append('after')

    with pytest.raises(RuntimeError, match=r'Doubled has no graph yet: call its compile\(\)'):
        torch_private.wrap_compiled(module, around)
    module.compile(backend='eager')
    module._compiled_call_impl = module.forward  # a graph that notes its passes
    torch_private.wrap_compiled(module, around)
    assert module(torch.ones(1)).item() == 2
    with pytest.raises(ValueError, match='nothing'):
        module(torch.ones(0))
    assert calls == ['before', 'pass', 'after'] * 2


def test_compile_takes_the_place_of_a_pass():
    module = nn.Linear(2, 2)
    module.compile(backend='eager')
    calls = []
    torch_private.wrap_compiled(module, lambda: nullcontext(calls.append('before')))
    x = torch.ones(1, 2)
    assert torch.equal(module(x), module.forward(x))
    assert calls == ['before']


@pytest.mark.parametrize(('gradient', 'overflow'), [(1.0, False), (float('inf'), True)])
def test_overflows_of_a_loss_scaler(gradient, overflow):
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scaler = torch.amp.GradScaler('cpu')
    (scaler.scale(parameter.sum()) * gradient).backward()
    scaler.unscale_(optimizer)
    found = list(torch_private.overflows(scaler, optimizer))
    assert len(found) == 1 and bool(found[0] > 0) is overflow


def test_itself_is_the_module_behind_what_an_export_hands_out():
    seen = []

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            twice = nn.ReLU()  # stand-ins are made where a module is found in two places
            self.inner = nn.Sequential(twice, nn.Linear(2, 2), twice)

        def forward(self, x):
            seen.append((self.inner, torch_private.itself(self.inner)))
            return self.inner(x)

    outer = Outer()
    torch.export.export(outer, (torch.zeros(1, 2),), strict=False)
    assert all(found is outer.inner for _, found in seen)
    assert any(wrapped is not found for wrapped, found in seen)
    assert torch_private.itself(outer) is outer
