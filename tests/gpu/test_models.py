"""Whole models on the GPU: one training step and inference as on the CPU."""

import copy

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.engine import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from models.tiny_models import random_samples

from mtpeft.registry import MODELS

SIZE = (96, 96)
CONFIGS = sorted(path.parent.name for path in ROOT.glob('configs/*/*_swin-pico_scenes.py')
                 if path.stem == f'{path.parent.name}_swin-pico_scenes')  # fmt: skip


def model_of(method):
    init_default_scope('mtpeft')
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / f'configs/{method}/{method}_swin-pico_scenes.py')
    cfg.model.backbone.backbone.update(pretrained=False, drop_path_rate=0.0)
    model = MODELS.build(cfg.model)
    stir(model, 0.05)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model


def step(model, device, x, samples):
    model = copy.deepcopy(model).to(device).train()
    losses = model(x.to(device), [sample.to(device) for sample in samples], mode='loss')
    total = sum(value for key, value in losses.items() if 'loss' in key)
    total.backward()
    norm = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    with torch.no_grad():
        logits = model.eval()(x.to(device))
    return float(total), norm**0.5, {name: value.cpu() for name, value in logits.items()}


@pytest.mark.parametrize('method', CONFIGS)
def test_a_step_and_inference_are_those_of_the_cpu(method, device):
    model = model_of(method)
    x, samples = torch.randn(2, 3, *SIZE), random_samples([SIZE] * 2, model.tasks)
    found = step(model, device, x, samples)
    expected = step(model, torch.device('cpu'), x, samples)
    assert found[0] == pytest.approx(expected[0], rel=1e-3)
    assert found[1] == pytest.approx(expected[1], rel=1e-2)
    for name, logits in expected[2].items():
        scale = float(logits.abs().max())
        assert float((found[2][name] - logits).abs().max()) < 1e-2 * scale, name


@pytest.mark.parametrize('method', ['faar', 'sinewich', 'mtlora'])
def test_merged_as_on_the_cpu(method, device):
    model, x = model_of(method).eval(), torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = model(x)
        model.to(device).merge_adapters()
        for name, logits in model(x.to(device)).items():
            scale = float(expected[name].abs().max())
            assert float((logits.cpu() - expected[name]).abs().max()) < 1e-2 * scale, name
