"""PASCALContextMT against files written by hand."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from mtpeft.datasets import DataFileError, PASCALContextMT
from mtpeft.datasets.human_parts import PART_GROUPS

TASKS = dict(semseg={}, human_parts={}, sal={}, normals={}, edge={})


def load(root, **kwargs):
    defaults = dict(tasks=TASKS, data_root=str(root), serialize_data=False)
    return PASCALContextMT(**{**defaults, **kwargs})


def test_every_label_of_the_layout(pascal_root):
    sample = load(pascal_root)[0]
    stored = np.asarray(Image.open(pascal_root / 'JPEGImages' / 'a.jpg'))
    np.testing.assert_array_equal(sample['img'], stored[..., ::-1])
    assert sample['img_id'] == 'a' and set(sample['labels']) == set(TASKS)
    labels = sample['labels']
    assert labels['semseg'][3, 4] == 15 and labels['semseg'][0, 0] == 255
    np.testing.assert_array_equal(labels['sal'][5], (np.arange(16) * 17 / 255 > 0.5))
    expected = np.array([1, 1 / 255, 1 / 255]) / np.sqrt(1 + 2 / 255**2)
    np.testing.assert_allclose(labels['normals'][3, 3], expected, atol=1e-6)
    assert not labels['normals'][0].any()


def test_parts_are_merged_into_six_groups(pascal_root):
    parts = load(pascal_root)[0]['labels']['human_parts']
    assert parts[:, 2].tolist() == [0, 1, 1, 2, 2, 2, 3, 5, 6, 6, 0, 0]
    assert parts[6].tolist() == [0, 0, 3, 3, 4, 4, 4, 4] + [0] * 8
    assert set(PART_GROUPS.values()) == {1, 2, 3, 4, 5, 6} and len(PART_GROUPS) == 24


def test_edges_are_where_the_right_or_lower_class_differs(pascal_root):
    edge = load(pascal_root)[0]['labels']['edge']
    context = loadmat(pascal_root / 'pascal-context' / 'trainval' / 'a.mat')['LabelMap']
    for y in range(12):
        for x in range(16):
            differs = (x < 15 and context[y, x] != context[y, x + 1]) or (
                y < 11 and context[y, x] != context[y + 1, x]
            )
            assert edge[y, x] == differs, (y, x)
    assert edge[5, :8].all() and edge[:, 7].all() and edge.sum() == 19


@pytest.mark.parametrize('json_there', [True, False])
def test_pictures_without_persons_have_no_parts_label(pascal_root, json_there):
    if not json_there:
        (pascal_root / 'ImageSets' / 'Parts' / 'train.txt').unlink()
    dataset = load(pascal_root)
    assert ['human_parts' in dataset[i]['labels'] for i in range(3)] == [True, False, True]


def test_the_parts_list_spares_reading_the_annotation(pascal_root):
    (pascal_root / 'human_parts' / 'b.mat').unlink()
    assert 'human_parts' not in load(pascal_root)[1]['labels']
    (pascal_root / 'ImageSets' / 'Parts' / 'train.txt').unlink()
    with pytest.raises(FileNotFoundError, match='human_parts/b.mat'):
        load(pascal_root)


def test_semseg_falls_back_to_the_context_folder(pascal_root):
    assert load(pascal_root)[2]['labels']['semseg'][3, 4] == 17
    assert len(load(pascal_root, split='val')) == 1


def test_normals_are_kept_on_the_given_context_classes(pascal_root, tmp_path):
    (tmp_path / 'kept.json').write_text(json.dumps([420]))
    for kept in ([420], str(tmp_path / 'kept.json')):
        known = load(pascal_root, normals_classes=kept)[0]['labels']['normals'].any(-1)
        assert known[1:, 8:].all() and not known[:, :8].any()
    flipped = load(pascal_root, normals_signs=(1, -1, -1))[0]['labels']['normals'][3, 3]
    assert flipped[0] > 0.99 and flipped[1] < 0 and flipped[2] < 0


def test_a_label_may_be_elsewhere_or_of_a_task_of_ones_own(pascal_root, write):
    write['npy'](pascal_root / 'shading' / 'c.npy', np.full((12, 16), 2.5))
    write['png'](pascal_root / 'edges' / 'c.png', np.eye(12, 16, dtype=np.uint8))
    shading = dict(
        type='DenseTask', kind='values', channels=1, loss={}, metric={}, headline='',
        lower_is_better=True,
    )  # fmt: skip
    paths = dict(shading='shading/{id}.npy', edge='edges/{id}.png')
    labels = load(pascal_root, tasks=dict(shading=shading, edge={}), split='val',
                  label_paths=paths)[0]['labels']  # fmt: skip
    assert (labels['shading'] == 2.5).all() and labels['shading'].dtype == np.float32
    np.testing.assert_array_equal(labels['edge'], np.eye(12, 16))


@pytest.mark.parametrize(
    'path, key', [('sal_distill/b.png', 'sal'), ('semseg/VOC12/b.png', 'semseg'),
                  ('normals_distill/b.png', 'normals'), ('pascal-context/trainval/b.mat', 'edge')]
)  # fmt: skip
def test_a_missing_label_is_an_error_unless_allowed(pascal_root, path, key):
    (pascal_root / path).unlink()
    with pytest.raises(FileNotFoundError, match='(?s)train.txt.*b.*allow_missing_labels'):
        load(pascal_root)
    assert key not in load(pascal_root, allow_missing_labels=True)[1]['labels']
    others = {name: {} for name in TASKS if name != key}
    assert len(load(pascal_root, tasks=others)) == 3  # what no task needs may be absent


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


@pytest.mark.parametrize(
    'path', ['JPEGImages/a.jpg', 'semseg/VOC12/a.png', 'normals_distill/a.png', 'sal_distill/a.png',
             'human_parts/a.mat', 'pascal-context/trainval/a.mat']
)  # fmt: skip
def test_a_truncated_file_is_named(pascal_root, path):
    truncate(pascal_root / path)
    dataset = load(pascal_root)
    with pytest.raises(DataFileError, match=f'{path}: cannot be read'):
        dataset[0]
    dataset[1]


def test_labels_with_other_contents_are_named(pascal_root, write):
    write['png'](pascal_root / 'semseg' / 'VOC12' / 'a.png', np.full((12, 16), 59, np.uint8))
    with pytest.raises(DataFileError, match=r'VOC12/a.png.*21 classes.*\[59\]'):
        load(pascal_root)[0]
    write['png'](pascal_root / 'sal_distill' / 'b.png', np.zeros((12, 16, 3), np.uint8))
    with pytest.raises(DataFileError, match=r'sal_distill/b.png.*grey.*\(12, 16, 3\)'):
        load(pascal_root)[1]
    write['png'](pascal_root / 'normals_distill' / 'c.png', np.zeros((12, 9, 3), np.uint8))
    with pytest.raises(DataFileError, match=r'normals_distill/c.png.*\(12, 16, 3\).*\(12, 9, 3\)'):
        load(pascal_root)[2]


def test_annotations_with_other_contents_are_named(pascal_root, write):
    mask = write['box'](0, 5, 0, 5)
    path = pascal_root / 'human_parts' / 'a.mat'
    write['parts'](path, [('person', 15, mask, dict(torsoo=mask))])
    with pytest.raises(DataFileError, match="a.mat: 'torsoo'.*Did you mean 'torso'"):
        load(pascal_root)[0]
    savemat(path, dict(anno=np.zeros((1, 1))))
    with pytest.raises(DataFileError, match='a.mat.*PASCAL-Part'):
        load(pascal_root)[0]
    savemat(path, dict(annotation=1))
    with pytest.raises(DataFileError, match="a.mat.*no variable 'anno'"):
        load(pascal_root)[0]


def test_the_parts_list_with_other_contents_is_named(pascal_root):
    (pascal_root / 'ImageSets' / 'Parts' / 'train.txt').write_text('a\nb\n')
    with pytest.raises(DataFileError, match='Parts/train.txt.*JSON'):
        load(pascal_root)


def test_a_bad_option_is_named(pascal_root):
    with pytest.raises(ValueError, match="no label 'depth'"):
        load(pascal_root, tasks=['depth'])
    with pytest.raises(ValueError, match='normals_classes'):
        load(pascal_root, normals_classes=['wall'])
