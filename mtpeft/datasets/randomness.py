"""Random draws that depend on names and numbers only, never on who draws first."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's (CPU) global generators from ``key``; restore them after.

    Args:
        key: Non-negative integers, such as ``(seed, epoch, index)``.

    Example:
        >>> with seeded(0, 3, 7):
        ...     first = np.random.rand()
        >>> with seeded(0, 3, 7):
        ...     bool(first == np.random.rand())
        True
    """
    words = np.random.SeedSequence(key).generate_state(8)
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(int.from_bytes(words[:4].tobytes(), 'little'))
    np.random.seed(words[4:6])
    # not torch.manual_seed: that one also moves the generators of every GPU
    torch.default_generator.manual_seed(int(words[6]) << 31 | int(words[7]) >> 1)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


def uniform_of(*key: object) -> float:
    """A number in ``[0, 1)`` that depends on ``key`` only (the same on every machine).

    Example:
        >>> uniform_of(0, 'depth', '2008_000008') == uniform_of(0, 'depth', '2008_000008')
        True
    """
    text = '\x1f'.join(map(str, key)).encode()
    return int.from_bytes(blake2b(text, digest_size=7).digest(), 'big') / 2**56


class SharedCounter:
    """An integer in shared memory: what the main process sets, its persistent workers read.

    A deep copy has memory of its own.

    Example:
        >>> epoch = SharedCounter()
        >>> epoch.value = 3
        >>> epoch.value
        3
    """

    def __init__(self, value: int = 0) -> None:
        self._cell = torch.tensor(value, dtype=torch.int64).share_memory_()

    @property
    def value(self) -> int:
        return int(self._cell)

    @value.setter
    def value(self, value: int) -> None:
        self._cell.fill_(value)

    def __deepcopy__(self, memo: dict) -> 'SharedCounter':
        return SharedCounter(self.value)
