"""PDRSHook in a plain mmsegmentation project: stock Runner, loop, checkpoints and segmentor."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mtpeft.utils.checkpoint import safe_load

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

# no import of mtpeft: the scope in the types is enough
SCRIPT = """
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner, load_checkpoint

# the slow parts of a short run: asking compilers for their versions, formatting the config
Runner._log_env = lambda self, env_cfg: None
Config.pretty_text = property(lambda self: repr(self))

variants = {
    'lora': {},
    'dora-ts-pd': {
        'model.backbone.plugins.0.cfg.type': 'DoRA',
        'model.neck': dict(type='mtpeft.TSPD', in_channels=(8, 16, 32, 64)),
    },
}
for name, options in variants.items():
    def run(work_dir, **more):
        cfg = Config.fromfile('config.py')
        cfg.merge_from_dict(options | more)
        cfg.work_dir = cfg.experiment_name = f'{name}-{work_dir}'
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner
    runner = run('whole')
    run('resumed', resume=True, load_from=f'{name}-whole/iter_4.pth')
    fresh = MODELS.build(runner.cfg.model)
    load_checkpoint(fresh, f'{name}-whole/iter_8.pth', strict=True)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outs = [m.eval()(picture, mode='tensor') for m in (runner.model, fresh)]
    torch.save(outs, f'{name}.pt')
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """For each variant of the model a run, a resumed one, and outputs of a fresh model."""
    folder = tmp_path_factory.mktemp('mmseg')
    rng = np.random.default_rng(0)
    for kind in ('img', 'ann'):
        (folder / 'data' / kind).mkdir(parents=True)
    for i in range(4):
        mask = rng.integers(0, 3, (8, 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(mask).save(folder / f'data/ann/{i}.png')
        Image.fromarray(np.stack([mask * 80] * 3, -1)).save(folder / f'data/img/{i}.png')
    (folder / 'config.py').write_text(CONFIG)
    (folder / 'run.py').write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, 'run.py'], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    return folder


VARIANTS = pytest.mark.parametrize('name', ['lora', 'dora-ts-pd'])


def ranks(record):
    return [rank for layer in record['ranks'].values() for rank in layer.values()]


@VARIANTS
def test_ranks_shrink_and_the_file_holds_active_components(folder, name):
    saved = safe_load(folder / f'{name}-whole' / 'iter_8.pth')
    history = saved['pdrs']['history']
    assert [(record['epoch'], record['iter']) for record in history] == [(0, 0), (0, 3), (0, 6)]
    assert set(ranks(history[0])) == {4} and min(ranks(history[-1])) < 3
    for key, value in saved['state_dict'].items():
        # a view would have brought the room of the pruned components along
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size(), key
    pattern = saved['meta']['rank_pattern']
    assert pattern == history[-1]['ranks'] and len(pattern) == 12
    for layer, streams in pattern.items():
        assert list(streams) == ['shared']
        assert saved['state_dict'][f'{layer}.adapter.A'].shape[0] == streams['shared']
        assert saved['state_dict'][f'{layer}.adapter.B'].shape[1] == streams['shared']


@VARIANTS
def test_a_fresh_model_loads_the_file(folder, name):
    trained, fresh = safe_load(folder / f'{name}.pt')
    assert torch.equal(trained, fresh) and trained.shape == (1, 3, 16, 16)


@VARIANTS
def test_a_resumed_run_is_the_same(folder, name):
    whole, resumed = (
        safe_load(folder / f'{name}-{run}' / 'iter_8.pth') for run in ('whole', 'resumed')
    )
    assert whole['pdrs']['history'] == resumed['pdrs']['history']
    assert whole['state_dict'].keys() == resumed['state_dict'].keys()
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][key]), key


def test_the_neck_is_trained(folder):
    saved = safe_load(folder / 'dora-ts-pd-whole' / 'iter_8.pth')['state_dict']
    first = safe_load(folder / 'dora-ts-pd-whole' / 'iter_4.pth')['state_dict']
    keys = [key for key in saved if key.startswith('neck.')]
    assert keys and all(not torch.equal(saved[key], first[key]) for key in keys)
