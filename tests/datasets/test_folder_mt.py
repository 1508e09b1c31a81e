"""Folders of one's own from a config alone: where files are, and what their numbers mean."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from mtpeft.datasets import NYUDMT, DataFileError
from mtpeft.datasets.folder import FolderDataset
from mtpeft.registry import DATASETS

SIZE = (6, 8)
FLOOR = dict(
    type='semseg', num_classes=2, classes=('floor', 'wall'), palette=[(9, 9, 9), (0, 0, 0)]
)


def put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)


def picture(path, value=100):
    put(path, np.full((*SIZE, 3), value, np.uint8))


def load(root, images='rgb/{split}/{id}.jpg', tasks=('depth',), **options):
    options.setdefault('labels', dict(depth=dict(path='d/{id}.png', scale=1 / 256)))
    spec = dict(type='FolderMT', tasks=tasks, data_root=str(root), images=images, **options)
    return DATASETS.build(spec)


def names(data):
    return [data.get_data_info(i)['img_id'] for i in range(len(data))]


@pytest.fixture
def root(tmp_path):
    for split, number in (('train', 3), ('val', 1)):
        for i in range(number):
            picture(tmp_path / f'rgb/{split}/{split} {i}.jpg')
            put(tmp_path / f'd/{split} {i}.png', np.full(SIZE, (i + 1) * 256, np.uint16))
            put(tmp_path / f'mask/{split} {i}.png', np.eye(*SIZE, dtype=np.uint8) * 255)
    return tmp_path


def test_the_folders_are_the_splits(root):
    assert names(load(root)) == ['train 0', 'train 1', 'train 2']
    assert names(load(root, split='val')) == ['val 0']
    assert [load(root)[i]['labels']['depth'].max() for i in range(3)] == [1, 2, 3]


def test_a_mask_of_0_and_255_with_names_and_colours(root):
    labels = dict(mask=dict(path='mask/{id}.png', map={255: 1}))
    data = load(root, tasks=dict(floor=dict(FLOOR, label_key='mask')), labels=labels)
    assert np.array_equal(data[0]['labels']['floor'], np.eye(*SIZE))
    assert data.tasks['floor'].classes == ('floor', 'wall')
    with pytest.raises(DataFileError, match=r'map=\{255: 1\}'):
        load(
            root, tasks=dict(floor=dict(FLOOR, label_key='mask')), labels=dict(mask='mask/{id}.png')
        )[0]


@pytest.mark.parametrize('text', [
    'train 0\ntrain 1\n', '\ufefftrain 0\r\ntrain 1\r\n', '  train 0 \n\n\ttrain 1',
    'train 0.jpg\ntrain 1.JPG\n',
])  # fmt: skip
def test_lists_of_names(root, text):
    (root / 'lists').mkdir()
    (root / 'lists/some.txt').write_bytes(text.encode())
    data = load(root, 'rgb/train/{id}.jpg', splits='lists/{split}.txt', split='some')
    assert names(data) == ['train 0', 'train 1'] and data[1]['labels']['depth'].max() == 2


def test_ids_of_pictures_with_a_label_may_have_spaces(root):
    (root / 'ids.txt').write_text('train 1\n')
    data = load(root, labelled_ids=dict(depth=str(root / 'ids.txt')))
    assert [bool(data[i]['labels']) for i in range(3)] == [False, True, False]


def test_a_line_of_two_columns_is_explained(root):
    (root / 'some.txt').write_text('rgb/0.jpg d/0.png\n')
    with pytest.raises(FileNotFoundError, match='some.txt has.*(?s:.)*looks like 2 of them'):
        load(root, 'rgb/train/{id}.jpg', splits='{split}.txt', split='some')


def test_suffixes_in_any_case_and_accents_in_any_encoding(tmp_path):
    composed, apart = (unicodedata.normalize(form, 'küche') for form in ('NFC', 'NFD'))
    picture(tmp_path / f'rgb/train/{apart}.JPG')
    put(tmp_path / f'd/{apart}.PNG', np.full(SIZE, 512, np.uint16))
    (tmp_path / 'train.txt').write_text(composed)
    for options in (dict(splits='{split}.txt'), {}):
        data = load(tmp_path, **options)
        assert len(data) == 1 and data[0]['labels']['depth'].max() == 2


def test_names_with_folders_and_hidden_files(tmp_path):
    for city in ('aachen', 'ulm'):
        picture(tmp_path / f'left/train/{city}/{city}_1_left.png')
        put(tmp_path / f'fine/train/{city}/{city}_1_ids.png', np.ones(SIZE, np.uint8))
    (tmp_path / 'left/train/ulm/._ulm_1_left.png').write_bytes(b'Mac')
    data = load(tmp_path, 'left/{split}/{id}_left.png', dict(floor=dict(FLOOR, label_key='semseg')),
                labels=dict(semseg='fine/{split}/{id}_ids.png'))  # fmt: skip
    assert names(data) == ['aachen/aachen_1', 'ulm/ulm_1'] and data[1]['labels']['floor'].all()


def test_a_share_for_validation_parts_a_folder(tmp_path):
    for i in range(40):
        picture(tmp_path / f'{i}.jpg')
    parts = [names(load(tmp_path, '{id}.jpg', split=s, val_share=0.3, allow_missing_labels=True))
             for s in ('train', 'val', None)]  # fmt: skip
    assert sorted(parts[0] + parts[1]) == sorted(parts[2]) and 4 < len(parts[1]) < 20
    picture(tmp_path / 'new.jpg')
    again = names(load(tmp_path, '{id}.jpg', split='val', val_share=0.3, allow_missing_labels=True))
    assert set(again) - {'new'} == set(parts[1])


@pytest.mark.parametrize('options, match', [
    (dict(images='rgb/{id}.jpg'), "Nothing tells split 'train'"),
    (dict(images='rgb/{split}/{id}.tif'), r'no file fits.*holds 3 of \.jpg'),
    (dict(images='rbg/{split}/{id}.jpg'), 'no such folder'),
    (dict(images='rgb/{split}/all.jpg'), r'has no \{id\}'),
    (dict(images='rgb/{splt}/{id}.jpg'), "Did you mean 'split'"),
    (dict(labels=dict(depth=dict(path='d/{id}.png', scale=0))), 'scale'),
    (dict(val_share=0.2), 'val_share divides'),
    (dict(images='rgb/train/{id}.jpg', val_share=0.2, split='vla'), "Did you mean 'val'"),
    (dict(split=None), 'split is None'),
])  # fmt: skip
def test_what_cannot_be_is_refused(root, options, match):
    with pytest.raises(ValueError, match=match):
        load(root, **options)


def test_an_unknown_option_of_files_is_named(root):
    with pytest.raises(TypeError, match="no option 'sclae'. Did you mean 'scale'"):
        load(root, labels=dict(depth=dict(path='d/{id}.png', sclae=1)))


@pytest.mark.parametrize('name, value', [
    ('path', 3), ('path', []), ('path', None), ('scale', 'x'), ('scale', True), ('map', 'x'),
    ('map', {1: 'x'}), ('map', [1]), ('ignore', 'x'), ('ignore', ['x']), ('signs', 1),
    ('signs', (2, 1, 1)),
])  # fmt: skip
def test_an_option_of_another_type_is_named(root, name, value):
    with pytest.raises(TypeError, match=f"^{name} of a label's files: expected"):
        load(root, labels=dict(depth={'path': 'd/{id}.png', name: value}))


def test_whole_numbers_of_values_need_a_scale(root):
    data = load(root, labels=dict(depth='d/{id}.png'))
    with pytest.raises(DataFileError, match='train 0.png: holds whole numbers.*scale'):
        data[0]
    assert load(root, labels=dict(depth=dict(path='d/{id}.png', scale=1)))[0]['labels'][
        'depth'].max() == 256  # fmt: skip


@pytest.mark.parametrize('dtype', ['u1', 'i2', '>i4', 'u2', 'i8', 'f2', '>f4', 'f8', 'g'])
def test_values_of_every_type_of_array(root, dtype):
    put(root / 'd/train 0.npy', np.full(SIZE, 100, dtype))
    got = load(root, labels=dict(depth=dict(path='d/{id}.npy', scale=0.5)), check_files=False)[0]
    assert got['labels']['depth'].dtype == np.float32 and (got['labels']['depth'] == 50).all()


def test_stored_numbers_without_a_label(root):
    depth = np.full(SIZE, 2.0)
    depth[0], depth[1] = np.nan, -1
    put(root / 'd/train 0.npy', depth)
    files = dict(path='d/{id}.npy', ignore=[float('nan'), -1])
    label = load(root, labels=dict(depth=files), check_files=False)[0]['labels']['depth']
    assert not label[:2].any() and (label[2:] == 2).all()
    put(root / 'c/train 0.npy', np.where(depth == 2, 1, -1).astype(np.int16))
    files = dict(path='c/{id}.npy', ignore=-1)
    data = load(root, tasks=dict(semseg=dict(num_classes=2)), labels=dict(semseg=files),
                check_files=False)  # fmt: skip
    assert np.unique(data[0]['labels']['semseg']).tolist() == [1, 255]


@pytest.mark.parametrize('first, expected', [(None, [1, 5, 12]), (0, [1, 5, 12]), (1, [0, 4, 11])])
def test_classes_counted_from_0_or_1(root, first, expected):
    stored = np.resize(np.array([1, 5, 12], np.uint8), SIZE)
    stored[0] = 0
    put(root / 's/train 0.png', stored)
    data = load(root, tasks=dict(semseg=dict(num_classes=13)), check_files=False,
                labels=dict(semseg=dict(path='s/{id}.png', first_class=first)))  # fmt: skip
    label = data[0]['labels']['semseg']
    assert np.unique(label[1:]).tolist() == expected
    assert (label[0] == (255 if first else 0)).all()


@pytest.mark.parametrize('suffix', ['.png', '.npy', '.tif'])
def test_more_classes_than_8_bits_hold(root, suffix):
    stored = np.resize(np.array([0, 255, 256, 299, 65535], np.uint16), SIZE)
    put(root / f's/train 0{suffix}', stored)
    data = load(root, tasks=dict(semseg=dict(num_classes=300)), check_files=False,
                labels=dict(semseg='s/{id}' + suffix))  # fmt: skip
    label, task = data[0]['labels']['semseg'], data.tasks['semseg']
    assert np.array_equal(label, stored) and task.ignore_value == 65535
    assert task.valid(label).sum() == (stored != 65535).sum()


def test_labels_of_half_the_size(root):
    put(root / 'd/train 0.png', np.full((3, 4), 512, np.uint16))
    with pytest.raises(DataFileError, match=r'\(6, 8\).*\(3, 4\).*resize_labels=True'):
        load(root)[0]
    label = load(root, resize_labels=True)[0]['labels']['depth']
    assert label.shape == SIZE and (label == 2).all()
    put(root / 'd/train 0.png', np.full((3, 8), 512, np.uint16))
    with pytest.raises(DataFileError, match=r'got \(3, 8\)'):
        load(root, resize_labels=True)[0]


def test_a_photograph_that_exif_turns(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((*SIZE, 3), np.uint8)
    stored[0] = 255
    Image.fromarray(stored).save(root / 'rgb/train/train 0.jpg', exif=exif, quality=95)
    put(root / 'd/train 0.png', np.full(SIZE[::-1], 512, np.uint16))
    with pytest.raises(DataFileError, match='EXIF.*exif_rotation=True'):
        load(root)[0]
    got = load(root, exif_rotation=True)[0]
    # turned clockwise, the first row is the last column
    assert got['img'].shape[:2] == SIZE[::-1] and got['img'][:, -1].mean() > 250
    assert got['img'][:, 0].mean() < 5


class CityMT(FolderDataset):
    SPLITS = '{split}.txt'
    IMAGES = ('rgb/train/{id}.jpg',)
    PATTERNS = dict(depth=dict(path='d/{id}.png', scale=1 / 256))


class OwnNYU(NYUDMT):
    """NYUD with one change."""


def test_classes_of_ones_own(root, nyud_root):
    (root / 'train.txt').write_text('train 1')
    assert CityMT(['depth'], 'train', str(root))[0]['labels']['depth'].max() == 2
    assert len(OwnNYU(['semseg'], data_root=str(nyud_root))) == 2
    with pytest.raises(FileNotFoundError, match=f"OwnNYU.*Did you mean data_root='{nyud_root}'"):
        OwnNYU(['semseg'], data_root=str(nyud_root.parent))
    with pytest.raises(FileNotFoundError, match='CityMT: .*does not exist'):
        CityMT(['depth'], 'train', str(root / 'none'))


def test_a_copy_of_arrays_as_multi_task_repositories_share_them(tmp_path):
    """Pictures of 0 to 1, classes with -1, depth (H, W, 1), normals, all as .npy."""
    draw = np.random.default_rng(0)
    img = draw.random((*SIZE, 3)).astype(np.float32)
    classes = draw.integers(-1, 13, SIZE).astype(np.float32)
    depth = draw.random((*SIZE, 1)).astype(np.float32)
    normal = draw.standard_normal((*SIZE, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    for kind, array in dict(image=img, label=classes, depth=depth, normal=normal).items():
        put(tmp_path / f'train/{kind}/0.npy', array)
    where = 'train/{}/{{id}}.npy'
    options = dict(
        tasks=dict(semseg=dict(num_classes=13), depth={}, normals={}),
        labels=dict(semseg=dict(path=where.format('label'), ignore=-1),
                    depth=where.format('depth'), normals=where.format('normal')), split=None,
    )  # fmt: skip
    pictures = where.format('image')
    sample = load(tmp_path, dict(path=pictures, scale=255), **options)[0]
    assert np.array_equal(sample['img'][..., ::-1], np.rint(img * 255).astype(np.uint8))
    labels = sample['labels']
    assert np.array_equal(labels['semseg'], np.where(classes < 0, 255, classes))
    assert np.array_equal(labels['depth'], depth[..., 0])
    np.testing.assert_allclose(labels['normals'], normal, atol=1e-5)
    with pytest.raises(DataFileError, match='0.npy: expected colours of 0 to 255.*unscaled'):
        load(tmp_path, pictures, **options)[0]


def test_whole_paths_as_patterns(root):
    depth = dict(path=str(root / 'd' / '{id}.png'), scale=1)
    data = load(root, str(root / 'rgb' / '{split}' / '{id}.jpg'), labels=dict(depth=depth))
    assert names(data) == ['train 0', 'train 1', 'train 2'] and len(data[0]['labels']) == 1
