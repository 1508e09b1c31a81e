"""The procedural data set: what it gives, its caches, its errors."""

import multiprocessing

import numpy as np
import pytest

from mtpeft.datasets import ScenesMT
from mtpeft.datasets.scenes import SceneSource, make_labels
from mtpeft.registry import DATASETS

TASKS = dict(semseg={}, human_parts={}, sal={}, normals={}, depth={}, edge={})
SIZE = (24, 32)


def scenes(**options) -> ScenesMT:
    return ScenesMT(**{**dict(tasks=TASKS, length=6, size=SIZE), **options})


def same(a: dict, b: dict) -> bool:
    return np.array_equal(a['img'], b['img']) and all(
        np.array_equal(a['labels'][k], b['labels'][k]) for k in TASKS
    )


def test_samples_are_the_renderings():
    data = DATASETS.build(dict(type='ScenesMT', tasks=TASKS, length=6, size=SIZE, seed=4))
    assert len(data) == 6
    for index in (5, 0):
        sample, r = data[index], SceneSource(SIZE, seed=4).render(index)
        assert np.array_equal(sample['img'][..., ::-1], r.image)
        labels = make_labels(r)
        assert set(sample['labels']) == set(TASKS)
        assert all(np.array_equal(v, labels[k]) for k, v in sample['labels'].items())
        assert sample['img_shape'] == sample['ori_shape'] == SIZE
        assert sample['img'].flags['C_CONTIGUOUS']
    ids = [data.get_data_info(i)['img_id'] for i in range(6)]
    assert len(set(ids)) == 6


def test_intrinsic_images_are_labels_too():
    values = dict(
        type='DenseTask', kind='values', loss=dict(type='L'), metric=dict(type='M'),
        headline='rmse', lower_is_better=True,
    )  # fmt: skip
    tasks = dict(albedo=dict(values, channels=3), shading=dict(values, channels=1))
    sample = scenes(tasks=tasks)[1]
    product = sample['labels']['albedo'] * sample['labels']['shading'][..., None]
    error = np.abs(np.clip(product, 0, 1) * 255 - sample['img'][..., ::-1])
    assert np.median(error) <= 0.5


def test_nyud_classes():
    label = scenes(tasks=dict(semseg=dict(num_classes=40)), label_space='nyud')[0]['labels']
    assert {0, 1} <= set(np.unique(label['semseg']))
    with pytest.raises(ValueError, match='needs 40: set num_classes=40'):
        scenes(label_space='nyud')


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_missing_labels(share):
    data = scenes(missing=dict(depth=share))
    assert all(('depth' in data[i]['labels']) == (share == 0) for i in range(6))
    assert all('semseg' in data[i]['labels'] for i in range(6))


@pytest.mark.parametrize('cache', ['memory', 'folder'])
def test_caches_change_nothing(cache, tmp_path, monkeypatch):
    options = dict(cache=tmp_path if cache == 'folder' else cache)
    plain, kept = scenes(), scenes(**options)
    for index in (3, 1):
        first = kept[index]
        for array in (first['img'], *first['labels'].values()):
            array[:] = 0
    monkeypatch.setattr(SceneSource, 'render', lambda *_: pytest.fail('rendered again'))
    again = [kept[i] for i in (1, 3)]
    monkeypatch.undo()
    assert all(same(sample, plain[i]) for sample, i in zip(again, (1, 3), strict=True))


def test_folder_is_shared_by_runs_with_other_tasks_but_not_other_options(tmp_path, monkeypatch):
    scenes(cache=tmp_path)[2]
    monkeypatch.setattr(SceneSource, 'render', lambda *_: pytest.fail('rendered'))
    assert 'depth' in scenes(cache=tmp_path, tasks=['depth'], length=3)[2]['labels']
    others = dict(seed=1), dict(size=(24, 24)), dict(texture_set='b'), dict(supersample=2)
    for options in others:
        with pytest.raises(BaseException, match='rendered'):
            scenes(cache=tmp_path, **options)[2]
    assert len(list(tmp_path.iterdir())) == 5


def test_another_renderer_never_reads_old_files(tmp_path, monkeypatch):
    scenes(cache=tmp_path)[0]
    monkeypatch.setattr('mtpeft.datasets.scenes.source.renderer_digest', lambda: 'newer')
    scenes(cache=tmp_path)[0]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('damage', ['truncated', 'flipped', 'empty', 'another size'])
def test_damaged_file_is_named_and_rendered_again(damage, tmp_path, monkeypatch):
    want = scenes(cache=tmp_path)[1]
    (path,) = tmp_path.glob('*/*1.npz')
    content = bytearray(path.read_bytes())
    if damage == 'truncated':
        content = content[: len(content) // 2]
    elif damage == 'flipped':
        # Within the picture, which comes first.
        for k in range(400, 420):
            content[k] ^= 0xFF
    elif damage == 'empty':
        content = b''
    else:
        scenes(cache=tmp_path, size=(8, 8))[1]
        (content,) = [p.read_bytes() for p in tmp_path.glob('*/*1.npz') if p != path]
    path.write_bytes(content)
    said = []
    monkeypatch.setattr('mtpeft.datasets.scenes.cache.print_log', lambda m, **_: said.append(m))
    assert same(scenes(cache=tmp_path)[1], want)
    assert len(said) == 1 and said[0].startswith(f'{path}: damaged')
    assert same(scenes(cache=tmp_path)[1], want) and len(said) == 1


def _digest(arguments) -> bytes:
    folder, order = arguments
    data = ScenesMT(tasks=TASKS, length=6, size=SIZE, cache=folder)
    found = {i: data[i]['img'].tobytes() + data[i]['labels']['normals'].tobytes() for i in order}
    return b''.join(found[i] for i in sorted(found))


def test_processes_share_a_folder(tmp_path):
    orders = [(tmp_path, (0, 1, 2, 3)), (tmp_path, (3, 2, 1, 0))]
    with multiprocessing.get_context('fork').Pool(2) as pool:
        first, second = pool.map(_digest, orders)
    assert first == second == _digest((None, (2, 0, 3, 1)))
    assert not list(tmp_path.glob('*/*.tmp'))


def test_cache_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / 'file'
    file.write_text('x')
    with pytest.raises(OSError, match='Name a folder you may write to'):
        scenes(cache=str(file))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(length=0), 'length to be a positive integer'),
        (dict(size=(0, 4)), 'two positive integers'),
        (dict(size=5), 'two positive integers'),
        (dict(seed=-1), 'non-negative integer'),
        (dict(texture_set='c'), "texture_set='c' is unknown"),
        (dict(label_space='pascl'), "Did you mean 'pascal'"),
        (dict(supersample=3), 'supersample to be 1 or 2'),
        (dict(tasks=dict(human_parts=dict(num_classes=5))), 'set num_classes=7'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        scenes(**options)
