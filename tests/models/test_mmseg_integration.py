"""AdapterBackbone inside a plain mmsegmentation project, by its type alone."""

import subprocess
import sys
import textwrap

CONFIG = """
default_scope = 'mmseg'
norm = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[0, 0, 0], std=[255, 255, 255], bgr_to_rgb=True,
        pad_val=0, seg_pad_val=255, size=(64, 64)),
    backbone=dict(
        type='mtpeft.AdapterBackbone',
        backbone=dict(type='mmseg.SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1),
                      num_heads=(1, 1, 2, 2)),
        plugins=[dict(cfg=dict(type='LoRA', rank=2), targets=['qkv', 'fc1', 'fc2'])]),
    decode_head=dict(
        type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=3,
        norm_cfg=norm, loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='RandomFlip', prob=.5), dict(type='PackSegInputs')]
dataset = dict(type='BaseSegDataset', data_root=DATA, pipeline=pipeline, img_suffix='.png',
               data_prefix=dict(img_path='img', seg_map_path='ann'),
               metainfo=dict(classes=('a', 'b', 'c'), palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]]))
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dataset,
                        sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(batch_size=1, num_workers=0, dataset=dataset,
                      sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict(type='ValLoop')
"""

SCRIPT = """
import torch
from mmengine.config import Config
from mmengine.runner import Runner

cfg = Config.fromfile('config.py')
cfg.work_dir = 'work'
runner = Runner.from_cfg(cfg)
backbone = runner.model.backbone
before = {k: v.clone() for k, v in backbone.state_dict().items()}
runner.train()
after = backbone.state_dict()
moved = {k for k in after if not torch.equal(after[k], before[k])}
assert type(backbone).__module__.startswith('mtpeft.')
assert moved and all('.adapter.' in k for k in moved), moved
print('trained', len(moved))
"""


def test_one_epoch_through_mmseg_alone(tmp_path):
    """No custom_imports and no import of mtpeft: the scope in the type is enough."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for folder in ('img', 'ann'):
        (tmp_path / folder).mkdir()
    for i in range(4):
        mask = rng.integers(0, 3, (64, 64)).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / f'ann/{i}.png')
        Image.fromarray(np.stack([mask * 80] * 3, -1)).save(tmp_path / f'img/{i}.png')
    config = textwrap.dedent(CONFIG).replace('DATA', repr(str(tmp_path)))
    (tmp_path / 'config.py').write_text(config)
    (tmp_path / 'run.py').write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, 'run.py'], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    assert 'trained' in run.stdout and 'mIoU' in run.stdout + run.stderr
