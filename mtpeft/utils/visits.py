"""Which time a picture of a data set is seen, told from the sampler to the data set.

Workers load ahead of the training, so what the process that trains knows comes too late or too
early for them. The pass over the data therefore travels with the index itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Visit(int):
    """An index of a data set, with what tells this visit from others of the same picture.

    Args:
        index: The index.
        epoch: Number of the pass over the data.
        turn: How often the index came before in this pass.

    Example:
        >>> visit = Visit(7, epoch=3)
        >>> visit == 7, visit.epoch, visit.at(2).epoch
        (True, 3, 3)
    """

    epoch: int
    turn: int

    def __new__(cls, index: int, epoch: int = 0, turn: int = 0) -> 'Visit':
        visit = super().__new__(cls, index)
        visit.epoch, visit.turn = epoch, turn
        return visit

    def __getnewargs__(self) -> tuple[int, int, int]:
        return int(self), self.epoch, self.turn

    def at(self, index: int) -> 'Visit':
        """The same visit to another index."""
        return Visit(index, self.epoch, self.turn)


_current: ContextVar[Visit | None] = ContextVar('visit', default=None)


@contextmanager
def visiting(visit: Visit | None) -> Iterator[None]:
    """Within it, data sets draw for ``visit``, whichever wrappers lie around them."""
    token = _current.set(visit)
    try:
        yield
    finally:
        _current.reset(token)


def visit_key(index: int, epoch: int) -> tuple[int, ...]:
    """What draws for a picture depend on, beside the seed: ``(epoch, index)``.

    Within a visit its epoch counts. A data set in a wrapper (``RepeatDataset``, ``ConcatDataset``,
    ...) has another index than the sampler gave; that one then counts too, so that a picture which
    comes twice in one pass is drawn for twice.

    Example:
        >>> visit_key(3, epoch=0)
        (0, 3)
        >>> with visiting(Visit(3, epoch=5)):
        ...     visit_key(3, epoch=0)
        (5, 3)
        >>> with visiting(Visit(13, epoch=5)):
        ...     visit_key(3, epoch=0)
        (5, 3, 14, 0)
    """
    visit = _current.get()
    if visit is None:
        return epoch, index
    if visit == index and not visit.turn:
        return visit.epoch, index
    # (a seed ends in zeros of its own, so the place starts at 1)
    return visit.epoch, index, int(visit) + 1, visit.turn


class VisitFetcher:
    """Fetches the items of a batch, each within its visit; torch's loaders ask ``__getitems__``."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __call__(self, indices: Sequence) -> list:
        return [self._one(index) for index in indices]

    def _one(self, index: Any) -> Any:
        if not isinstance(index, Visit):
            return self.dataset[index]
        with visiting(index):
            return self.dataset[int(index)]


def hand_over_visits(dataset: Any) -> None:
    """Let loaders of a data set open the visits that their sampler gives."""
    # (not getattr: a wrapper may pass on what the data set within has)
    if not isinstance(vars(dataset).get('__getitems__'), VisitFetcher):
        dataset.__getitems__ = VisitFetcher(dataset)
