"""What counts passes over the data: no hook, and the same whoever loads."""

import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import (
    ClassBalancedDataset,
    ConcatDataset,
    DefaultSampler,
    InfiniteSampler,
    RepeatDataset,
)
from torch.utils import data
from torch.utils.data import DataLoader, Subset, WeightedRandomSampler

from mtpeft.datasets import CountedSampler, MultiTaskDataset
from mtpeft.utils.visits import Visit


class Noise(MultiTaskDataset):
    """A few pictures; an item is its name and what was drawn for it."""

    LABELS = ('depth',)

    def __init__(self, length=4, **kwargs):
        self.length = length
        super().__init__(tasks=['depth'], pipeline=[draw], **kwargs)

    def load_data_list(self):
        return [dict(img_id=str(i), img_path=str(i)) for i in range(self.length)]

    def load_image(self, info):
        return np.zeros((2, 2, 3), np.uint8)

    def load_label(self, info, task):
        return None

    def get_cat_ids(self, idx):
        return [idx % 2]


def draw(results):
    return int(results['img_id']), np.random.rand()


WRAPPERS = dict(
    plain=lambda d: d,
    repeat=lambda d: RepeatDataset(d, times=2),
    concat=lambda d: ConcatDataset([Noise(2), d]),
    balanced=lambda d: ClassBalancedDataset(d, oversample_thr=1e-3),
    nested=lambda d: data.ConcatDataset([RepeatDataset(d, times=2), Noise(3, seed=5)]),
    subset=lambda d: Subset(d, [3, 1]),
)


def loader(dataset, sampler=DefaultSampler, workers=0, batch=2, **options):
    inner = sampler(dataset, shuffle=True, seed=7)
    return DataLoader(dataset, sampler=CountedSampler(dataset, inner), batch_size=batch,
                      num_workers=workers, collate_fn=list, **options)  # fmt: skip


def passes(one, number):
    return [[item for batch in one for item in batch] for _ in range(number)]


WORKERS = [(0, False), (2, False), (2, True)]
TURNS = [(wrap, *WORKERS[i % 3]) for i, wrap in enumerate(WRAPPERS.values())]


@pytest.mark.parametrize(('wrap', 'workers', 'persistent'), TURNS, ids=WRAPPERS)
def test_every_visit_draws_anew_and_alike_for_all_loaders(wrap, workers, persistent):
    one = loader(wrap(Noise()), workers=workers, persistent_workers=persistent)
    seen = passes(one, 3)
    drawn = [number for each in seen for _, number in each]
    assert len(set(drawn)) == len(drawn) == 3 * len(one.dataset)
    assert seen == passes(loader(wrap(Noise())), 3)


@pytest.mark.parametrize('wrap', WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize('workers', [0, 2])
def test_an_endless_sampler_begins_a_pass_after_as_many_pictures(wrap, workers):
    batches = iter(loader(wrap(Noise()), InfiniteSampler, workers, batch=3))
    drawn = [number for _ in range(9) for _, number in next(batches)]
    assert len(set(drawn)) == len(drawn)


def test_an_epoch_that_is_named_is_drawn_as_before_there_were_visits():
    dataset, plain = Noise(), Noise()
    one = loader(dataset)
    one.sampler.set_epoch(5)
    plain.set_epoch(5)
    assert sorted(passes(one, 1)[0]) == [plain[i] for i in range(4)]
    assert sorted(passes(one, 1)[0]) != [plain[i] for i in range(4)]


def test_a_loader_without_batches():
    dataset = Noise()
    sampler = CountedSampler(dataset, DefaultSampler(dataset, shuffle=False, seed=0))
    one = DataLoader(dataset, sampler=sampler, batch_size=None, collate_fn=lambda item: item)
    first, second = list(one), list(one)
    assert first == [dataset[i] for i in range(4)]
    assert all(a != b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize('position', [1, 4, 7])
@pytest.mark.parametrize('rank, processes', [(0, 1), (1, 3)])
def test_a_resumed_endless_sampler_goes_on(position, rank, processes, monkeypatch):
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, processes))
    dataset = Noise()

    def visits(start):
        sampler = CountedSampler(dataset, dict(type='InfiniteSampler'), seed=3)
        if start:
            sampler.skip(start)
        found = iter(sampler)
        return [(int(v), v.epoch, v.turn) for v in (next(found) for _ in range(12 - start))]

    assert visits(position) == visits(0)[position:]


def test_all_processes_count_one_pass(monkeypatch):
    dataset, seen = Noise(), []
    for rank in range(3):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 3))
        found = iter(CountedSampler(dataset, dict(type='InfiniteSampler'), seed=3))
        seen += [(v.epoch, int(v)) for v in (next(found) for _ in range(8))]
    # 24 draws are six passes over four pictures
    assert sorted(seen) == [(epoch, index) for epoch in range(6) for index in range(4)]


def test_a_sampler_that_repeats_within_a_pass():
    dataset = Noise()
    inner = WeightedRandomSampler([1.0, 0, 0, 0], 5)
    one = DataLoader(dataset, sampler=CountedSampler(dataset, inner), batch_size=1, collate_fn=list)
    assert [v.turn for v in one.sampler] == [0, 1, 2, 3, 4]
    drawn = [item for each in passes(one, 2) for item in each]
    assert {name for name, _ in drawn} == {0} and len({number for _, number in drawn}) == 10


def test_it_looks_like_the_sampler_within():
    dataset = Noise()
    sampler = CountedSampler(dataset, dict(type='DefaultSampler', shuffle=False), seed=4)
    assert (len(sampler), sampler.seed, sampler.shuffle, hasattr(sampler, 'skip')) == (
        4, 4, False, False
    )  # fmt: skip
    assert hasattr(CountedSampler(dataset, dict(type='InfiniteSampler'), seed=4), 'skip')
    with pytest.raises(AttributeError):
        sampler.no_such_name  # noqa: B018


def test_visits_and_data_sets_travel():
    visit = Visit(3, 2, 1)
    for other in (pickle.loads(pickle.dumps(visit)), copy.deepcopy(visit)):
        assert (other, other.epoch, other.turn) == (3, 2, 1)
    dataset = Noise()
    one = loader(dataset)
    twin = pickle.loads(pickle.dumps(dataset))
    assert twin.__getitems__.dataset is twin and copy.deepcopy(dataset)[0] == dataset[0]
    assert sorted(passes(one, 1)[0]) == [twin[i] for i in range(4)]
    assert torch.utils.data.default_collate([visit, visit]).tolist() == [3, 3]
