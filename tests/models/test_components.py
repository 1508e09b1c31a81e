"""Trainable parameters by component."""

import pytest
import torch
from tiny_models import TinyBackbone, tiny_model
from torch import nn

from mtpeft.models import decoder_components, parameter_components


def count(parameters):
    return sum(p.numel() for p in parameters if p.requires_grad)


def test_partition_of_a_model():
    model = tiny_model(
        tasks=['sal', 'depth'], backbone=TinyBackbone(['sal', 'depth'], spare=True),
        loss_weighting=dict(type='UncertaintyWeighting'),
    )  # fmt: skip
    model.backbone.down.requires_grad_(False)
    parts = parameter_components(model)
    assert sum(parts.values()) == count(model.parameters())
    assert parts == {
        'norms': 6 * 3 * 16, 'lora_task': 2 * 6, 'unused': 3, 'other': 6,  # other: the stem's bias
        'projections': count(model.necks.parameters()), 'heads': count(model.decoder.parameters()),
        'loss_weighting': 2,
    }  # fmt: skip
    assert set(decoder_components) == {'projections', 'heads', 'shared_base'}


def test_frozen_components_are_left_out():
    model = tiny_model(tasks=['sal']).requires_grad_(False)
    assert parameter_components(model) == {}


class Claims(nn.Module):
    def __init__(self, claims, **modules):
        super().__init__()
        self.claims = claims
        for name, module in modules.items():
            self.add_module(name, module)

    def parameter_components(self):
        return self.claims


def test_outer_module_decides_and_tied_parameters_count_once():
    layer = nn.Linear(2, 3)
    inner = Claims(dict(inner=['layer.weight', 'layer.bias']), layer=layer)
    outer = Claims(dict(outer=['inner.layer.bias', 'again.bias']), inner=inner, again=layer)
    assert parameter_components(outer) == {'inner': 6, 'outer': 3}


def test_name_that_is_missing():
    with pytest.raises(KeyError, match="'0' names a missing parameter 'gone'"):
        parameter_components(nn.Sequential(Claims(dict(x=['gone']))))


def test_a_wrapped_model_counts_alike():
    model = tiny_model(tasks=['sal'])
    assert parameter_components(nn.Sequential(model)) == parameter_components(model)
    assert torch.tensor(list(parameter_components(model).values())).sum() == count(
        model.parameters()
    )
