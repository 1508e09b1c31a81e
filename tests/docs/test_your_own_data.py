"""The journey of docs/your_own_data.md, as it is typed: a folder, a config, a model, pictures."""

import shlex

import numpy as np
import pytest
from helpers.engine import call_tool
from helpers.markdown import ROOT, blocks, commands
from PIL import Image

PAGE = ROOT / 'docs' / 'your_own_data.md'
CONFIG = 'configs/rooms/mtlora_rooms.py'
#: what makes it short
SHORT = [
    'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'param_scheduler=[]',
    'model.backbone.backbone.pretrained=False', 'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False', 'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False', 'model.decoder.head.channels=8',
]  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkout with the page's data and config."""
    place = tmp_path_factory.mktemp('rooms')
    for name in ('configs', 'tools'):
        (place / name).symlink_to(ROOT / name)
    (place / 'configs').unlink()
    (place / 'configs').mkdir()
    (place / 'configs/_base_').symlink_to(ROOT / 'configs/_base_')
    written, config = blocks(PAGE, 'python')[:2]
    (place / CONFIG).parent.mkdir()
    (place / CONFIG).write_text(config.code)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        exec(written.code.replace('length=40', 'length=12'), {})
    return place


def typed(tool):
    """The words of the page's command of a tool."""
    found = next(c for c in commands(PAGE) if tool in c)
    return shlex.split(found)[1:]


def test_the_files_are_those_of_the_page(folder):
    photos = sorted((folder / 'data/rooms/photos').iterdir())
    assert photos[0].name == 'IMG 0000.JPG' and len(photos) == 12
    assert set(np.unique(Image.open(folder / 'data/rooms/floor/IMG 0000.png'))) == {0, 255}


def test_from_photographs_to_a_model_and_pictures(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for tool in ('check_dataset', 'browse_dataset'):
        call_tool(*typed(tool))
    said = capsys.readouterr().out
    assert 'nothing is missing or broken' in said and 'WARNING' not in said
    assert 'structure' in said and len(list((folder / 'browse').iterdir())) == 8
    call_tool(*typed('train.py'), '--cfg-options', *SHORT)
    words = [word.replace('epoch_10', 'epoch_1') for word in typed('test.py')]
    call_tool(*words, '--cfg-options', *SHORT)
    drawn = [path.stem for path in (folder / 'drawings').iterdir()]
    assert drawn and all(name.startswith('IMG ') for name in drawn)
    assert (folder / 'work_dirs/mtlora_rooms/vis/val_1.png').is_file()
    lines = PAGE.read_text(encoding='utf-8').splitlines()
    start = next(i for i, line in enumerate(lines) if 'import MultiTaskInferencer' in line)
    told = '\n'.join(line[4:] for line in lines[start : start + 4]).replace('epoch_10', 'epoch_1')
    space = {}
    # by the config that the run wrote, which is the shortened one
    exec(told.replace('configs/rooms/', 'work_dirs/mtlora_rooms/'), space)
    model, result = space['model'], space['result']
    assert {name: value.shape for name, value in result.items()} == dict.fromkeys(
        ('floor', 'classes', 'depth'), (96, 128)
    )
    assert model.tasks['classes'].classes[1] == 'furniture'
