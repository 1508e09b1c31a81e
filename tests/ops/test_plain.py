"""``plain()`` is the oracle of all operations: formulas as written, results equal to rounding."""

import pytest
import torch
from helpers.adapter_grid import LAYERS, TASKS, label, methods, stir
from helpers.backbones import tiny
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.adapters.lanes.block import LANE_STRATEGIES, LaneBlock
from mtpeft.models import MultiTaskModel
from mtpeft.ops import plain, plain_ops

FORMS = ('thin', 'full')
SPEC = dict(semseg=dict(num_classes=5), depth=dict(), normals=dict())


@pytest.fixture(params=FORMS, autouse=True)
def always_fast(request, monkeypatch):
    """Whatever has a fast form takes it, however small it is."""
    monkeypatch.setattr('mtpeft.adapters.layers.best_form', lambda **_: request.param)
    monkeypatch.setattr('mtpeft.ops.gelu_low_rank_add._LARGE', 1)
    monkeypatch.setattr('mtpeft.ops.levels_conv._SLOWER', 0)
    monkeypatch.setattr('mtpeft.adapters.dora._LARGE', 1)


def own_nodes(outputs):
    """Names of this package's autograd functions in the graph of ``outputs``."""
    found, nodes, seen = set(), [x.grad_fn for x in outputs], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        function = getattr(node, '_forward_cls', None)
        if function is not None and function.__module__.startswith('mtpeft.'):
            found.add(function.__name__)
        nodes += [following for following, _ in node.next_functions]
    return found


def outcome(module, run):
    """Outputs, gradients of all that trains, and what of ours was in the graph."""
    outputs = run()
    total = sum((x * x.detach().cos()).sum() for x in outputs)
    trained = [p for p in module.parameters() if p.requires_grad]
    nodes = own_nodes(outputs)
    grads = torch.autograd.grad(total, trained, allow_unused=True)
    return outputs, [torch.zeros(()) if g is None else g for g in grads], nodes


def same(module, run):
    """What runs is, in its plain form, the same to rounding, and of PyTorch's operators only."""
    outputs, grads, nodes = outcome(module, run)
    with plain():
        assert plain_ops()
        expected, wanted, none = outcome(module, run)
    assert not plain_ops() and not none
    torch.testing.assert_close(outputs, expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(grads, wanted, rtol=1e-5, atol=1e-7)
    return nodes


@pytest.mark.parametrize('strategy', LANE_STRATEGIES)
@pytest.mark.parametrize('kind', ['linear', 'linear on a map', 'conv 1x1'])
@pytest.mark.parametrize('method', methods(), ids=label)
def test_every_method(method, kind, strategy):
    make, shape = LAYERS[kind]
    if method.get('filter', 'none') != 'none' and kind == 'linear':
        pytest.skip('its lanes need a map')
    if method.get('mode') == 'addition' and kind == 'conv 1x1':
        pytest.skip('it normalises the last axis: Linear layers only')
    layer = adapt_layer(make(), method, TASKS).double().train()
    for module in layer.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    stir(nn.ModuleDict(dict(layer=layer)))
    x = torch.randn(shape, dtype=torch.float64)
    block = LaneBlock(nn.Sequential(layer), TASKS, lambda block, x: block(x), strategy)

    def run():
        shared, lanes = block(x)
        return [shared, *lanes]

    same(layer, run)


def build(family, method, **options):
    torch.manual_seed(0)
    backbone = tiny(family, method)
    model = MultiTaskModel(
        tasks=SPEC,
        backbone=backbone,
        necks=[dict(type='ProjectionNeck', out_channels=(4, 6, 8, 8)), *options.get('necks', ())],
        decoder=options.get(
            'decoder', dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8))
        ),
        img_size=(64, 64),
    )
    stir(model)
    return model.double()


MODELS = {
    'MTLoRA': ('timm Swin', dict(type='MTLoRA', rank=2, task_rank=1, dropout=0.0), {}),
    'DoRA and spectra': ('timm Swin', dict(type='DoRA', rank=2), dict(necks=[dict(type='TSPD')])),
    'sines': (
        'timm ViT',
        dict(type='SineAWB', rank=2, kernel_size=None),
        dict(decoder=dict(type='SharedBaseDecoder', channels=8)),
    ),
    'DiTASK': ('mmseg Swin', dict(type='DiTASK', cells=4, task_cells=3, dropout=0.0), {}),
}


@pytest.mark.parametrize('kind', MODELS)
def test_models_in_training_and_merged(kind):
    family, method, options = MODELS[kind]
    model, x = build(family, method, **options), torch.randn(2, 3, 64, 64, dtype=torch.float64)

    def run():
        return list(model._logits(x).values())

    model.eval()
    nodes = same(model, run)
    model.merge_adapters()
    with torch.no_grad():
        merged = run()
        with plain():
            torch.testing.assert_close(run(), merged, rtol=1e-6, atol=1e-8)
    assert nodes, 'no operation of ours ran, so nothing was compared'
