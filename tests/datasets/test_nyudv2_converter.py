"""The NYUDv2 converter on a small file written in the format of the original."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mtpeft.cli import main
from mtpeft.datasets import NYUDMT, DataFileError
from mtpeft.datasets.nyudv2 import (
    CLASSES,
    LabeledFile,
    boundaries,
    class_table,
    close_rims,
    normals_from_depth,
)

NAMES = ['wall', 'book', 'goat', 'shower curtain', 'piano']
CLASS = dict(zip(NAMES, (1, 23, 40, 28, 39), strict=True))
TASKS = dict(semseg=dict(num_classes=40), depth={}, normals={}, edge={})
TILT = np.array([0.48, -0.36, -0.8])
COUNT = 4


def plane(normal, through):
    """Depth of the plane ``normal . X = normal . (0, 0, through)`` seen by the Kinect."""
    x, y = np.meshgrid(np.arange(640), np.arange(480))
    rays = np.stack([(x - 325.5824) / 518.8579, (y - 253.7362) / 519.4696, np.ones(x.shape)], -1)
    return normal[2] * through / (rays @ normal)


def worst_angle(normals, wanted):
    """Degrees; from the chord, since the arc cosine is blind near 0."""
    return np.degrees(2 * np.arcsin(np.linalg.norm(normals - wanted, axis=-1).max() / 2))


def picture(index):
    """RGB, depth and labels, all different in every picture and along both axes."""
    y, x = np.mgrid[:480, :640]
    image = np.stack([x * 255 // 639, y * 255 // 479, np.full_like(x, 40 * index)], -1)
    labels = np.ones((480, 640), np.uint16)
    labels[:, 300:] = 2 + index  # a step at column 300 ...
    labels[250:, :] = 5  # ... above row 250
    labels[:, 297:300] = 0  # a rim
    labels[400:, 500:] = 0  # a hole
    return image.astype(np.uint8), plane(TILT, 2.0 + 0.5 * index).astype(np.float32), labels


def write_labeled(path, **changes):
    """MATLAB 7.3: 512 bytes of header, axes in reverse, a cell of references to UTF-16 strings."""
    images, depths, labels = zip(*map(picture, range(COUNT)), strict=True)
    data = dict(
        images=np.stack([i.transpose(2, 1, 0) for i in images]),
        depths=np.stack([d.T for d in depths]),
        labels=np.minimum(np.stack([x.T for x in labels]), len(NAMES)),
    )
    data |= changes
    with h5py.File(path, 'w', userblock_size=512) as file:
        for name, array in data.items():
            if array is not None:
                chunks = (1, *array.shape[1:])
                file.create_dataset(name, data=array, chunks=chunks, compression='gzip')
        cells = file.create_dataset('names', (1, len(NAMES)), h5py.ref_dtype)
        for i, name in enumerate(NAMES):
            text = np.array([[ord(c)] for c in name], np.uint16)
            cells[0, i] = file.create_dataset(f'#refs#/{i}', data=text).ref
    with open(path, 'r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(124) + b'\x00\x02IM')


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp('nyu')
    write_labeled(folder / 'labeled.mat')
    splits = dict(trainNdxs=np.array([[3], [1]], np.uint16), testNdxs=np.array([[2], [4]]))
    savemat(folder / 'splits.mat', splits)
    (folder / 'map.json').write_text(json.dumps(CLASS))
    return folder


def convert(folder, out, *options, mapping=True, labeled='labeled.mat', splits='splits.mat'):
    command = [folder / labeled, folder / splits, out, *options]
    if mapping:
        command += ['--class-mapping', folder / 'map.json']
    return main(['data', 'nyudv2', *map(str, command)])


@pytest.fixture(scope='module')
def converted(source, tmp_path_factory):
    out = tmp_path_factory.mktemp('out') / 'NYUD_MT'
    assert convert(source, out) == 0
    return out


def load(root, split='train'):
    return NYUDMT(tasks=TASKS, split=split, data_root=str(root))


@pytest.mark.parametrize('split, numbers', [('train', (3, 1)), ('val', (2, 4))])
def test_every_label_comes_back(converted, split, numbers):
    data = load(converted, split)
    assert [data.get_data_info(i)['img_id'] for i in range(2)] == [f'{n:04d}' for n in numbers]
    to_class = np.array([255] + [CLASS[name] - 1 for name in NAMES], np.uint8)
    for index, number in enumerate(numbers):
        image, depth, labels = (a[45:470, 40:600] for a in picture(number - 1))
        sample = data[index]
        assert sample['img'].shape == (425, 560, 3)
        assert np.abs(sample['img'][..., ::-1].astype(int) - image).mean() < 1
        want = to_class[np.minimum(labels, len(NAMES))]
        assert np.array_equal(sample['labels']['semseg'], want)
        assert np.array_equal(sample['labels']['depth'], depth)
        normals = sample['labels']['normals']
        assert normals.any(-1).all()
        assert worst_angle(normals, TILT) < 0.1
        # a step after column 298 (the rim goes to the nearer side), and the row above 250
        edge = np.zeros((480, 640), np.uint8)
        edge[:250, 298] = 1
        edge[249] = 1
        if number == 4:  # labels 5 beside 5
            edge[249, 299:] = 0
        assert np.array_equal(sample['labels']['edge'], edge[45:470, 40:600])


@pytest.mark.parametrize(
    'crop, corner, shape', [('border', 8, (464, 624)), ('none', 0, (480, 640))]
)
def test_other_crops(source, tmp_path, crop, corner, shape):
    assert convert(source, tmp_path / 'out', '--crop', crop, '--limit', '1') == 0
    data = load(tmp_path / 'out')
    assert len(data) == 1
    depth = data[0]['labels']['depth']
    assert depth.shape == shape and depth[0, 0] == picture(2)[1][corner, corner]
    assert worst_angle(data[0]['labels']['normals'], TILT) < 0.1


def test_a_smaller_size_mixes_nothing(source, tmp_path):
    assert convert(source, tmp_path / 'out', '--size', '106', '140', '--limit', '1') == 0
    labels = load(tmp_path / 'out')[0]['labels']
    assert {a.shape[:2] for a in labels.values()} == {(106, 140)}
    original = set(picture(2)[1].ravel().tolist())
    assert set(labels['depth'].ravel().tolist()) <= original
    assert set(np.unique(labels['semseg'])) == {CLASS[n] - 1 for n in ('wall', 'shower curtain',
                                                                      'piano')} | {255}  # fmt: skip
    # the lines stay one pixel wide: (298 - 40 + 1) / 4 and (249 - 45 + 1) / 4.009
    columns = np.flatnonzero(labels['edge'][:40].any(0))
    assert columns.tolist() == [64] and labels['edge'].any(1).nonzero()[0].max() == 50
    assert worst_angle(labels['normals'], TILT) < 0.1


def test_a_stopped_conversion_goes_on_and_another_is_refused(source, tmp_path, capsys):
    out = tmp_path / 'out'
    size = ('--size', '60', '80')
    assert convert(source, out, *size, '--limit', '1') == 0
    assert convert(source, out, *size) == 0
    files = {p: p.read_bytes() for p in out.rglob('*') if p.is_file()}
    assert len(files) == 1 + 2 + 5 * COUNT
    lost = [out / 'depth' / '0002.npy', out / 'images' / '0004.jpg', out / 'gt_sets' / 'val.txt']
    kept = {p: p.stat().st_mtime_ns for p in files if p not in lost and p.suffix != '.txt'}
    for path in lost:
        path.unlink()
    assert convert(source, out, *size) == 0
    assert {p: p.read_bytes() for p in out.rglob('*') if p.is_file()} == files
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert convert(source, out) == 1
    assert 'other options (size: [60, 80] there, None asked)' in capsys.readouterr().err
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('draft')
    assert convert(source, tmp_path / 'mine') == 1
    assert [p.name for p in (tmp_path / 'mine').iterdir()] == ['thesis.txt']


def test_classes_without_a_mapping(source, tmp_path, capsys):
    assert convert(source, tmp_path / 'out', mapping=False) == 1
    error = capsys.readouterr().err
    for part in ('2 of 5 names', "'goat', 'piano'", 'classMapping40.mat', '--rest otherprop'):
        assert part in error
    assert not (tmp_path / 'out').exists()
    assert class_table(NAMES, rest='otherprop').tolist() == [0, 1, 23, 40, 28, 40]
    assert class_table(NAMES, rest='ignore').tolist() == [0, 1, 23, 0, 28, 0]
    assert class_table(CLASSES[:37]).tolist() == list(range(38))


def test_the_mapping_of_the_toolbox(tmp_path):
    path = tmp_path / 'classMapping40.mat'
    savemat(path, dict(mapClass=np.array([[1.0, 23, 40, 28, 39]])))
    assert class_table(NAMES, path).tolist() == [0, 1, 23, 40, 28, 39]
    savemat(path, dict(mapClass=np.array([[1.0, 23]])))
    with pytest.raises(DataFileError, match='classMapping40.mat.*2 entries.*5 names'):
        class_table(NAMES, path)
    savemat(path, dict(mapping=np.array([[1.0, 23]])))
    with pytest.raises(DataFileError, match="no variable 'mapClass'"):
        class_table(NAMES, path)


@pytest.mark.parametrize(
    'content, message',
    [
        ({**CLASS, 'goat': 41}, "map.json: 'goat' has class 41.*1 to 40"),
        ({**CLASS, 'goat': -1}, "'goat' has class -1"),
        ({**CLASS, 'goat': 1.5}, "'goat' has class 1.5"),
        ({**CLASS, 'goat': 'wall'}, "'goat' has class 'wall'"),
        ({**CLASS, 'gaot': 40}, "no name 'gaot'. Did you mean 'goat'"),
        ({'wall': 1}, 'map.json: has no class for 4 of 5 names.*--rest'),
        ([1, 2], 'map.json: expected JSON.*list'),
        ('wall: 1', 'map.json: expected JSON'),
    ],
)
def test_a_broken_mapping_is_named(tmp_path, content, message):
    path = tmp_path / 'map.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message):
        class_table(NAMES, path)


def test_a_class_beyond_40_writes_nothing(source, tmp_path, capsys):
    (tmp_path / 'map.json').write_text(json.dumps({**CLASS, 'goat': 41}))
    mapping = ('--class-mapping', tmp_path / 'map.json')
    assert convert(source, tmp_path / 'out', *mapping, mapping=False) == 1
    assert "'goat' has class 41" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_swapped_and_missing_files(source, tmp_path, capsys):
    out = tmp_path / 'out'
    assert convert(source, out, labeled='splits.mat', splits='labeled.mat') == 1
    assert 'splits.mat: is not an HDF5' in (error := capsys.readouterr().err) and 'swap' in error
    assert convert(source, out, splits='labeled.mat') == 1
    assert 'labeled.mat: is an HDF5 file, expected splits.mat' in capsys.readouterr().err
    for missing in (dict(labeled='no.mat'), dict(splits='no.mat')):
        assert convert(source, out, **missing) == 1
        assert 'no.mat: no such file' in capsys.readouterr().err


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(source, tmp_path, capsys, share):
    content = (source / 'labeled.mat').read_bytes()
    (tmp_path / 'labeled.mat').write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataFileError, match='labeled.mat: (cannot be opened|is not an HDF5)'):
        LabeledFile(tmp_path / 'labeled.mat')


def test_a_damaged_picture_is_named(source, tmp_path):
    path = tmp_path / 'labeled.mat'
    write_labeled(path)
    with h5py.File(path) as file:
        chunk = file['depths'].id.get_chunk_info(2)
    with path.open('r+b') as file:
        file.seek(chunk.byte_offset + 512)
        file.write(b'\0' * 4000)
    with LabeledFile(path) as labeled:
        labeled.picture(1)
        with pytest.raises(DataFileError, match="labeled.mat: 'depths' of picture 3.*damaged"):
            labeled.picture(2)


SMALL = dict(
    images=np.zeros((1, 3, 640, 480), np.uint8),
    depths=np.ones((1, 640, 480), np.float32),
    labels=np.ones((1, 640, 480), np.uint16),
)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(labels=None), "no variable 'labels'"),
        (dict(images=np.zeros((1, 480, 640, 3), np.uint8)), r'images \(N, 3, W, H\).*480, 640, 3'),
        (dict(depths=np.ones((2, 640, 480), np.float32)), r'depths \(2, 640, 480\)'),
        (dict(depths=np.ones((1, 640, 480), np.uint16)), 'floating point.*depths uint16'),
        ({name: a[..., :240] for name, a in SMALL.items()}, '480 x 640, got 240 x 640'),
        (dict(depths=SMALL['depths'] * 2000), 'picture 1: expected depths in metres.*2000'),
        (dict(depths=SMALL['depths'] * np.nan), 'picture 1: expected depths in metres.*nan'),
        (dict(labels=SMALL['labels'] * 6), 'picture 1: label 6 is beyond the 5 names'),
    ],
)
def test_another_file_says_what_is_wrong(tmp_path, changes, message):
    write_labeled(tmp_path / 'other.mat', **{**SMALL, **changes})
    with pytest.raises(DataFileError, match=f'other.mat.*{message}'):
        with LabeledFile(tmp_path / 'other.mat') as labeled:
            labeled.picture(0)


@pytest.mark.parametrize(
    'splits, message',
    [
        (dict(trainNdxs=[[1]]), "no variable 'testNdxs'"),
        (dict(trainNdxs=[[0]], testNdxs=[[1]]), 'from 1 to 4, got 0'),
        (dict(trainNdxs=[[1]], testNdxs=[[5]]), 'from 1 to 4, got 0 to 5'),
        (dict(trainNdxs=[[1], [2]], testNdxs=[[2]]), 'picture 2 more than once'),
    ],
)
def test_odd_splits_are_refused(source, tmp_path, capsys, splits, message):
    savemat(tmp_path / 'odd.mat', splits)
    assert convert(source, tmp_path / 'out', splits=tmp_path / 'odd.mat') == 1
    error = capsys.readouterr().err
    assert 'odd.mat' in error and message.split(',')[0] in error


def test_instances_part_objects_of_one_class(tmp_path):
    instances = np.ones((1, 640, 480), np.uint8)
    instances[0, 320:] = 2
    write_labeled(tmp_path / 'labeled.mat', **SMALL, instances=instances)
    with LabeledFile(tmp_path / 'labeled.mat') as labeled:
        edge = boundaries(labeled.picture(0).regions)
    assert np.flatnonzero(edge.any(0)).tolist() == [319] and edge[:, 319].all()


def test_normals_of_two_surfaces_and_of_holes():
    left, right = np.array([0.6, 0, -0.8]), np.array([-0.6, 0, -0.8])
    depth = plane(left, 2.0)
    depth[:, 320:] = plane(right, 4.0)[:, 320:]
    depth[100:140, 100:140] = 0
    normals = normals_from_depth(depth)
    away = 8  # half a window of 15, and the pixel itself
    for part, want in ((slice(0, 320 - away), left), (slice(320 + away, 640), right)):
        found = normals[:, part][normals[:, part].any(-1)]
        assert worst_angle(found, want) < 0.1
    assert not normals[:, 318:322].any()
    assert not normals[100:140, 100:140].any()
    assert normals[98, 100:140].any(-1).all() and normals[120, 98].any()


def test_rims_are_closed_and_holes_stay_open():
    regions = np.zeros((40, 60), int)
    regions[:, :10], regions[:, 14:20] = 3, 7
    closed = close_rims(regions)
    assert (closed[:, :12] == 3).all() and (closed[:, 12:30] == 7).all()
    assert not closed[:, 30:].any()
    assert boundaries(closed).sum() == 40 and boundaries(closed)[:, 11].all()


def test_colours_are_not_swapped(converted):
    red = np.asarray(Image.open(converted / 'images' / '0001.jpg'))[..., 0].astype(int)
    assert red[:, -1].mean() > red[:, 0].mean() + 200
