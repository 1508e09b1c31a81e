"""Files that are not what their names say are named, with what they seem to be."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_array, read_image, read_text
from mtpeft.datasets.labels import check_label
from mtpeft.datasets.layout import read_split
from mtpeft.datasets.nyud_mt import _zero_or_one
from mtpeft.datasets.vectors import unit_vectors
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


GREY = np.arange(24, dtype=np.uint8).reshape(SIZE) * 10


@pytest.mark.parametrize('suffix, stored', [
    ('.png', GREY > 90), ('.png', GREY), ('.png', GREY.astype(np.uint16) * 257), ('.tif', GREY),
    ('.tif', GREY.astype(np.uint16) * 257), ('.tif', GREY.astype(np.int32) * 99_999),
    ('.tif', GREY.astype(np.float32) / 7), ('.bmp', GREY), ('.pgm', GREY), ('.PNG', GREY),
    ('.png', np.stack([GREY] * 3, -1)),
])  # fmt: skip
def test_numbers_of_a_picture_are_those_that_were_stored(tmp_path, suffix, stored):
    Image.fromarray(stored).save(tmp_path / f'a{suffix}')
    got = read_array(tmp_path / f'a{suffix}')
    assert got.dtype == stored.dtype and np.array_equal(got, stored)


def test_colours_of_16_bits(tmp_path):
    stored = np.random.default_rng(0).integers(0, 65536, (*SIZE, 3), np.uint16)
    cv2.imwrite(str(tmp_path / 'a.png'), stored[..., ::-1])
    got = read_array(tmp_path / 'a.png')
    assert np.array_equal(got, stored)
    wanted = stored / 65535 * 2 - 1
    length = np.linalg.norm(wanted, axis=-1, keepdims=True)
    np.testing.assert_allclose(unit_vectors(got, 'a.png'), wanted / length, atol=1e-5)


def test_a_palette_is_read_as_its_indices_or_not_at_all(tmp_path):
    picture = Image.fromarray(GREY)
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(tmp_path / 'a.png')
    assert np.array_equal(read_array(tmp_path / 'a.png'), GREY)
    with pytest.raises(DataFileError, match='a.png: has a palette'):
        read_array(tmp_path / 'a.png', palette=False)


@pytest.mark.parametrize('mode', ['LA', 'RGBA', 'PA', 'CMYK'])
def test_what_is_no_label_is_refused_by_name(tmp_path, mode):
    path = tmp_path / ('a.tif' if mode == 'CMYK' else 'a.png')
    picture = Image.new('RGBA', (6, 4), (9, 9, 9, 100))
    picture.convert('LA' if mode == 'PA' else mode).save(path)
    with pytest.raises(DataFileError, match=f'mode {"LA" if mode == "PA" else mode}'):
        read_array(path)


@pytest.mark.parametrize('mode', ['LA', 'RGBA'])
def test_an_alpha_that_hides_nothing_is_left_out(tmp_path, mode):
    Image.fromarray(GREY).convert(mode).save(tmp_path / 'a.png')
    got = read_array(tmp_path / 'a.png')
    assert np.array_equal(got if mode == 'LA' else got[..., 0], GREY)
    assert np.array_equal(read_image(tmp_path / 'a.png')[..., 2], GREY)


@pytest.mark.parametrize('name', ['a.jpg', 'a.webp', 'truly.png'])
def test_lossy_labels_are_refused(tmp_path, name):
    kind = 'WEBP' if 'webp' in name else 'JPEG'
    Image.fromarray(GREY).save(tmp_path / name, kind)
    with pytest.raises(DataFileError, match='changes'):
        read_array(tmp_path / name)


def test_several_pictures_in_a_file(tmp_path):
    one = Image.fromarray(GREY)
    one.save(tmp_path / 'a.tif', save_all=True, append_images=[one])
    with pytest.raises(DataFileError, match='holds 2 pictures'):
        read_array(tmp_path / 'a.tif')


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'CMYK', 'YCbCr', 'LAB', 'HSV'])
def test_photographs_of_any_mode_are_colours(tmp_path, mode):
    grey = Image.fromarray(GREY)
    picture = grey.convert('RGB').convert('HSV') if mode == 'HSV' else grey.convert('RGB')
    if mode in ('CMYK', 'YCbCr', '1', 'L', 'P'):
        picture = picture.convert(mode)
    path = tmp_path / ('a.tif' if mode in ('CMYK', 'YCbCr', 'LAB') else 'a.png')
    if mode == 'HSV':
        picture = picture.convert('RGB')
    picture.save(path)
    try:
        wanted = np.asarray(Image.open(path).convert('RGB'))[..., ::-1]
    except OSError:  # Pillow 12.3, which the extra demo brings
        pytest.skip(f'this Pillow does not read the {mode} that it wrote')
    assert np.array_equal(read_image(path), wanted)


@pytest.mark.parametrize('kind, stored', [
    ('I;16', GREY.astype(np.uint16) * 257), ('F', GREY.astype(np.float32)),
    ('I', GREY.astype(np.int32) * 99_999),
])  # fmt: skip
def test_a_photograph_of_more_than_8_bits_is_refused_by_name(tmp_path, kind, stored):
    Image.fromarray(stored).save(tmp_path / 'a.tif')
    with pytest.raises(DataFileError, match=f'a.tif: .*more than 8 bits .mode {kind}'):
        read_image(tmp_path / 'a.tif')


def test_a_photograph_one_can_look_through_is_refused_by_name(tmp_path):
    Image.new('RGBA', (6, 4), (9, 9, 9, 100)).save(tmp_path / 'a.png')
    with pytest.raises(DataFileError, match='a.png: 100.0% of the pixels are transparent'):
        read_image(tmp_path / 'a.png')


def test_channels_of_an_array_keep_their_values_and_their_order(tmp_path):
    stored = np.random.default_rng(0).random((*SIZE, 5))
    np.save(tmp_path / 'a.npy', stored)
    got = read_image(tmp_path / 'a.npy')
    # the first three as colours are kept, blue first
    np.testing.assert_allclose(got, stored[..., [2, 1, 0, 3, 4]].astype(np.float32))
    np.save(tmp_path / 'b.npy', GREY)
    assert np.array_equal(read_image(tmp_path / 'b.npy')[..., 0], GREY)
