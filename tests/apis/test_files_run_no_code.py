"""Files of others run no code, wherever a config names them and whatever builds the model."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mtpeft.apis import build_runner, init_model

ROOT = Path(__file__).parents[2]


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), 'w')


def config(bomb, place):
    """A config with a file under the ``init_cfg`` of one of its parts."""
    cfg = Config.fromfile(ROOT / 'configs/mtlora/mtlora_swin-pico_scenes.py')
    pretrained = dict(type='Pretrained', checkpoint=str(bomb))
    part = cfg.model
    for name in place:
        part = part[name]
    part.init_cfg = pretrained
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.length = 8
    return cfg


PLACES = [(), ('backbone',), ('decoder',), ('decoder', 'head'), ('necks', 0)]


def mmseg_backbone(bomb):
    cfg = config(bomb, ())
    del cfg.model.init_cfg
    cfg.model.backbone.train_also = []
    cfg.model.backbone.plugins = []
    cfg.model.backbone.backbone = dict(
        type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1] * 4,
        num_heads=[1] * 4, init_cfg=dict(type='Pretrained', checkpoint=str(bomb)),
    )  # fmt: skip
    return cfg


def build(cfg, tmp_path):
    cfg.work_dir = str(tmp_path / 'run')
    return build_runner(cfg).train()


def merge(cfg, tmp_path):
    cfg.dump(str(tmp_path / 'config.py'))
    torch.save(dict(state_dict=dict(w=torch.ones(1))), tmp_path / 'run.pth')
    tool = str(ROOT / 'tools/model_converters/merge_adapters.py')
    sys.argv = [tool, *(str(tmp_path / n) for n in ('config.py', 'run.pth', 'out.safetensors'))]
    runpy.run_path(tool, run_name='__main__')


ENTRIES = dict(init_model=lambda cfg, _: init_model(cfg), build_runner=build, merge_adapters=merge)


@pytest.mark.parametrize('entry', ENTRIES)
@pytest.mark.parametrize('place', PLACES, ids=str)
def test_init_cfg_of_every_part(tmp_path, place, entry, monkeypatch):
    monkeypatch.setattr(sys, 'argv', sys.argv)
    mark, file = tmp_path / 'ran', tmp_path / 'part.pth'
    torch.save(dict(state_dict=dict(x=Bomb(mark))), file)
    try:
        ENTRIES[entry](config(file, place), tmp_path)
    except (Exception, SystemExit) as error:
        # a part that does not load its init_cfg may refuse the option; nothing may run
        assert str(error)
    assert not mark.exists()


def test_the_file_of_a_stock_backbone(tmp_path):
    mark, file = tmp_path / 'ran', tmp_path / 'part.pth'
    torch.save(dict(state_dict=dict(x=Bomb(mark))), file)
    cfg = mmseg_backbone(file)
    with pytest.raises(Exception, match='part.pth'):
        init_model(cfg)
    assert not mark.exists()


def test_the_bomb_is_one(tmp_path):
    torch.save(Bomb(tmp_path / 'ran'), tmp_path / 'part.pth')
    torch.load(tmp_path / 'part.pth', weights_only=False)
    assert (tmp_path / 'ran').exists()
