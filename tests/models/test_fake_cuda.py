"""Nothing is made on the wrong device: forward passes on a CUDA device that is not there.

Tensors of torch's FakeTensorMode have a shape and a device, and no numbers. An operator that is
given tensors of two devices raises, and so does one that is given a real tensor: such as what a
layer made on the CPU and kept. The backward pass cannot be tried in this way.
"""

import pytest
import torch
from helpers.adapter_grid import label, methods
from helpers.backbones import TINY, tiny
from helpers.engine import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mtpeft.registry import MODELS

CUDA = torch.device('cuda')
# one for all, since what functions keep for a device outlives a test
MODE = FakeTensorMode(allow_non_fake_inputs=False)
CONFIGS = sorted(path.parent.name for path in ROOT.glob('configs/*/*_swin-pico_scenes.py')
                 if path.stem == f'{path.parent.name}_swin-pico_scenes')  # fmt: skip
# each family with one method, by turns; each method is in a model below, DiTASK with its hundreds
# of operators there alone
SMALL = [method for method in methods() if method['type'] != 'DiTASK']
PAIRS = [(family, SMALL[7 * i % len(SMALL)]) for i, family in enumerate(TINY)]


@pytest.fixture(autouse=True)
def on_a_fake_device(monkeypatch):
    monkeypatch.setattr(torch.__future__, 'get_overwrite_module_params_on_conversion', lambda: True)
    # numbers that decide what is dropped cannot be drawn
    for module in ('mtpeft.ops.dropout', 'mtpeft.adapters.layers'):
        monkeypatch.setattr(f'{module}.draws_again', lambda: False)


def moved(model):
    """The model's parameters and buffers, as fake ones on the GPU; a mode must be at work."""
    for child in model.children():
        if not hasattr(child, '_normalize'):  # (pictures are normalised before a model is called)
            child._apply(lambda t: torch.empty(t.shape, dtype=t.dtype, device=CUDA))
    return model


def devices(outputs):
    """Of all tensors in lists and dicts."""
    if isinstance(outputs, torch.Tensor):
        return {outputs.device.type}
    values = outputs.values() if isinstance(outputs, dict) else outputs
    return set().union(*map(devices, values))


def run(model, size, modes, half=False):
    """Devices of the outputs on the GPU, after a pass on the CPU of which nothing may be left."""
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, *size))
    with MODE:
        moved(model)
        x, found = torch.empty(2, 3, *size, device=CUDA), set()
        for training in modes:
            with torch.autocast('cuda', torch.bfloat16, enabled=half):
                found |= devices(model.train(training)(x))
        return found


@pytest.mark.parametrize(('family', 'method'), PAIRS, ids=label)
def test_backbones_stay_on_their_device(family, method):
    if method.get('mode') == 'addition':
        pytest.skip('needs Linear layers')
    model = nn.Sequential(tiny(family, method))
    assert run(model, (64, 64), modes=[True, False]) == {'cuda'}


@pytest.mark.parametrize('method', CONFIGS)
def test_models_stay_on_their_device(method):
    init_default_scope('mtpeft')
    cfg = Config.fromfile(ROOT / f'configs/{method}/{method}_swin-pico_scenes.py')
    cfg.model.backbone.backbone.pretrained = False
    half = CONFIGS.index(method) % 2 == 1
    assert run(MODELS.build(cfg.model), (96, 96), [False], half) == {'cuda'}


@pytest.mark.parametrize('where', ['made', 'kept'])
def test_a_mistake_is_found(where, monkeypatch):
    """A tensor that is made on the CPU in a pass, and one that was kept from a pass there."""
    kept, plain = torch.ones(1), nn.Linear.forward
    monkeypatch.setattr(
        'mtpeft.adapters.layers.AdapterLinear.frozen',
        lambda self, x: plain(self, x) * (kept if where == 'kept' else torch.ones(1)),
    )
    with pytest.raises((RuntimeError, AssertionError), match='device|FakeTensor'):
        run(nn.Sequential(tiny('timm Swin', dict(type='LoRA', rank=2))), (64, 64), [True])
