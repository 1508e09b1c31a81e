"""Tiny data sets in the published layouts, written by hand (no code of the package)."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

SIZE = (12, 16)


def save_png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def save_npy(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def save_jpg(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=95)


def save_parts(path, objects):
    """PASCAL-Part's nested structs; ``objects``: (name, class id, mask, {part: mask})."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.empty((1, len(objects)), [('class', 'O'), ('class_ind', 'O'), ('mask', 'O'),
                                        ('parts', 'O')])  # fmt: skip
    for i, (name, number, mask, parts) in enumerate(objects):
        listed = np.zeros((0, 0))
        if parts:
            listed = np.empty((1, len(parts)), [('part_name', 'O'), ('mask', 'O')])
            for k, (part, where) in enumerate(parts.items()):
                listed[0, k] = (part, where.astype(np.uint8))
        rows[0, i] = (name, float(number), mask.astype(np.uint8), listed)
    anno = np.empty((1, 1), [('imname', 'O'), ('objects', 'O')])
    anno[0, 0] = (path.stem, rows)
    savemat(path, dict(anno=anno))


def box(top, bottom, left, right):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def context_map():
    context = np.full(SIZE, 3, np.uint16)
    context[:, 8:] = 420  # beyond 8 bits
    context[6:, :8] = 9
    return context


@pytest.fixture
def pascal_root(tmp_path):
    """Three pictures: ``a`` with persons, ``b`` without, ``c`` with semseg from the fallback."""
    root = tmp_path / 'PASCAL_MT'
    (root / 'ImageSets' / 'Context').mkdir(parents=True)
    (root / 'ImageSets' / 'Context' / 'train.txt').write_text('a\nb\nc\n')
    (root / 'ImageSets' / 'Context' / 'val.txt').write_text('c\n')
    (root / 'ImageSets' / 'Parts').mkdir()
    parts = json.dumps(dict(a=[15, 7], b=[7, -1], c=[15]))
    (root / 'ImageSets' / 'Parts' / 'train.txt').write_text(parts)
    for seed, name in enumerate('abc'):
        save_jpg(root / 'JPEGImages' / f'{name}.jpg', seed)
        semseg = np.zeros(SIZE, np.uint8)
        semseg[2:5, 3:9], semseg[0] = 15 + seed, 255
        folder = 'pascal-context' if name == 'c' else 'VOC12'
        palette = Image.fromarray(semseg)
        palette.putpalette(bytes(range(256)) * 3)
        (root / 'semseg' / folder).mkdir(parents=True, exist_ok=True)
        palette.save(root / 'semseg' / folder / f'{name}.png')
        (root / 'pascal-context' / 'trainval').mkdir(parents=True, exist_ok=True)
        savemat(root / 'pascal-context' / 'trainval' / f'{name}.mat', dict(LabelMap=context_map()))
        normals = np.full((*SIZE, 3), (255, 128, 128), np.uint8)
        normals[0] = 127, 128, 127  # no direction
        save_png(root / 'normals_distill' / f'{name}.png', normals)
        save_png(root / 'sal_distill' / f'{name}.png', np.tile(np.arange(16) * 17, (12, 1)).astype(
            np.uint8))  # fmt: skip
        body = box(1, 11, 2, 8)
        limbs = dict(head=box(1, 3, 2, 8), hair=box(1, 2, 2, 8), neck=box(3, 4, 2, 8),
                     torso=box(4, 6, 2, 8), luarm=box(6, 7, 2, 4), rlarm=box(6, 7, 4, 6),
                     rhand=box(6, 7, 6, 8), ruleg=box(7, 8, 2, 8), llleg=box(8, 9, 2, 8),
                     lfoot=box(9, 10, 2, 8))  # fmt: skip
        person = ('person', 15, body, limbs)
        car = ('car', 7, box(0, 12, 10, 16), dict(wheel_1=box(9, 12, 10, 12)))
        crowd = ('person', 15, box(0, 1, 0, 2), {})
        objects = dict(a=[car, person, crowd], b=[car], c=[person])[name]
        save_parts(root / 'human_parts' / f'{name}.mat', objects)
    return root


@pytest.fixture
def nyud_root(tmp_path):
    """Two pictures for training, one for validation; depth in metres."""
    root = tmp_path / 'NYUD_MT'
    (root / 'gt_sets').mkdir(parents=True)
    (root / 'gt_sets' / 'train.txt').write_text('0001\n0002\n')
    (root / 'gt_sets' / 'val.txt').write_text('0003\n')
    for seed, name in enumerate(('0001', '0002', '0003')):
        save_jpg(root / 'images' / f'{name}.jpg', seed)
        segmentation = np.full(SIZE, 40, np.uint8)
        segmentation[0], segmentation[1] = 0, 1
        save_png(root / 'segmentation' / f'{name}.png', segmentation)
        depth = np.full(SIZE, 1.5 + seed, np.float32)
        depth[0] = 0
        save_npy(root / 'depth' / f'{name}.npy', depth)
        normals = np.full((*SIZE, 3), (0.6, 0, -0.8), np.float32)
        normals[0] = 0
        save_npy(root / 'normals' / f'{name}.npy', normals)
        edge = np.zeros(SIZE, np.float32)
        edge[:, 3] = 1
        save_npy(root / 'edge' / f'{name}.npy', edge)
    return root


@pytest.fixture
def write():
    """The writers, for tests that change a file."""
    return dict(png=save_png, npy=save_npy, jpg=save_jpg, parts=save_parts, box=box)
