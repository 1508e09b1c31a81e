"""Random numbers by (seed, rank, iteration)."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mtpeft.hooks.reproducible_epoch_hook import ReproducibleEpochHook, seed_all


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


class Counting:
    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch


def runner(dataset, epoch=0, iteration=0):
    return SimpleNamespace(
        seed=7, epoch=epoch, iter=iteration, train_dataloader=SimpleNamespace(dataset=dataset)
    )


def test_draws_depend_on_the_iteration_only():
    hook, seen = ReproducibleEpochHook(), {}
    for history in (1, 5):
        for iteration in range(3):
            [draws() for _ in range(history)]
            hook.before_train_iter(runner(Counting(), iteration=iteration), iteration)
            now = draws()
            assert seen.setdefault(iteration, now) == now
    assert len(set(seen.values())) == 3


def test_every_generator_and_every_key_counts():
    seed_all(1, 2)
    first = draws()
    for key in ((1, 3), (2, 2), (2, 1)):
        seed_all(*key)
        assert all(a != b for a, b in zip(first, draws(), strict=True))


@pytest.mark.parametrize('wrap', [
    lambda d: d,
    lambda d: SimpleNamespace(dataset=d),
    lambda d: SimpleNamespace(datasets=[Counting(), SimpleNamespace(dataset=d)]),
])  # fmt: skip
def test_the_epoch_reaches_wrapped_data_sets(wrap):
    dataset = Counting()
    ReproducibleEpochHook().before_train_epoch(runner(wrap(dataset), epoch=4))
    assert dataset.epoch == 4
