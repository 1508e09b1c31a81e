"""Merged models: the same predictions for every method's config, and no training."""

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.configs import PICO, build
from models.tiny_models import random_samples, tiny_model
from torch import nn

from mtpeft.models import HRNetHead, MultiHeadDecoder, SharedBaseDecoder

TASKS = dict(semseg=dict(num_classes=5), depth=dict())


def picture(size=(64, 96), batch=2):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def spread_norms(model):
    """BatchNorms with statistics and weights of their own."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)


def close(found, expected, rtol=1e-4):
    assert found.keys() == expected.keys()
    for task, wanted in expected.items():
        peak = float(wanted.abs().max())
        torch.testing.assert_close(found[task], wanted, rtol=rtol, atol=rtol * peak, msg=task)


def check(model, x):
    modules = {n: id(m) for n, m in model.named_modules()}
    with torch.no_grad():
        before = model(x)
        report = model.merge_adapters()
        close(model(x), before)
        model.unmerge_adapters()
        after = model(x)
    assert {n: id(m) for n, m in model.named_modules()} == modules
    for task in before:
        assert torch.equal(after[task], before[task])
    return report


@pytest.mark.parametrize('path', PICO, ids=lambda path: path.name)
def test_every_config(path):
    model = build(path).eval()
    if model.backbone.adapted:
        stir(model, 0.05)
    spread_norms(model.decoder)
    report = check(model, picture())
    heads = [n for n, m in model.named_modules() if isinstance(m, HRNetHead)]
    assert len([n for n in report.names('norm') if n.startswith('decoder.')]) == (
        len(heads) or len(model.tasks)
    )


def test_shared_base_becomes_a_head_for_each_task():
    decoder = dict(type='SharedBaseDecoder', channels=12)
    model = tiny_model(TASKS, decoder=decoder).eval()
    spread_norms(model)
    report = check(model, picture())
    assert report.names('heads') == ['decoder']
    model.merge_adapters()
    assert type(model.decoder) is MultiHeadDecoder
    keys = model.decoder.state_dict().keys()
    assert not any('clock' in key or 'base' in key or 'norm' in key for key in keys)
    model.unmerge_adapters()
    assert type(model.decoder) is SharedBaseDecoder


@pytest.mark.parametrize(
    'head',
    [
        dict(type='mmseg.FCNHead', channels=4, num_convs=1, norm_cfg=dict(type='BN')),
        dict(type='mmseg.UPerHead', channels=4, pool_scales=(1, 2), norm_cfg=dict(type='BN')),
        dict(type='mmseg.SegformerHead', channels=4, norm_cfg=dict(type='BN')),
    ],
    ids=lambda head: head['type'],
)
def test_norms_of_mmseg_heads(head):
    model = tiny_model(TASKS, decoder=dict(type='MultiHeadDecoder', head=head)).eval()
    spread_norms(model)
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(check(model, picture()).names('norm')) == set(norms)


def test_predictions_of_a_merged_model():
    model = tiny_model(TASKS).eval()
    spread_norms(model)
    before = model.predict(picture())
    model.merge_adapters()
    for own, merged in zip(before, model.predict(picture()), strict=True):
        torch.testing.assert_close(own.get_pred('depth'), merged.get_pred('depth'))


def test_a_merged_model_does_not_train():
    model = tiny_model(TASKS)
    samples = random_samples([(32, 32)], TASKS)
    model.merge_adapters()
    assert model.merged and not model.training
    for train in (model.train, lambda: model(picture((32, 32), 1), samples, mode='loss')):
        with pytest.raises(RuntimeError, match='unmerge_adapters'):
            train()
    with pytest.raises(RuntimeError, match='cannot be merged again'):
        model.merge_adapters()
    model.unmerge_adapters()
    model.unmerge_adapters()  # nothing to do
    model.train()(picture((32, 32), 1), samples, mode='loss')


def test_a_backbone_that_was_merged_alone_stays_so():
    model = build(next(p for p in PICO if p.name.startswith('lora_'))).eval()
    model.backbone.merge_adapters()
    model.merge_adapters()
    model.unmerge_adapters()
    assert model.backbone.merged and not model.merged


def test_the_state_of_a_merged_model_fits_another_one():
    path = next(p for p in PICO if p.name.startswith('sinewich_swin'))
    models = [build(path, seed=seed).eval() for seed in (0, 1)]
    for model in models:
        stir(model, 0.05)
        model.merge_adapters()
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    with torch.no_grad():
        close(models[1](picture()), models[0](picture()), 1e-6)
