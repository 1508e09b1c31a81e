"""Files that are not what their names say are named, with what they seem to be."""

import numpy as np
import pytest
import torch

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_array, read_text
from mtpeft.datasets.labels import check_label
from mtpeft.datasets.layout import read_split
from mtpeft.datasets.nyud_mt import _zero_or_one
from mtpeft.tasks import build_tasks
from mtpeft.transforms import MTRandomFlip, PackMultiTaskInputs

SIZE = (4, 6)


def test_an_archive_named_as_an_array(tmp_path):
    with (tmp_path / 'depth.npy').open('wb') as file:
        np.savez(file, metres=np.ones(3), other=np.ones(2))
    with pytest.raises(DataFileError, match=r'depth\.npy: is an \.npz archive.*metres, other'):
        read_array(tmp_path / 'depth.npy')


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be', 'latin-1'])
def test_a_split_in_another_encoding(tmp_path, encoding):
    path = tmp_path / 'train.txt'
    path.write_bytes('bild_1\nküche_2\n'.encode(encoding))
    found = 'Latin-1' if encoding == 'latin-1' else 'UTF-16'
    with pytest.raises(DataFileError, match=rf'train\.txt: expected text in UTF-8.*{found}'):
        read_split(path)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_a_split_in_utf_8(tmp_path, encoding):
    path = tmp_path / 'train.txt'
    path.write_bytes('bild_1\nküche_2\n'.encode(encoding))
    assert read_split(path) == ['bild_1', 'küche_2']
    assert read_text(path) == 'bild_1\nküche_2\n'


def mask(*values):
    label = np.zeros(SIZE, np.uint8)
    label.flat[: len(values)] = values
    return label


@pytest.mark.parametrize('task', ['sal', dict(type='semseg', num_classes=2, name='two')])
def test_a_mask_of_0_and_255_is_refused_by_name(task):
    (task,) = build_tasks([task]).values()
    with pytest.raises(DataFileError, match=r'mask\.png: .*only 0 and 255.*1 for the foreground'):
        check_label(mask(255, 255), task, SIZE, 'mask.png')
    for label in (mask(), mask(1, 255), mask(1), np.full(SIZE, 255, np.uint8)):
        check_label(label, task, SIZE, 'mask.png')


def test_the_way_out_of_a_mask_whose_255_is_ignored():
    (task,) = build_tasks(dict(sal=dict(ignore_value=254))).values()
    check_label(mask(254, 254), task, SIZE, 'mask.png')


def test_more_classes_may_have_0_and_255():
    (task,) = build_tasks(['semseg']).values()
    check_label(mask(255), task, SIZE, 'label.png')


def test_edges_of_nyud_as_a_mask():
    assert np.unique(_zero_or_one(mask(255, 255))).tolist() == [0, 1]
    assert np.array_equal(_zero_or_one(mask(1, 255)), mask(1, 255))


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (7, 1)])
def test_a_picture_one_pixel_wide_is_flipped_and_packed(size):
    tasks = build_tasks(['semseg', 'normals', 'depth'])
    draw = np.random.default_rng(0)
    img = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
    depth = draw.random(size, dtype=np.float32) + 1
    labels = dict(
        semseg=draw.integers(0, 21, size, dtype=np.uint8), depth=depth,
        normals=np.tile(np.float32([0.6, 0, -0.8]), (*size, 1)),
    )  # fmt: skip
    given = dict(img=img, img_shape=size, ori_shape=size, tasks=tasks, labels=dict(labels))
    packed = PackMultiTaskInputs()(MTRandomFlip(prob=1.0)(given))
    assert torch.equal(packed['inputs'].permute(1, 2, 0), torch.from_numpy(img[:, ::-1].copy()))
    got = packed['data_samples'].get_gt('depth')[0]
    assert torch.equal(got, torch.from_numpy(depth[:, ::-1].copy()))
