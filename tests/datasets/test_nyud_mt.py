"""NYUDMT against files written by hand, and the real pictures where they are."""

import os

import numpy as np
import pytest

from mtpeft.datasets import NYUDMT, DataFileError
from mtpeft.datasets import nyud_mt as module

TASKS = dict(semseg=dict(num_classes=40), depth={}, normals={}, edge={})
SHAPE = (12, 16)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(module, 'print_log', lambda text, **_: lines.append(text))
    return lines


def load(root, **kwargs):
    return NYUDMT(**{**dict(tasks=TASKS, data_root=str(root), serialize_data=False), **kwargs})


def test_every_label_of_the_layout(nyud_root, said):
    dataset = load(nyud_root)
    labels = dataset[1]['labels']
    assert len(dataset) == 2 and set(labels) == set(TASKS)
    assert labels['semseg'][:3, 0].tolist() == [255, 0, 39]
    assert labels['depth'][:2, 0].tolist() == [0, 2.5]
    np.testing.assert_allclose(labels['normals'][1, 0], (0.6, 0, -0.8), rtol=1e-6)
    assert not labels['normals'][0].any()
    assert labels['edge'][0].tolist() == [0, 0, 0, 1] + [0] * 12
    classes, depth = sorted(said)
    assert 'as metres' in depth and '0003.npy reaches 3.5' in depth and '8.3%' in depth
    assert 'counted from 1, and 0 as ignored (8.3%' in classes


@pytest.mark.parametrize('as_png', [False, True])
def test_millimetres_are_detected_and_said_once(nyud_root, write, said, as_png):
    for name in ('0001', '0002'):
        depth = np.full(SHAPE, 2345, np.uint16)
        depth[0] = 0
        if as_png:
            (nyud_root / 'depth' / f'{name}.npy').unlink()
            write['png'](nyud_root / 'depth' / f'{name}.png', depth)
        else:
            write['npy'](nyud_root / 'depth' / f'{name}.npy', depth)
    dataset = load(nyud_root)
    for i in range(2):
        depth = dataset[i]['labels']['depth']
        assert depth.dtype == np.float32 and not depth[0].any()
        np.testing.assert_allclose(depth[1:], 2.345, rtol=1e-6)
    assert sum('millimetres' in line for line in said) == 1


def test_an_empty_depth_map_does_not_decide(nyud_root, write, said):
    write['npy'](nyud_root / 'depth' / '0001.npy', np.zeros(SHAPE))
    write['npy'](nyud_root / 'depth' / '0002.npy', np.full(SHAPE, 4000.0))
    dataset = load(nyud_root)
    assert not dataset[0]['labels']['depth'].any()
    np.testing.assert_allclose(dataset[1]['labels']['depth'], 4)


def test_a_file_of_the_other_unit_is_named(nyud_root, write, said):
    write['npy'](nyud_root / 'depth' / '0002.npy', np.full(SHAPE, 4000.0))
    with pytest.raises(DataFileError, match='0002.npy.*4000.*mm.*0003.npy.*depth_unit'):
        load(nyud_root)[1]


@pytest.mark.parametrize('unit, expected', [('m', 4000.0), ('mm', 4.0)])
def test_a_stated_unit_is_not_questioned(nyud_root, write, said, unit, expected):
    write['npy'](nyud_root / 'depth' / '0001.npy', np.full(SHAPE, 4000.0))
    depth = load(nyud_root, depth_unit=unit)[0]['labels']['depth']
    np.testing.assert_allclose(depth, expected)
    assert not any('depth' in line for line in said)


def tell(root, write, **maxima):
    for name, value in maxima.items():
        path = root / 'depth' / f'{name[1:]}.npy'
        path.unlink(missing_ok=True)
        write['png'](path.with_suffix('.png'), np.full(SHAPE, value, np.uint16))


@pytest.mark.parametrize('steps', [1000, 256, 5000])
def test_usual_steps_of_depth_are_told_by_all_splits(nyud_root, write, said, steps):
    # the training pictures alone show nothing further than 60 cm
    tell(nyud_root, write, _0001=steps // 2, _0002=steps * 3 // 5, _0003=steps * 4)
    for split, metres in (('train', 0.5), ('val', 4)):
        depth = load(nyud_root, split=split)[0]['labels']['depth']
        np.testing.assert_allclose(depth, metres, rtol=0.01)
    assert any(f'{steps * 4:g}, the most of 3 maps: 4.00 m. 0.0%' in line for line in said)


def test_a_step_of_depth_that_is_none_of_the_usual(nyud_root, write, said):
    tell(nyud_root, write, _0001=200, _0002=300, _0003=400)
    with pytest.raises(DataFileError, match='0003.png: reaches 400.*State depth_unit'):
        load(nyud_root)
    np.testing.assert_allclose(load(nyud_root, depth_unit=0.01)[0]['labels']['depth'], 2)
    write['png'](nyud_root / 'depth' / '0001.png', np.full(SHAPE, 200, np.uint8))
    np.testing.assert_allclose(load(nyud_root, depth_unit=0.01)[0]['labels']['depth'], 2)
    for unit in (0, -1, float('nan'), True):
        with pytest.raises(ValueError, match='depth_unit='):
            load(nyud_root, depth_unit=unit)


def store(root, write, *values):
    for name in ('0001', '0002', '0003'):
        write['png'](root / 'segmentation' / f'{name}.png', np.resize(np.uint8(values), SHAPE))


@pytest.mark.parametrize('stored, classes, expected', [
    ((0, 1, 13), 13, [0, 12, 255]), ((0, 5, 255), 13, [0, 5, 255]), ((0, 5, 255), 40, [0, 5, 255]),
    ((0, 1, 39), 40, [0, 38, 255]),
])  # fmt: skip
def test_where_classes_are_counted_from(nyud_root, write, said, stored, classes, expected):
    store(nyud_root, write, *stored)
    tasks = dict(semseg=dict(num_classes=classes))
    label = load(nyud_root, tasks=tasks)[0]['labels']['semseg']
    assert np.unique(label).tolist() == expected
    assert len(said) == 1 and '33.3% of the pixels of 3 labels' in said[0]


def test_where_files_do_not_tell_it_has_to_be_stated(nyud_root, write, said):
    store(nyud_root, write, 0, 5, 12)
    options = dict(tasks=dict(semseg=dict(num_classes=13)))
    with pytest.raises(DataFileError, match='hold 0 to 12 for 13 classes.*33.3%.*first_class=0'):
        load(nyud_root, **options)
    for moved in ({}, dict(label_paths=dict(semseg='segmentation/{id}.png'))):
        for first, expected in ((0, [0, 5, 12]), (1, [4, 11, 255])):
            label = load(nyud_root, first_class=first, **options, **moved)[0]['labels']['semseg']
            assert np.unique(label).tolist() == expected
    own = dict(semseg=dict(path='segmentation/{id}.png', first_class=0))
    label = load(nyud_root, **options, label_paths=own)[0]['labels']['semseg']
    assert np.unique(label).tolist() == [0, 5, 12] and not said


def test_normals_as_colours(nyud_root, write, said):
    (nyud_root / 'normals' / '0001.npy').unlink()
    colours = np.full((*SHAPE, 3), (128, 128, 0), np.uint8)
    write['png'](nyud_root / 'normals' / '0001.png', colours)
    normal = load(nyud_root)[0]['labels']['normals'][5, 5]
    np.testing.assert_allclose(normal, (0, 0, -1), atol=0.01)
    normal = load(nyud_root, normals_signs=(1, 1, -1))[0]['labels']['normals'][5, 5]
    np.testing.assert_allclose(normal, (0, 0, 1), atol=0.01)


@pytest.mark.parametrize(
    'path, content, message',
    [
        ('depth/0001.npy', np.full(SHAPE, -1.0), '192 depth values are negative'),
        ('depth/0001.npy', np.full(SHAPE, np.nan), '192 NaN'),
        ('depth/0001.npy', np.full(SHAPE, np.inf), '192 NaN or infinite'),
        ('depth/0001.npy', np.full((*SHAPE, 1), 1.0), r'\(12, 16, 1\)'),
        ('depth/0001.npy', np.full((6, 8), 1.0), r'\(12, 16\).*got \(6, 8\)'),
        ('depth/0001.npy', np.full(SHAPE, 1, np.uint8), 'uint8'),
        ('depth/0001.npy', np.full(SHAPE, 'far'), 'expected numbers.*U3'),
        ('normals/0001.npy', np.full((*SHAPE, 3), 200.0), r'within -1..1.*200'),
        ('normals/0001.npy', np.full((*SHAPE, 3), np.nan), 'within -1..1'),
        ('normals/0001.npy', np.full(SHAPE, 0.5), r'\(H, W, 3\)'),
        ('normals/0001.npy', np.ones((*SHAPE, 3), np.int64), 'floating-point.*int64'),
        ('edge/0001.npy', np.full(SHAPE, 0.5), 'whole numbers'),
        ('edge/0001.npy', np.full(SHAPE, 2), r'2 classes.*\[2\]'),
        ('segmentation/0001.png', np.full(SHAPE, 41, np.uint8), 'to 40.*41.*num_classes'),
        ('segmentation/0001.png', np.full(SHAPE, 894, np.uint16), 'to 40.*894.*num_classes'),
        ('segmentation/0001.png', np.full(SHAPE, 255, np.uint8), 'to 40.*255.*from 0 and ignores'),
        ('segmentation/0001.png', np.zeros((*SHAPE, 3), np.uint8), r'got \(12, 16, 3\)'),
    ],
)
def test_a_broken_label_names_file_and_expectation(nyud_root, write, said, path, content, message):
    write[path[-3:]](nyud_root / path, content)
    dataset = load(nyud_root)
    with pytest.raises(DataFileError, match=f'{path}.*{message}'):
        dataset[0]


@pytest.mark.parametrize(
    'path', ['images/0001.jpg', 'depth/0001.npy', 'normals/0001.npy', 'segmentation/0001.png']
)
@pytest.mark.parametrize('share', [0, 0.3, 0.7])
def test_a_truncated_file_is_named(nyud_root, said, path, share):
    content = (nyud_root / path).read_bytes()
    (nyud_root / path).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataFileError, match=f'{path}: cannot be read'):
        load(nyud_root)[0]


def test_a_pickled_array_is_never_executed(nyud_root, said):
    np.save(nyud_root / 'edge' / '0001.npy', np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataFileError, match='edge/0001.npy: cannot be read.*pickle'):
        load(nyud_root)[0]


def test_more_classes_are_a_setting(nyud_root, write, said):
    write['png'](nyud_root / 'segmentation' / '0001.png', np.full(SHAPE, 41, np.uint8))
    labels = load(nyud_root, tasks=dict(semseg=dict(num_classes=41)))[0]['labels']
    assert (labels['semseg'] == 40).all()


def test_a_split_that_names_missing_files_lists_them(nyud_root):
    (nyud_root / 'gt_sets' / 'train.txt').write_text('0001\n' + '\n'.join(map(str, range(9))))
    with pytest.raises(FileNotFoundError, match='(?s)train.txt.*images/0.jpg.*45 in all'):
        load(nyud_root)
    dataset = load(nyud_root, check_files=False)
    with pytest.raises(FileNotFoundError, match='images/0.jpg: no such file'):
        dataset[1]


@pytest.mark.parametrize('content, message', [('', 'names no picture'), ('0001\n0001', 'twice')])
def test_an_odd_split_is_refused(nyud_root, content, message):
    (nyud_root / 'gt_sets' / 'train.txt').write_text(content)
    with pytest.raises(ValueError, match=f'train.txt.*{message}'):
        load(nyud_root)


def test_an_unknown_split_names_the_known(nyud_root):
    with pytest.raises(FileNotFoundError, match="Did you mean 'train'.*train, val"):
        load(nyud_root, split='trian')


def test_bad_options_are_named(nyud_root):
    with pytest.raises(ValueError, match="Did you mean 'mm'"):
        load(nyud_root, depth_unit='mmm')
    with pytest.raises(ValueError, match="no label 'sal'"):
        load(nyud_root, tasks=['sal'])


@pytest.mark.skipif(
    'MTPEFT_NYUD_ROOT' not in os.environ, reason='MTPEFT_NYUD_ROOT names no NYUD_MT folder'
)
def test_the_real_pictures():
    root = os.environ['MTPEFT_NYUD_ROOT']
    assert [len(load(root, split=s)) for s in ('train', 'val')] == [795, 654]
    labels = load(root, split='val')[100]['labels']
    assert 0.5 < labels['depth'][labels['depth'] > 0].min() and labels['depth'].max() < 11
    facing = labels['normals'][labels['normals'].any(-1)][:, 2] < 0
    assert facing.mean() > 0.7  # not all: normals from depth turn away at some borders
