"""The yardstick is the same function as our MTLoRA, and as much work as the published one."""

import runpy

import pytest
import torch
from helpers.engine import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from models.tiny_models import random_samples

from mtpeft.benchmark import multiply_adds
from mtpeft.registry import MODELS

REFERENCE = runpy.run_path(str(ROOT / 'tools/benchmark/reference_mtlora.py'))
SIZE = (128, 256)


def config(width=8, rank=3, window=4):
    """The published config at a small width, without dropout and stochastic depth."""
    cfg = Config.fromfile(ROOT / 'configs/mtlora/mtlora-r64_swin-t_pascal.py')
    init_default_scope(cfg.default_scope)
    network = cfg.model.backbone.backbone
    network.update(embed_dim=width, num_heads=(1, 2, 2, 4), window_size=window, drop_path_rate=0.0)
    for plugin in cfg.model.backbone.plugins.values():
        plugin.cfg.update(rank=rank, dropout=0.0)
    cfg.model.backbone.plugins.lanes.cfg.task_rank = 2
    cfg.model.necks[0].out_channels = (3, 4, 5, 6)
    return cfg.model


@pytest.fixture(scope='module')
def pair():
    """Our model and the reference, with the same weights, all of them random."""
    torch.manual_seed(0)
    cfg = config()
    ours = MODELS.build(cfg).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    reference = REFERENCE['from_config'](cfg, SIZE).double()
    state = ours.state_dict()
    keys = {key: REFERENCE['model_key'](key) for key in reference.state_dict()}
    # all but the final norm, which no level reads
    assert set(state) - set(keys.values()) == {
        f'backbone.network.norm.{n}' for n in ('weight', 'bias')
    }
    reference.load_state_dict({key: state[theirs] for key, theirs in keys.items()}, strict=True)
    return ours, reference, keys


@pytest.mark.parametrize('mode', [True, False])
def test_outputs_are_equal(pair, mode):
    ours, reference, _ = pair
    x = torch.randn(2, 3, *SIZE, dtype=torch.float64)
    with torch.no_grad():
        got, wanted = reference.train(mode)(x), ours.train(mode)(x)
    assert list(got) == list(wanted)
    for name, logits in wanted.items():
        # both bring logits to the input's size in float32
        torch.testing.assert_close(got[name], logits.float(), rtol=1e-5, atol=1e-5)
        assert logits.std() > 1e-3


def test_losses_and_gradients_are_equal(pair):
    ours, reference, keys = pair
    x = torch.randn(2, 3, *SIZE, dtype=torch.float64)
    samples = random_samples([SIZE, SIZE], ours.tasks)
    losses = ours.train().loss(x, samples)
    wanted = {name: value for name, value in losses.items() if name.startswith('loss_')}
    got = reference.train().loss(x, samples)
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value.float(), rtol=1e-5, atol=1e-6)
    sum(wanted.values()).backward()
    sum(got.values()).backward()
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    compared = 0
    for key, parameter in reference.named_parameters():
        theirs = keys[key]
        if theirs in gradients:
            gradient = gradients[theirs]
        else:
            theirs, task = theirs.rsplit('.', 1)
            gradient = gradients[theirs][list(ours.tasks).index(task)]
        if gradient is None or parameter.grad is None:
            # frozen, or behind the last layer that a task reads
            assert not _any(gradient) and not _any(parameter.grad), key
            continue
        compared += 1
        scale = gradient.abs().max()
        if key.endswith('conv1.bias'):
            # a norm follows: zero but for rounding
            weight = reference.get_parameter(key.replace('bias', 'weight')).grad
            assert max(scale, parameter.grad.abs().max()) < 1e-5 * weight.abs().max(), key
            continue
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5 * scale, msg=key)
    assert compared > 200


def _any(gradient):
    return gradient is not None and bool(gradient.any())


def test_the_same_parameters_are_trained(pair):
    ours, reference, _ = pair
    counts = [sum(p.numel() for p in m.parameters() if p.requires_grad) for m in (ours, reference)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize('size', [(64, 64), (128, 128)])
def test_fused_attention_is_the_same_function(size):
    torch.manual_seed(0)
    cfg = config(window=2)
    models = {a: REFERENCE['from_config'](cfg, size, a).eval() for a in ('plain', 'fused')}
    models['fused'].load_state_dict(models['plain'].state_dict())
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        plain, fused = models['plain'](x), models['fused'](x)
    for name, logits in plain.items():
        torch.testing.assert_close(fused[name], logits, rtol=1e-4, atol=1e-5)


def test_published_size_has_the_published_parameters_and_31_g_multiply_adds():
    """8,344,634 (arXiv 2403.20320); counted at 224, a quarter of the tokens and pixels of 448."""
    tasks = ['semseg', 'human_parts', 'sal', 'normals']
    reference = REFERENCE['ReferenceMTLoRA'](tasks, (224, 224)).eval()
    assert sum(p.numel() for p in reference.parameters() if p.requires_grad) == 8_344_634
    with torch.no_grad():
        count = multiply_adds(lambda: reference(torch.zeros(1, 3, 224, 224)))
    assert 4 * count == pytest.approx(31e9, rel=0.02)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match='divisible by 224'):
        REFERENCE['ReferenceMTLoRA'](['sal'], (224, 256))
    with pytest.raises(ValueError, match=r"'plain'"):
        REFERENCE['ReferenceMTLoRA'](['sal'], (224, 224), attention='plane')
