"""Our checkpoints in a run of mmsegmentation's own pieces, with a plain Runner and with ours."""

import cv2
import numpy as np
import pytest
import torch
from helpers.engine import CONFIG, write_base
from mmengine.config import Config
from mmengine.runner import Runner

from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import CheckpointError, safe_load

_number = iter(range(100))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('seg')
    draw = np.random.default_rng(0)
    for kind, shape, high in (('img', (32, 32, 3), 256), ('ann', (32, 32), 2)):
        (folder / kind).mkdir()
        for i in range(3):
            picture = draw.integers(0, high, shape, dtype=np.uint8)
            cv2.imwrite(str(folder / kind / f'{i}.png'), picture)
    write_base(folder / 'base.pth')
    return folder


def config(data, work_dir, channels=8, **options):
    network = dict(Config.fromfile(CONFIG).model.backbone.backbone)
    network['pretrained'] = str(data / 'base.pth')
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]  # fmt: skip
    loader = dict(
        batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='BaseSegDataset', data_root=str(data), img_suffix='.png', pipeline=load,
            data_prefix=dict(img_path='img', seg_map_path='ann'),
            metainfo=dict(classes=('a', 'b'), palette=[[0, 0, 0], [255, 0, 0]]),
        ),
    )  # fmt: skip
    return Config(dict(
        default_scope='mmseg', work_dir=str(work_dir), experiment_name=f'mmseg{next(_number)}',
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32), seg_pad_val=255),
            backbone=dict(type='mtpeft.AdapterBackbone', backbone=network,
                          plugins=[dict(cfg=dict(type='LoRA', rank=2), targets=['qkv'])]),
            decode_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=channels,
                             num_convs=1, num_classes=2),
            train_cfg={}, test_cfg=dict(mode='whole'),
        ),
        train_dataloader=loader, val_dataloader=loader, test_dataloader=loader,
        val_evaluator=dict(type='IoUMetric'), test_evaluator=dict(type='IoUMetric'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=1), val_cfg={}, test_cfg={},
        default_hooks=dict(checkpoint=dict(type='mtpeft.AdapterCheckpointHook', interval=1,
                                           save_best='mIoU')),
        custom_hooks=[dict(type='mtpeft.ReproducibleEpochHook'), dict(type='mtpeft.SummaryHook'),
                      dict(type='mtpeft.PredictionGridHook')],
        log_level='WARNING', **options,
    ))  # fmt: skip


@pytest.mark.parametrize('build', [build_runner, Runner.from_cfg])
def test_trains_saves_little_and_tests_alike(data, tmp_path, build):
    runner = build(config(data, tmp_path / 'a'))
    runner.train()
    path = tmp_path / 'a' / 'epoch_1.pth'
    saved = safe_load(path)
    backbone = {key for key in saved['state_dict'] if key.startswith('backbone.')}
    assert backbone and all('.adapter.' in key for key in backbone)
    assert any(key.startswith('decode_head.') for key in saved['state_dict'])
    again = build(config(data, tmp_path / 'b', load_from=str(path)))
    metrics = again.test()
    assert metrics['mIoU'] == runner.message_hub.get_scalar('val/mIoU').current()
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key
    other = build(config(data, tmp_path / 'c', channels=9, load_from=str(path)))
    with pytest.raises(CheckpointError, match='another architecture'):
        other.test()
