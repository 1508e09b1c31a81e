"""Data roots that are not what they should be, and the tools that look at a data set."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mtpeft.cli import main
from mtpeft.datasets import NYUDMT, PASCALContextMT


@pytest.mark.parametrize('cls, tree', [(NYUDMT, 'gt_sets'), (PASCALContextMT, 'JPEGImages')])
def test_a_missing_or_empty_root_says_what_belongs_there(tmp_path, cls, tree):
    for root, problem in ((tmp_path / 'nothing', 'does not exist'), (tmp_path, 'is empty')):
        with pytest.raises(FileNotFoundError) as caught:
            cls(tasks=['semseg'], data_root=root)
        assert 'It holds' not in str(caught.value)
        for part in (problem, str(root), tree, 'docs/data_preparation.md', 'mtpeft data scenes'):
            assert part in str(caught.value)


def test_the_other_layout_is_recognised(pascal_root, nyud_root):
    with pytest.raises(FileNotFoundError, match="type='NYUDMT'"):
        PASCALContextMT(tasks=['semseg'], data_root=nyud_root)
    with pytest.raises(FileNotFoundError, match="type='PASCALContextMT'"):
        NYUDMT(tasks=['semseg'], data_root=pascal_root)


def test_the_folder_above_is_recognised(nyud_root):
    with pytest.raises(FileNotFoundError, match=f"Did you mean data_root='{nyud_root}'"):
        NYUDMT(tasks=['semseg'], data_root=nyud_root.parent)


def refused(root, cls=NYUDMT):
    with pytest.raises(FileNotFoundError) as caught:
        cls(tasks=['semseg'], data_root=root)
    text = str(caught.value)
    assert str(root) in text and 'Expected:' in text and 'docs/data_preparation.md' in text
    return text.split('Expected:')[0]


def test_the_folder_below_and_beside_are_recognised(nyud_root, pascal_root):
    for child in (nyud_root / 'images', nyud_root / 'no' / 'such'):
        assert f"Did you mean data_root='{nyud_root}'" in refused(child)
    assert f"data_root='{nyud_root}'" in refused(nyud_root.parent / 'NYU_MT')
    folder = pascal_root / 'ImageSets' / 'Context'
    assert f"data_root='{pascal_root}'" in refused(folder, PASCALContextMT)
    assert 'Did you mean' not in refused(nyud_root.parent / 'quite_another_name')


def test_the_original_files_of_nyu_name_the_converter(tmp_path):
    (tmp_path / 'nyu_depth_v2_labeled.mat').write_bytes(b'')
    text = refused(tmp_path)
    command = f'nyudv2 {tmp_path}/nyu_depth_v2_labeled.mat {tmp_path}/splits.mat data/NYUD_MT'
    assert f'mtpeft data {command}' in text
    assert f'{tmp_path}/splits.mat is missing' in text
    (tmp_path / 'splits.mat').write_bytes(b'')
    text = refused(tmp_path)
    assert command in text and 'is missing' not in text
    assert command not in refused(tmp_path, PASCALContextMT)
    text = refused(tmp_path / 'nyu_depth_v2_labeled.mat')
    assert command in text and 'is a file, expected a folder' in text


@pytest.mark.parametrize(
    'folders, said',
    [
        (('train/image', 'train/label', 'train/depth', 'train/normal', 'val/image'),
         'train/{depth,image,label,normal} of .npy files'),
        (('train/rgb', 'train/label', 'train/depth', 'test/rgb'), 'train/{depth,label,rgb}'),
        (('RGB', 'HHA', 'Label'), 'It has {HHA,Label,RGB}'),
        (('image', 'label', 'depth'), '{depth,image,label}'),
    ],
)  # fmt: skip
def test_other_copies_are_named(tmp_path, folders, said):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        np.save(tmp_path / folder / '0.npy', np.zeros(1))
    text = refused(tmp_path)
    for part in (said, "type='FolderMT'", 'mtpeft data nyudv2', 'num_classes'):
        assert part in text


def test_what_is_none_of_these_is_listed(tmp_path):
    (tmp_path / 'holiday').mkdir()
    (tmp_path / 'notes.txt').write_text('')
    assert 'It holds holiday/, notes.txt.' in refused(tmp_path)
    (tmp_path / 'NYUD_MT.tgz').write_bytes(b'')
    for root in (tmp_path, tmp_path / 'NYUD_MT.tgz'):
        assert 'NYUD_MT.tgz is an archive: unpack it' in refused(root)


def test_pascal_voc_itself_is_named(tmp_path):
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Segmentation', 'SegmentationClass'):
        (tmp_path / 'VOC2012' / folder).mkdir(parents=True)
    for root in (tmp_path, tmp_path / 'VOC2012'):
        assert 'is PASCAL VOC itself' in refused(root, PASCALContextMT)


def check(words):
    return main(['data', 'check', *words])


def browse(words):
    return main(['data', 'browse', *words])


@pytest.fixture
def config(tmp_path, nyud_root):
    tasks = dict(semseg=dict(num_classes=40), depth=dict(), normals=dict(), edge=dict())
    pipeline = [dict(type='MTRandomFlip'), dict(type='PackMultiTaskInputs')]
    dataset = dict(type='NYUDMT', data_root=str(nyud_root), tasks=tasks, pipeline=pipeline)
    Config(dict(default_scope='mtpeft', train_dataloader=dict(dataset=dataset))).dump(
        tmp_path / 'config.py'
    )
    return str(tmp_path / 'config.py')


def test_check_dataset_counts_what_is_there(config, capsys):
    assert check([config]) == 0
    text = capsys.readouterr().out
    assert 'nothing is missing or broken' in text and '2 of 2 pictures readable' in text
    valid = 11 / 12
    assert f'semseg: 2 of 2 pictures have a label, {valid:.1%} of their pixels' in text
    assert 'wall 9.09%' in text and 'other prop 90.91%' in text
    assert 'values from 1.500 to 2.500 m' in text and text.count('WARNING') == 1
    assert 'WARNING: 38 of 40 classes never occur: floor, cabinet,' in text
    assert f'1 {1 / 16:.2%}' in text


def test_check_dataset_goes_on_after_every_error(config, nyud_root, capsys):
    np.save(nyud_root / 'depth' / '0001.npy', np.full((12, 16), -1.0))
    (nyud_root / 'edge' / '0001.npy').unlink()
    (nyud_root / 'images' / '0002.jpg').write_bytes(b'')
    assert check([config]) == 1
    text = capsys.readouterr().out
    for part in ('depth/0001.npy', 'edge/0001.npy', 'images/0002.jpg', '3 errors',
                 'semseg: 1 of 1', 'depth: 0 of 1'):  # fmt: skip
        assert part in text
    assert check([config, '--limit', '1']) == 1
    assert '2 errors' in capsys.readouterr().out


def test_check_dataset_warns_of_labels_that_say_nothing(config, nyud_root, capsys):
    for name in ('0001', '0002'):
        np.save(nyud_root / 'depth' / f'{name}.npy', np.zeros((12, 16)))
        np.save(nyud_root / 'edge' / f'{name}.npy', np.zeros((12, 16)))
        (nyud_root / 'normals' / f'{name}.npy').unlink()
    option = 'train_dataloader.dataset.allow_missing_labels=True'
    assert check([config, '--cfg-options', option]) == 0
    text = capsys.readouterr().out
    for part in (
        'every pixel is 0, an ignored one',
        '1 of 2 classes never occur: 1',
        'normals: 0 of 2 pictures have a label\n    WARNING: nothing is learnt',
    ):
        assert part in text


def test_check_dataset_warns_of_normals_that_face_away(config, capsys):
    option = 'train_dataloader.dataset.normals_signs=[1,1,-1]'
    assert check([config, '--cfg-options', option]) == 0
    assert 'WARNING: 100% of the normals' in capsys.readouterr().out


def test_check_dataset_without_data_or_loader(config, capsys):
    option = 'train_dataloader.dataset.data_root=nowhere'
    assert check([config, '--cfg-options', option]) == 1
    assert check([config, '--split', 'val']) == 1
    with pytest.raises(SystemExit, match='no/such/config.py: no such config'):
        check(['no/such/config.py'])
    text = capsys.readouterr().out
    assert 'does not exist' in text and 'no val_dataloader' in text


def test_browse_dataset_without_data_loader_or_config(config, tmp_path, capsys):
    out = ['--out', str(tmp_path / 'drawn')]
    option = 'train_dataloader.dataset.data_root=nowhere'
    assert browse([config, *out, '--cfg-options', option]) == 1
    assert browse([config, *out, '--split', 'val']) == 1
    with pytest.raises(SystemExit, match='no/such/config.py: no such config'):
        browse(['no/such/config.py', *out])
    assert browse([config, *out, '--cfg-options', 'train_dataloader.dataset.split=trian']) == 1
    text = capsys.readouterr().out
    for part in ('does not exist', 'no val_dataloader', "mean 'train'"):
        assert part in text
    assert not (tmp_path / 'drawn').exists()


def test_browse_dataset_draws_every_task(config, tmp_path, nyud_root):
    folder = tmp_path / 'drawn'
    browse([config, '--out', str(folder), '--number', '5'])
    files = sorted(p.name for p in folder.iterdir())
    assert files == ['0000_0001.png', '0001_0002.png']
    grid = np.asarray(Image.open(folder / '0000_0001.png'))
    wide = round(192 * 16 / 12)  # five pictures of 192 pixels in height beside one another
    assert grid.shape[0] > 192 and grid.shape[1] > 5 * wide
    # normals with x = .6 or -.6, z = -.8: blue is towards the viewer
    shown = (abs(grid[..., 0] - 127.5) > 70) & (abs(grid[..., 2] - 229.5) <= 0.5)
    assert shown.sum() > 0.5 * 192 * wide
    picture = np.asarray(Image.open(nyud_root / 'images' / '0001.jpg')).astype(int)
    drawn = grid[grid.shape[0] - 200 : -8, 8 : 8 + wide]
    np.testing.assert_allclose(drawn.mean((0, 1)), picture.mean((0, 1)), atol=3)  # RGB
