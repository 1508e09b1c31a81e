"""Annotations that say more of an option than its type: bounds, and what a dict builds.

They are read by :mod:`mtpeft.utils.fits`, which compares a config with signatures.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included unless ``open``.

    Args:
        low: Smallest value.
        high: Largest value.
        open: ``True``: neither bound itself.
        also: Values beside the range, such as -1 for "never".
        infinite: Whether an infinite number may be given.

    Example:
        >>> Range(1).holds(0), Range(0, 1).holds(0.5), Range(1, also=(-1,)).holds(-1)
        (False, True, True)
    """

    low: float = -math.inf
    high: float = math.inf
    open: bool = False
    also: tuple[float, ...] = ()
    infinite: bool = False

    def holds(self, value: float) -> bool:
        if value in self.also:
            return True
        if self.open:
            return self.low < value < self.high
        return self.low <= value <= self.high

    def __str__(self) -> str:
        also = ''.join(f' (or {value})' for value in self.also)
        above, below = ('above', 'below') if self.open else ('at least', 'at most')
        words = [f'{above} {self.low}'] if self.low != -math.inf else []
        words += [f'{below} {self.high}'] if self.high != math.inf else []
        return ' and '.join(words) + also


@dataclass(frozen=True)
class Words:
    """Words with a meaning among texts of any other kind: what is nearly one of them is a slip."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """A dict from which a registry builds something.

    Args:
        registry: Name of the registry, as in :mod:`mmengine.registry`, or ``'ADAPTERS'``,
            ``'TASKS'``.
        given: Options that the builder adds.
        default: The type where the dict names none; ``None``: it has to.
        extra: Names of options that are taken off the dict before its class is called, with their
            annotations.
        trial: Whether building one is cheap and changes nothing, so that it is tried.
        needs: Names of options that must be there, whatever the signature says.
    """

    registry: str
    given: tuple[str, ...] = ()
    default: str | None = None
    extra: tuple[tuple[str, object], ...] = ()
    trial: bool = False
    needs: tuple[str, ...] = ()


def built(registry: str, *given: str, **options: object) -> object:
    """The annotation of a dict that ``registry`` builds."""
    return Annotated[Mapping, Built(registry, given, **options)]


Count = Annotated[int, Range(1)]
"""1, 2, ..."""
Size = Annotated[int, Range(1, 2**16)]
"""1, 2, ..., 65536: what a picture, a layer or a table is made with."""
Index = Annotated[int, Range(0)]
"""0, 1, ..."""
Share = Annotated[float, Range(0, 1)]
"""A part of a whole."""
Positive = Annotated[float, Range(0, open=True)]
"""A number above 0."""
NotNegative = Annotated[float, Range(0)]
"""A number of at least 0."""

MemoryOrFolder = Annotated[str, Words(('memory',))]
"""``'memory'``, or the path of a folder."""

Part = built('MODELS', 'tasks', 'in_channels', 'base_sizes', 'strides', 'clock', 'out_channels')
"""A part of a model, which is told the tasks and the levels before it."""
Network = built('MODELS', extra=(('pretrained', bool | str | None), ('init_cfg', Mapping | None)))
"""A stock network: ``type='timm.<name>'``, or a registered one."""
Clock = built('MODELS', 'tasks', default='ClockNet')
"""A ClockNet."""
Transform = built('TRANSFORMS', trial=True)
Loss = built('MODELS', trial=True)
Metric = built('METRICS', 'task')
"""A metric of a task, which the evaluator names."""
