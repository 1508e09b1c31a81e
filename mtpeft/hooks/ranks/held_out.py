"""A part of the training pictures that the training loader does not see."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dist import get_rank, get_world_size
from torch.utils.data import DataLoader, Sampler

from mtpeft.utils.visits import Visit, VisitFetcher


class TrainingOnly(Sampler):
    """A sampler that gives another picture in place of one that is held out.

    What it draws depends on (seed, epoch of the sampler, rank, position). The length stays, and
    with it the steps of an epoch and the schedules that count them.

    Args:
        sampler: The sampler of the loader.
        held_out: Indices that must not come.
        training: Indices to draw from instead.
        seed: Of the draw.
    """

    def __init__(
        self, sampler: Sampler, held_out: np.ndarray, training: np.ndarray, seed: int
    ) -> None:
        self.sampler = sampler
        self.held_out = frozenset(held_out.tolist())
        self.training = training
        self.seed = seed
        self.start = 0
        if hasattr(sampler, 'skip'):
            # a resumed run fast-forwards the sampler of the loader, which is not this one
            self._skip, sampler.skip = sampler.skip, self.skip

    def __iter__(self) -> Iterator[int]:
        for position, index in enumerate(self.sampler, self.start):
            if int(index) in self.held_out:
                key = self.seed, getattr(self.sampler, 'epoch', 0), get_rank(), position
                other = int(np.random.default_rng(key).choice(self.training))
                index = index.at(other) if isinstance(index, Visit) else other
            yield index

    def skip(self, num_samples: int) -> None:
        """Begin at this position of an endless sampler."""
        self.start = num_samples
        self._skip(num_samples)

    def __len__(self) -> int:
        return len(self.sampler)


class HeldOut:
    """The split of a loader's data set, the same for one seed in every process.

    Args:
        loader: The training loader.
        share: Share of its pictures to hold out.
        seed: Of the split and of the order of batches.

    Raises:
        ValueError: no picture is left on one side, or the loader's batches are made by a sampler
            of another kind than torch's ``BatchSampler``.

    Example:
        >>> loader = DataLoader(list(range(10)), batch_size=2)
        >>> held = HeldOut(loader, share=0.3, seed=0)
        >>> len(held.indices), len(held.training), len(held.batch(0))
        (3, 7, 2)
    """

    def __init__(self, loader: DataLoader, share: float, seed: int) -> None:
        count = len(loader.dataset)
        size = round(share * count)
        if not 0 < size < count:
            raise ValueError(
                f'holdout={share} of {count} training pictures is {size}: expected at least one '
                'held out and one left.'
            )
        if not hasattr(loader.batch_sampler, 'sampler'):
            raise ValueError(
                f"Expected a loader whose batch_sampler has a 'sampler', got "
                f'{type(loader.batch_sampler).__name__}: pictures cannot be held out of it.'
            )
        order = np.random.default_rng((seed, count)).permutation(count)
        self.loader = loader
        self.seed = seed
        self.indices, self.training = np.sort(order[:size]), np.sort(order[size:])

    def withhold(self) -> None:
        """Let the loader give training pictures only, from its next iterator on."""
        sampler = self.loader.batch_sampler.sampler
        if isinstance(sampler, TrainingOnly):
            return
        only = TrainingOnly(sampler, self.indices, self.training, self.seed)
        self.loader.batch_sampler.sampler = only

    def batch(self, step: int) -> Any:
        """The held-out batch of a step, which depends on (seed, step, rank) alone."""
        size = min(self.loader.batch_size or 1, len(self.indices))
        start = (step * get_world_size() + get_rank()) * size
        chosen = [self._at(position) for position in range(start, start + size)]
        return self.loader.collate_fn(VisitFetcher(self.loader.dataset)(chosen))

    def _at(self, position: int) -> Visit:
        """Picture at a position in the passes over the held-out part, each in another order."""
        turn, place = divmod(position, len(self.indices))
        order = np.random.default_rng((self.seed, 1, turn)).permutation(len(self.indices))
        return Visit(int(self.indices[order[place]]), epoch=turn)
