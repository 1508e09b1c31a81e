"""Backbone with lanes, necks and decoder are one graph each for torch.compile, without a break."""

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.backbones import TINY

from mtpeft.models import MultiTaskModel
from mtpeft.utils.compiling import compile_parts

LANES = ['proj', 'fc1', 'fc2']
METHODS = {
    'MTLoRA': dict(
        cfg=dict(type='MTLoRA', rank=4, task_rank=2, dropout=0.0), train_also=['reduction']
    ),
    'FAAR': dict(cfg=dict(type='DoRA', rank=4), necks=[dict(type='TSPD')]),
    'Free Sinewich': dict(
        cfg=dict(type='SineAWB', rank=4, kernel_size=None),
        decoder=dict(type='SharedBaseDecoder', channels=8),
    ),
}
HEADS = dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8))


def build(cfg, train_also=(), necks=(), decoder=HEADS):
    torch.manual_seed(0)
    backbone = dict(
        type='AdapterBackbone',
        backbone=dict(TINY['timm Swin'], depths=(1, 1), num_heads=(1, 2), drop_path_rate=0.0),
        plugins=[
            dict(cfg=cfg, targets=['qkv']),
            dict(cfg=cfg, targets=LANES, lanes='task'),
        ],
        train_also=['block_norms', *train_also],
    )
    model = MultiTaskModel(
        tasks=['sal', 'depth'], backbone=backbone, decoder=decoder, img_size=(64, 64),
        necks=[dict(type='ProjectionNeck', out_channels=(2, 3)), *necks],
    )  # fmt: skip
    stir(model, 0.1)
    return model


def results(model, x):
    model.zero_grad()
    logits = model(x)
    sum((value * value.detach().cos()).sum() for value in logits.values()).backward()
    return logits, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('method', METHODS)
def test_one_graph_a_part_and_the_same_gradients(method):
    model, x = build(**METHODS[method]).double().train(), torch.randn(2, 3, 64, 64).double()
    torch._dynamo.reset()
    # fullgraph raises at a break
    expected = results(model, x)
    compiled = results(compile_parts(model, 'aot_eager', fullgraph=True), x)
    torch.testing.assert_close(compiled, expected, rtol=1e-6, atol=1e-8)
