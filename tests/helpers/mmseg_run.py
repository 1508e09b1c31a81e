"""A script of its own process that trains a plain mmsegmentation model on four small pictures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

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
                      num_heads=(1, 1, 2, 2), drop_path_rate=0.0),
        plugins=[dict(cfg=dict(type='LoRA', rank=4), targets=['qkv', 'fc1', 'fc2'])]),
    decode_head=dict(
        type='FCNHead', in_channels=(8, 16, 32, 64), in_index=(0, 1, 2, 3),
        input_transform='resize_concat', channels=8, num_convs=1, num_classes=3, norm_cfg=norm,
        dropout_ratio=0.0, loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]
dataset = dict(type='BaseSegDataset', data_root='data', pipeline=pipeline, img_suffix='.png',
               data_prefix=dict(img_path='img', seg_map_path='ann'),
               metainfo=dict(classes=('a', 'b', 'c'), palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]]))
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dataset,
                        sampler=dict(type='InfiniteSampler', shuffle=True))
val_dataloader = dict(batch_size=1, num_workers=0, dataset=dataset,
                      sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4)
val_cfg = dict(type='ValLoop')
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4),
    pdrs=dict(type='mtpeft.PDRSHook', by_epoch=False, shrink_every=3, rho=0.8, beta=0.5))
"""


def run_mmseg(folder: Path, script: str) -> Path:
    """Write pictures, ``config.py`` and ``run.py`` into ``folder`` and run the script there."""
    rng = np.random.default_rng(0)
    for kind in ('img', 'ann'):
        (folder / 'data' / kind).mkdir(parents=True)
    for i in range(4):
        mask = rng.integers(0, 3, (8, 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(mask).save(folder / f'data/ann/{i}.png')
        Image.fromarray(np.stack([mask * 80] * 3, -1)).save(folder / f'data/img/{i}.png')
    (folder / 'config.py').write_text(CONFIG)
    (folder / 'run.py').write_text(script)
    run = subprocess.run(
        [sys.executable, 'run.py'], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    return folder
