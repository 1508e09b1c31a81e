"""What turns the plain forms on: a variable of the environment, and exporting."""

import importlib.util

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.backbones import tiny
from torch import nn

from mtpeft.ops import plain_ops


@pytest.mark.parametrize(('value', 'expected'), [('1', True), ('0', False), (None, False)])
def test_the_variable_of_the_environment(monkeypatch, value, expected):
    monkeypatch.delenv('MTPEFT_PLAIN_OPS', raising=False)
    if value is not None:
        monkeypatch.setenv('MTPEFT_PLAIN_OPS', value)
    # the variable is read when the module is imported: here once more, beside the one in use
    spec = importlib.util.spec_from_file_location('plain_again', plain_ops.__code__.co_filename)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.plain_ops() == expected


def test_an_exported_model_holds_no_operator_of_ours(monkeypatch):
    monkeypatch.setattr('mtpeft.adapters.layers.best_form', lambda **_: 'thin')
    model = tiny('timm ViT', dict(type='LoRA', rank=2)).eval().double()
    stir(model)

    class Levels(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return tuple(level for levels in self.model(x).values() for level in levels)

    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    exported = torch.export.export(Levels(), (x,))
    own = {str(n.target) for n in exported.graph.nodes if 'mtpeft' in str(n.target)}
    assert not {name for name in own if not name.startswith(('p_', 'b_'))}
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(x), Levels()(x))
