"""The order of pictures, with the number of the pass over them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mmengine import registry as root
from mmengine.dataset import InfiniteSampler
from torch.utils.data import Sampler

from mtpeft.registry import DATA_SAMPLERS
from mtpeft.utils.kinds import built
from mtpeft.utils.visits import Visit, hand_over_visits


@DATA_SAMPLERS.register_module()
class CountedSampler(Sampler):
    """Gives the indices of another sampler as visits, which know in which pass they are.

    A picture that is seen again is then augmented anew, whatever loop trains, however many workers
    load, and through ``RepeatDataset``, ``ConcatDataset`` and other wrappers. ``build_runner`` puts
    it around the sampler of the training loader, so no hook is needed and none can be lost. The
    number follows from the position in the run alone: a resumed run has the same.

    An endless sampler begins a pass when all processes together have drawn as many pictures as
    there are. Any other one begins it when it starts again; ``set_epoch`` names the number.

    Args:
        dataset: The data set of the loader.
        sampler: Config of the sampler, or the sampler itself.
        seed: Seed of the sampler.

    Example:
        >>> sampler = CountedSampler([0] * 3, dict(type='DefaultSampler', shuffle=False), seed=0)
        >>> [(int(visit), visit.epoch) for _ in range(2) for visit in sampler]
        [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    """

    def __init__(
        self,
        dataset: Any,
        sampler: built('DATA_SAMPLERS', 'dataset', 'seed'),
        seed: int | None = None,
    ) -> None:
        if isinstance(sampler, Mapping):
            given = dict(dataset=dataset, seed=seed)
            sampler = root.DATA_SAMPLERS.build(dict(sampler), default_args=given)
        if hasattr(dataset, '__dict__'):
            hand_over_visits(dataset)
        self.dataset = dataset
        self.sampler = sampler
        self.epoch = 0
        self._begun = self._told = False
        self._position = self._skipped = 0
        self._seen: tuple[int, Counter] = (0, Counter())
        if hasattr(sampler, 'skip'):
            self.skip = self._skip

    def __iter__(self) -> Iterator[Visit]:
        if self._begun and not self._told:
            self.set_epoch(self.epoch + 1)
        self._begun, self._told = True, False
        self._seen = (self.epoch, Counter())
        indices = iter(self.sampler)
        skipped, self._skipped = self._skipped, 0
        for index in islice(indices, skipped):
            self._visit(index)
        yield from map(self._visit, indices)

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        # what others ask of the sampler: its seed, its number of processes
        if name.startswith('__') or 'sampler' not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.sampler, name)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the pass that begins next."""
        self.epoch, self._told = epoch, True
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def _skip(self, num_samples: int) -> None:
        """Begin at this position of an endless sampler."""
        self._skipped = num_samples

    def _visit(self, index: int) -> Visit:
        epoch = self.epoch
        if isinstance(self.sampler, InfiniteSampler):
            drawn = self._position * self.sampler.world_size + self.sampler.rank
            epoch = drawn // self.sampler.size
            self._position += 1
        if self._seen[0] != epoch:
            self._seen = (epoch, Counter())
        turn = self._seen[1][index]
        self._seen[1][index] += 1
        return Visit(index, epoch, turn)
