"""The command of FAAR's page, on scenes in NYUD's layout: it trains, is interrupted, resumes."""

import pytest
import timm
import torch
from helpers.engine import call_tool
from mmengine.runner import EpochBasedTrainLoop

from mtpeft.checkpoints.files import safe_load

# layout of the data -> its converter's name, config
DATA = {
    'NYUD_MT': ('nyud', 'configs/faar/faar_swin-t_nyud.py'),
}

# of the network's first stage, a quarter of the published one
WIDTH = 24
FROZEN = 'backbone.network.layers.0.blocks.0.mlp.fc1.weight'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Eight pictures of scenes to train on and two to validate on, and a local file of weights."""
    folder = tmp_path_factory.mktemp('faar')
    tool = 'tools/dataset_converters/scenes_export.py'
    for name, (layout, _) in DATA.items():
        call_tool(tool, folder / name, '--layout', layout, '--train', 8, '--val', 2,
                  '--size', 64, 64)  # fmt: skip
    network = timm.create_model('swin_tiny_patch4_window7_224', num_classes=0, embed_dim=WIDTH)
    torch.save(network.state_dict(), folder / 'swin.pth')
    return folder


def options(folder, name, batch_size, pretrained):
    """As a user gives them on the command line."""
    loaders = {'train_dataloader': 2, 'val_dataloader': 0}
    changes = {
        'model.backbone.backbone.pretrained': pretrained,
        'model.backbone.backbone.embed_dim': WIDTH,
        'model.backbone.plugins.shared.cfg.rank': 8,
        'model.backbone.plugins.lanes.cfg.rank': 8,
        'train_dataloader.batch_size': batch_size,
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 1,
    }
    for loader, resize in loaders.items():
        changes[f'{loader}.dataset.data_root'] = folder / name
        changes[f'{loader}.dataset.pipeline.{resize}.size'] = '(64,64)'
        changes[f'{loader}.num_workers'] = 0
        changes[f'{loader}.persistent_workers'] = False
    return ['--cfg-options', *(f'{key}={value}' for key, value in changes.items())]


def check(work_dir):
    """What a run leaves that was ended after its first epoch and resumed to the second."""
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    saved = safe_load(work_dir / 'epoch_2.pth')
    history = saved['pdrs']['history']
    assert [(record['epoch'], record['iter']) for record in history] == [(0, 0), (1, 2), (2, 4)]
    means = []
    for record in history:
        ranks = [rank for layer in record['ranks'].values() for rank in layer.values()]
        means.append(sum(ranks) / len(ranks))
    assert means[0] == 8 and means[-1] < 7 and means == sorted(means, reverse=True)
    assert saved['meta']['rank_pattern'] == history[-1]['ranks']
    keys = [key for key in saved['state_dict'] if key.endswith('mlp.fc2.adapter.task_A.normals')]
    assert len(keys) == 4
    for key in keys:
        layer = key.removesuffix('.adapter.task_A.normals')
        assert len(saved['state_dict'][key]) == saved['meta']['rank_pattern'][layer]['normals']
    assert len(list(work_dir.glob('best_mtl_delta_m_epoch_*.pth'))) == 1
    logs = {path.name: path.read_text() for path in sorted(work_dir.glob('*/*.log'))}
    text = '\n'.join(logs.values())
    assert len(logs) == 2
    for epoch in (1, 2):
        assert text.count(f'Epoch(val) [{epoch}][') >= 1
    assert text.count('Ranks shrunk: mean') == 2 and 'resumed epoch: 1, iter: 2' in text


def test_nyud_is_interrupted_and_resumed(folder, tmp_path, monkeypatch):
    """By Ctrl-C, from a file of weights."""
    changes = options(folder, 'NYUD_MT', 4, pretrained=folder / 'swin.pth')
    command = ['tools/train.py', DATA['NYUD_MT'][1], '--work-dir', tmp_path]
    run_iter = EpochBasedTrainLoop.run_iter

    def interrupted(self, *args):
        if self.runner.iter == 3:
            raise KeyboardInterrupt
        return run_iter(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(EpochBasedTrainLoop, 'run_iter', interrupted)
        with pytest.raises(SystemExit, match=r'Interrupted.*epoch_1.pth; go on with --resume'):
            call_tool(*command, *changes)
    call_tool(*command, '--resume', *changes)
    check(tmp_path)
    assert FROZEN not in safe_load(tmp_path / 'epoch_2.pth')['state_dict']
