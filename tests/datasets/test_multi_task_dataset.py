"""MultiTaskDataset: reproducible by (seed, epoch, index), partial labels, clear errors."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from mtpeft.datasets import DataFileError, MultiTaskDataset
from mtpeft.datasets.randomness import seeded, uniform_of


class Noise(MultiTaskDataset):
    """Ten pictures of one colour each."""

    LABELS = ('depth', 'semseg', 'sal')

    def load_data_list(self):
        return [dict(img_id=f'id{i}', img_path=f'noise/{i}.jpg', level=i) for i in range(10)]

    def load_image(self, info):
        return np.full((6, 8, 3), info['level'] * 20, np.uint8)

    def load_label(self, info, task):
        if task.name == 'depth':
            return np.full((6, 8), info['level'] + 1, np.float32)
        return np.zeros((6, 8), np.uint8)


def draws(results):
    """A transform that draws from all three global generators."""
    values = [np.random.rand(), random.random(), float(torch.rand(()))]
    return dict(index=results['sample_idx'], values=torch.tensor(values, dtype=torch.float64))


def epoch_of(dataset, workers, order=None, **kwargs):
    loader = DataLoader(dataset, num_workers=workers, sampler=order, batch_size=2, **kwargs)
    return collect(loader)


def collect(loader):
    found = {}
    for batch in loader:
        found.update(zip(batch['index'].tolist(), batch['values'].tolist(), strict=True))
    return found


def test_draws_depend_on_seed_epoch_and_index_only():
    dataset = Noise(tasks=['depth'], pipeline=[draws], seed=3)
    reference = epoch_of(dataset, 0)
    assert len({tuple(v) for v in reference.values()}) == 10
    np.random.seed(99)
    torch.manual_seed(99)
    assert epoch_of(dataset, 2) == reference
    assert epoch_of(dataset, 0, order=[7, 2, 9, 0, 1, 3, 4, 5, 6, 8]) == reference
    assert epoch_of(Noise(tasks=['depth'], pipeline=[draws], seed=3), 0) == reference
    other = epoch_of(Noise(tasks=['depth'], pipeline=[draws], seed=4), 0)
    assert all(other[i][k] != reference[i][k] for i in range(10) for k in range(3))
    dataset.set_epoch(1)
    later = epoch_of(dataset, 0)
    assert all(later[i][k] != reference[i][k] for i in range(10) for k in range(3))


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_persistent_workers_see_set_epoch(context):
    dataset = Noise(tasks=['depth'], pipeline=[draws])
    loader = DataLoader(
        dataset, num_workers=1, batch_size=5, persistent_workers=True,
        multiprocessing_context=context,
    )  # fmt: skip
    per_epoch = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        per_epoch.append(collect(loader))
    assert per_epoch[0] == per_epoch[2] != per_epoch[1]
    dataset.set_epoch(1)
    assert epoch_of(dataset, 0) == per_epoch[1]


def test_the_main_process_keeps_its_random_state():
    def triple():
        return np.random.rand(), random.random(), float(torch.rand(()))

    dataset = Noise(tasks=['depth'], pipeline=[draws])
    outcomes = []
    for look in (False, True):
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        if look:
            dataset[4]
        outcomes.append(triple())
    assert outcomes[0] == outcomes[1]
    with pytest.raises(ZeroDivisionError), seeded(1):
        np.random.rand(1 // 0)
    assert triple() != outcomes[0]


def test_a_copy_has_an_epoch_of_its_own():
    dataset = Noise(tasks=['depth'], pipeline=[draws])
    dataset.set_epoch(2)
    twin, subset = copy.deepcopy(dataset), dataset.get_subset([3, 4])
    dataset.set_epoch(5)
    assert twin.epoch == subset.epoch == 2 and len(subset) == 2


def test_indices_negative_and_beyond():
    dataset = Noise(tasks=['depth'], pipeline=[draws], indices=4)
    assert len(dataset) == 4 and dataset[-1]['index'] == 3
    assert dataset[-1]['values'].tolist() == dataset[3]['values'].tolist()
    assert len(list(dataset)) == 4
    with pytest.raises(IndexError, match='4 pictures'):
        dataset[4]


def test_missing_removes_the_stated_share_the_same_way_every_time():
    sizes = {}
    for share in (0.0, 0.3, 1.0):
        kept = [uniform_of(0, 'depth', f'p{i}') >= share for i in range(4000)]
        sizes[share] = np.mean(kept)
    assert sizes[0.0] == 1 and sizes[1.0] == 0 and abs(sizes[0.3] - 0.7) < 0.03

    def labelled(**kwargs):
        dataset = Noise(tasks=dict(depth={}, semseg={}), **kwargs)
        return [tuple(sorted(dataset[i]['labels'])) for i in range(10)]

    half = labelled(missing=0.5)
    assert half == labelled(missing=0.5) != labelled(missing=0.5, seed=1)
    assert {'depth' in labels for labels in half} == {True, False}
    assert any(('depth' in labels) != ('semseg' in labels) for labels in half)
    only = labelled(missing=dict(depth=1))
    assert only == [('semseg',)] * 10


def test_labelled_ids_by_list_and_by_file(tmp_path):
    (tmp_path / 'ids.txt').write_text('id3\nid4\n')
    for ids in (['id3', 'id4'], str(tmp_path / 'ids.txt')):
        dataset = Noise(tasks=dict(depth={}, semseg={}), labelled_ids=dict(depth=ids))
        assert [i for i in range(10) if 'depth' in dataset[i]['labels']] == [3, 4]
        assert all('semseg' in dataset[i]['labels'] for i in range(10))


def test_the_results_dict_is_what_transforms_expect():
    results = Noise(tasks=['sal', 'depth'])[2]
    assert set(results) == {
        'img', 'img_id', 'img_path', 'img_shape', 'ori_shape', 'sample_idx', 'tasks', 'labels',
    }  # fmt: skip
    assert results['img_shape'] == results['ori_shape'] == (6, 8)
    assert list(results['tasks']) == list(results['labels']) == ['sal', 'depth']


def test_image_only_transforms_of_other_packages_fit_in():
    grey = dict(type='RandomGrayscale', prob=1.0, keep_channels=True)
    stock = [grey, dict(type='mmseg.PhotoMetricDistortion')]
    dataset = Noise(tasks=['depth'], pipeline=[*stock, dict(type='PackMultiTaskInputs')])
    packed = dataset[3]
    assert packed['inputs'].shape == (3, 6, 8) and 'gt_depth' in packed['data_samples']


def test_our_transforms_build_without_and_under_a_foreign_scope():
    pipeline = [dict(type='MTRandomFlip'), dict(type='PackMultiTaskInputs')]
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert 'inputs' in Noise(tasks=['depth'], pipeline=pipeline)[0]


def test_a_foreign_flip_is_refused():
    with pytest.raises(ValueError, match='labels.*MTRandomFlip'):
        Noise(tasks=['depth'], pipeline=[dict(type='RandomFlip', prob=0.5)])


def test_no_other_picture_takes_the_place_of_a_broken_one():
    class Broken(Noise):
        def load_image(self, info):
            if info['level'] == 3:
                raise DataFileError(f'{info["img_path"]}: truncated')
            return super().load_image(info)

    dataset = Broken(tasks=['depth'], pipeline=[draws])
    assert len([dataset[i] for i in range(10) if i != 3]) == 9
    with pytest.raises(DataFileError, match='noise/3.jpg: truncated'):
        epoch_of(dataset, 0)


@pytest.mark.parametrize('fails', [lambda r: None, lambda r: r['nothing']])
def test_a_transform_that_drops_or_fails_names_the_picture(fails):
    with pytest.raises(RuntimeError, match='noise/2.jpg'):
        Noise(tasks=['depth'], pipeline=[fails])[2]


@pytest.mark.parametrize(
    'label, message',
    [
        (np.ones((6, 7), np.float32), r'shape \(6, 8\).*got \(6, 7\)'),
        (np.ones((6, 8, 1), np.float32), r'got \(6, 8, 1\)'),
        (np.ones((6, 8), np.int32), 'floating-point.*int32'),
        (np.full((6, 8), np.nan, np.float32), 'NaN'),
    ],
)
def test_a_label_that_does_not_fit_is_named(label, message):
    class Wrong(Noise):
        def load_label(self, info, task):
            return label

    with pytest.raises(DataFileError, match=rf'noise/1.jpg \(depth\): .*{message}'):
        Wrong(tasks=['depth'])[1]


@pytest.mark.parametrize('value, task', [(21, 'semseg'), (254, 'semseg'), (2, 'sal')])
def test_a_class_beyond_the_task_is_named(value, task):
    class Wrong(Noise):
        def load_label(self, info, task):
            label = np.zeros((6, 8), np.uint8)
            label[0, 0], label[0, 1] = value, 255
            return label

    with pytest.raises(DataFileError, match=rf'noise/0.jpg.*{task}.*\[{value}\]'):
        Wrong(tasks=[task])[0]
    with pytest.raises(DataFileError, match='uint8.*int64'):
        float_label = type('W', (Noise,), dict(load_label=lambda s, i, t: np.zeros((6, 8), int)))
        float_label(tasks=[task])[0]


@pytest.mark.parametrize(
    'kwargs, error, message',
    [
        (dict(tasks=['normals']), ValueError, "no label 'normals'.*Valid names: depth"),
        (dict(tasks=['deth']), KeyError, "Did you mean 'depth'"),
        (dict(tasks=['depth'], missing=1.5), ValueError, 'between 0 and 1'),
        (dict(tasks=['depth'], missing=dict(deph=0.5)), KeyError, "Did you mean 'depth'"),
        (dict(tasks=['depth'], labelled_ids=dict(dept=[])), KeyError, "Did you mean 'depth'"),
        (dict(tasks=['depth'], seed=-1), ValueError, 'non-negative'),
        (dict(tasks=['depth'], indices=[]), ValueError, 'no picture'),
    ],
)
def test_bad_options_are_named(kwargs, error, message):
    with pytest.raises(error, match=message):
        Noise(**kwargs)


def test_an_error_crosses_processes():
    error = pickle.loads(pickle.dumps(DataFileError('a.npy: truncated')))
    assert str(error) == 'a.npy: truncated'
