"""Small models of the methods, as files."""

import numpy as np
import torch
from helpers.backbones import FIRST, MLP, TINY, wake

from mtpeft.export import differences, export_model, runner_of
from mtpeft.models import MultiTaskModel

TASKS = dict(semseg=dict(num_classes=5), sal=dict(), normals=dict(), depth=dict())
SIZE = (64, 96)
WIDTHS = (4, 6, 8, 10)
SMALL = {
    **TINY,
    'timm Swin': dict(TINY['timm Swin'], depths=(1, 1, 1, 1)),
    'timm Swin V2': dict(TINY['timm Swin V2'], depths=(1, 1, 1, 1)),
    'mmseg Swin': dict(TINY['mmseg Swin'], depths=(1, 1, 1, 1)),
    'timm PVT v2': dict(TINY['timm PVT v2'], depths=(1, 1, 1, 1)),
    'timm ConvNeXt': dict(TINY['timm ConvNeXt'], depths=(1, 1, 1, 1)),
    'mmseg MiT': dict(TINY['mmseg MiT'], num_layers=[1, 1, 1, 1]),
    'mmseg ResNet': dict(TINY['mmseg ResNet'], depth=18),
}
FIRST = {**FIRST, 'mmseg ResNet': ['conv1']}
MLP = {**MLP, 'mmseg ResNet': ['conv2']}
PROJECTED = dict(type='ProjectionNeck', out_channels=WIDTHS)
TS_PD = [PROJECTED, dict(type='TSPD')]
RELEASED = dict(
    type='TSPD',
    cw_sp=dict(filter='radial', rows='shifted'),
    xt_cons=dict(low='amplitude', caps=(0.5, 0.3), rows='shifted'),
)
SINEWICH = dict(
    plugins=[
        dict(cfg=dict(type='LoRA', rank=3), targets=[*FIRST['timm Swin'], 'proj', 'fc1', 'fc2']),
        dict(cfg=dict(type='SineAWB', rank=3), targets=['block'], lanes='task'),
    ],
    clock=dict(tokens='prepend'),
    decoder=dict(type='SharedBaseDecoder', channels=16),
)


def through(**cfg):
    """A stream a task from the first block on, after attention and MLP."""
    return dict(plugins=[dict(cfg=cfg, targets=['proj', 'fc2'], lanes='task')], streams='network')


#: options of a model by name of the method
METHODS = {
    'LoRA': dict(method=dict(type='LoRA', rank=3)),
    'DoRA': dict(method=dict(type='DoRA', rank=3)),
    'MTLoRA': dict(method=dict(type='MTLoRA', rank=3, task_rank=2)),
    'MTLoRA as published': dict(
        method=dict(type='MTLoRA', rank=3, task_rank=2), lanes=['proj', 'fc1', 'fc2']
    ),
    'MTLoRA addition': dict(method=dict(type='MTLoRA', rank=3, task_rank=2, mode='addition')),
    'FAAR': dict(method=dict(type='DoRA', rank=3), necks=TS_PD),
    'FAAR released': dict(method=dict(type='DoRA', rank=3), necks=[PROJECTED, RELEASED]),
    'Free Sinewich': SINEWICH,
    'Free Sinewich, pointwise': dict(
        method=dict(type='SineAWB', rank=3), decoder=SINEWICH['decoder']
    ),
    'union': dict(SINEWICH, necks=TS_PD),
    'TADFormer': dict(
        method=dict(type='TADFormer', rank=3),
        backbone='TADFormerBackbone',
        lanes=['proj', 'fc1', 'fc2'],
    ),
    'DiTASK': dict(method=dict(type='DiTASK', init='zero', cells=8)),
    'Sine-LoRA': dict(method=dict(type='SineLoRA', rank=3, omega=3.0)),
    'AdaLoRA': dict(method=dict(type='AdaLoRA', rank=3)),
    'Adapter': dict(method=dict(type='BottleneckAdapter', width=3)),
    'Compacter': dict(method=dict(type='Compacter', n=2, width=4)),
    'VL-Adapter': dict(method=dict(type='VLAdapter', width=3)),
    'VL-Adapter by half': through(type='VLAdapter', width=3),
    'HyperFormer': through(type='HyperFormer', width=3, embedding=4, hidden=24),
    'Polyhistor': through(type='Polyhistor', width=3, embedding=4, hidden=24, rank=2),
    'Polyhistor-Lite': through(
        type='Polyhistor', width=3, embedding=4, hidden=24, rank=2, lite=True
    ),
    'BitFit': dict(plugins=[], train_also=['biases']),
    'VPT shallow': dict(plugins=[], prompts=dict(number=3)),
    'VPT deep': dict(plugins=[], prompts=dict(number=3, deep=True)),
    'full fine-tuning': dict(plugins=[], freeze=False),
}


def small(
    method=None, family='timm Swin', backbone='AdapterBackbone', necks=None, decoder=None,
    lanes=None, tasks=TASKS, size=SIZE, plugins=None, **options,
):  # fmt: skip
    """A small model whose adapters are no longer at their start, in eval mode."""
    torch.manual_seed(0)
    method = method or dict(type='LoRA', rank=3)
    necks = necks or [PROJECTED]
    if any(name in family for name in ('ViT', 'EVA', 'DINO', 'BEiT')):
        necks = [dict(type='RescaleNeck'), *necks]
    of_both = [
        dict(cfg=method, targets=FIRST[family]),
        dict(cfg=method, targets=lanes or MLP[family], lanes='task'),
    ]
    model = MultiTaskModel(
        tasks=tasks,
        backbone=dict(
            type=backbone,
            backbone=SMALL[family],
            plugins=of_both if plugins is None else plugins,
            **options,
        ),
        necks=necks,
        decoder=decoder or dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=16)),
        img_size=size,
    )
    wake(model.backbone.network)
    for name, parameter in model.named_parameters():
        if '.adapter.' in name or '.cw_sp.' in name or '.xt_cons.' in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return spread(model.eval(), size)


@torch.no_grad()
def spread(model, size=SIZE):
    """Bring logits to mean 0 and deviation 1, or most maps would be of one class."""
    for name, logits in model(torch.randn(2, 3, *size)).items():
        decoder = model.decoder
        last = decoder.heads[name].conv2 if hasattr(decoder, 'heads') else decoder.conv[name]
        deviation, mean = torch.std_mean(logits, (0, 2, 3))
        last.weight /= deviation[:, None, None, None]
        last.bias.copy_((last.bias - mean) / deviation)
    return model


def noise(number, size=SIZE, seed=1):
    """Pictures ``(B, H, W, 3)``, uint8."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (number, *size, 3), dtype=np.uint8)


def compared(model, path, size=SIZE, number=3, **options):
    """Export to ``path`` and compare: what differs by task, what was exported, and what runs it."""
    exported = export_model(model, path, size, **options)
    run = runner_of(path)
    rows = differences(exported.module, run, exported.module.example(number, size).numpy())
    return rows, exported, run


def largest_error(model, path, size=SIZE, number=3, **options):
    """The same; of the tasks the largest difference."""
    rows, exported, run = compared(model, path, size, number, **options)
    return max(row.largest for row in rows), exported, run
