"""PASCALContextMT as the released code has it: edges of the Laplacian, normals by two files."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from mtpeft.datasets import PASCALContextMT
from mtpeft.datasets.errors import DataFileError

NYU = {'wall': 21, 'bag': 55, 'unknown': 20, 'air duct': 38, 'bed': 157}
CONTEXT = {'aeroplane': 2, 'bag': 3, 'unknown': 431, 'tvmonitor': 427, 'wall': 420, 'sky': 9}


def load(root, tasks=('edge',), **options):
    return PASCALContextMT(tasks=list(tasks), data_root=str(root), **options)


@pytest.fixture
def files(tmp_path):
    for name, classes in (('nyu_classes.json', NYU), ('context_classes.json', CONTEXT)):
        (tmp_path / name).write_text(json.dumps(classes))
    return [str(tmp_path / name) for name in ('nyu_classes.json', 'context_classes.json')]


def test_edges_of_the_laplacian(pascal_root):
    """Of ids, so a border whose second difference is 0 is none; thinned to one pixel."""
    classes = np.full((12, 16), 2, np.uint16)
    classes[:, 5:] = 400
    classes[8:, :5] = 4
    # ids in even steps: 1 3 5 has no second difference in its middle column
    classes[:4, 10], classes[:4, 11], classes[:4, 12:] = 400, 401, 402
    savemat(pascal_root / 'pascal-context/trainval/a.mat', dict(LabelMap=classes))
    padded = np.pad(classes.astype(int), 1, mode='reflect')  # OpenCV's border
    laplacian = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
                 - 4 * padded[1:-1, 1:-1])  # fmt: skip
    wide = laplacian != 0
    edge = load(pascal_root, edges='laplacian')[0]['labels']['edge']
    assert edge.dtype == np.uint8 and edge.shape == classes.shape
    assert not edge[~wide].any()
    # along a straight border one pixel of the two is left
    assert wide[5, 4:6].all() and edge[5:7, 3:7].sum() == 2
    assert not edge[1:3, 11].any()
    borders = load(pascal_root)[0]['labels']['edge']
    assert borders[1:3, 11].all() and not np.array_equal(borders, edge)


def ids(files):
    """The released rule in one line each."""
    nyu, context = (json.load(open(f)) for f in files)
    return sorted([context[n] for n in nyu if n in context and n != 'unknown']
                  + [context['tvmonitor']])  # fmt: skip


def test_normals_of_classes_that_two_files_have_in_common(pascal_root, files, tmp_path):
    assert ids(files) == [3, 420, 427]
    for given in (files, files[::-1], tuple(files), str(tmp_path)):
        data = load(pascal_root, ['normals'], normals_classes=given)
        assert data.normals_classes == ids(files)
    by_list = load(pascal_root, ['normals'], normals_classes=ids(files))
    for one, other in zip(data, by_list, strict=True):
        np.testing.assert_array_equal(one['labels']['normals'], other['labels']['normals'])


@pytest.mark.parametrize(('names', 'match'), [
    (['nyu_classes.json'], 'Give the paths of both'),
    (['nyu_classes.json', 'nyu_classes.json'], 'context_classes.json'),
    (['context_classes.json', 'list.json'], 'JSON dict'),
    (['context_classes.json', 'broken.json'], 'expected JSON'),
])  # fmt: skip
def test_wrong_files_are_named(pascal_root, files, tmp_path, names, match):
    (tmp_path / 'list.json').write_text('[1, 2]')
    (tmp_path / 'broken.json').write_text('{"wall": ')
    paths = [str(tmp_path / name) for name in names]
    with pytest.raises(DataFileError, match=match):
        load(pascal_root, normals_classes=paths if len(paths) > 1 else paths[0])


def test_bad_options(pascal_root, tmp_path):
    with pytest.raises(ValueError, match="edges='laplace' is unknown.*laplacian"):
        load(pascal_root, edges='laplace')
    with pytest.raises(FileNotFoundError, match='missing.json'):
        load(pascal_root, normals_classes=[str(tmp_path / 'missing.json')] * 2)
    for given in (['wall'], 3, [True, 2]):
        with pytest.raises(ValueError, match='normals_classes'):
            load(pascal_root, normals_classes=given)
