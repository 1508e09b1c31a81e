"""What a picture of a data set costs, step by step of its pipeline."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader, Dataset

Spent = dict[str, float]


def rate(dataset: Dataset, samples: int) -> float:
    """Pictures a second of CPU time, loaded in this process one after another.

    Example:
        >>> rate([1, 2, 3], 6) > 0
        True
    """
    start = time.process_time()
    for index in _order(dataset, samples):
        dataset[index]
    return samples / max(time.process_time() - start, 1e-9)


def step_times(dataset: Dataset, samples: int, batch_size: int = 8) -> Spent:
    """Seconds of CPU time a picture of each step, in the order of the pipeline.

    Args:
        dataset: A :class:`~mtpeft.datasets.MultiTaskDataset`.
        samples: Number of pictures; each is loaded once, those of a small data set in turn.
        batch_size: Of the batches that are put together.

    Returns:
        ``'read picture'``, ``'read NAME'`` for each label (checks included), one entry a transform,
        ``'other'`` (seeding, the list of pictures) and ``'collate'``.
    """
    spent: Spent = defaultdict(float)
    loaded = []
    with _timed(dataset, spent):
        start = time.process_time()
        for number, index in enumerate(_order(dataset, samples), 1):
            loaded.append(dataset[index])
            if len(loaded) == batch_size or number == samples:
                _collate(loaded, spent)
        whole = time.process_time() - start
    collate = spent.pop('collate', 0.0)
    spent['other'] = max(whole - collate - sum(spent.values()), 0.0)
    spent['collate'] = collate
    return {name: seconds / samples for name, seconds in spent.items()}


def worker_rate(dataset: Dataset, samples: int, workers: int, batch_size: int) -> float:
    """Pictures a second of wall time from a loader with so many worker processes.

    The first batch of each worker, with which its process starts, is not counted.
    """
    order = _order(dataset, samples + workers * batch_size)
    loader = DataLoader(
        dataset, batch_size, sampler=order, num_workers=workers, collate_fn=pseudo_collate
    )
    start, counted = time.perf_counter(), 0
    for number, batch in enumerate(loader):
        if number + 1 == workers:
            start = time.perf_counter()
        elif number >= workers:
            counted += len(batch['inputs'])
    return counted / max(time.perf_counter() - start, 1e-9)


def _order(dataset: Dataset, samples: int) -> list[int]:
    return [index % len(dataset) for index in range(samples)]


def _collate(loaded: list, spent: Spent) -> None:
    start = time.process_time()
    pseudo_collate(loaded)
    spent['collate'] += time.process_time() - start
    loaded.clear()


@contextmanager
def _timed(dataset: Dataset, spent: Spent) -> Iterator[None]:
    """Let the parts of a data set count their time; they are as before afterwards."""
    steps = dataset.pipeline.transforms
    before = list(steps)
    dataset.load_image = _counting(dataset.load_image, spent, lambda info: 'read picture')
    dataset.load_checked_label = _counting(
        dataset.load_checked_label, spent, lambda info, task, size: f'read {task.name}'
    )
    names = _names(before)
    steps[:] = [
        _counting(step, spent, lambda results, name=name: name)
        for step, name in zip(before, names, strict=True)
    ]
    try:
        yield
    finally:
        steps[:] = before
        del dataset.load_image, dataset.load_checked_label


def _names(transforms: Sequence[Any]) -> list[str]:
    """Names of classes; of several, each with its place."""
    names = [type(step).__name__ for step in transforms]
    return [f'{n} {i + 1}' if names.count(n) > 1 else n for i, n in enumerate(names)]


def _counting(function: Callable, spent: Spent, name: Callable[..., str]) -> Callable:
    def counted(*args: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args)
        finally:
            spent[name(*args)] += time.process_time() - start

    return counted
