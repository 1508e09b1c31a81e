"""The frequencies of a model: where they act, what they are, what they make of a matrix."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtpeft.adapters.ranks.low_rank import all_components
from mtpeft.ops.modulation import modulate
from mtpeft.registry import ADAPTERS, MODELS
from mtpeft.utils.suggest import hint

#: what has frequencies has these methods, and its ``tasks``
METHODS = ('frequencies', 'kernels', 'matrix')
MATRIX, SINE, LOWPASS = 'M', 'sine', 'low-pass'

_SLACK = 1e-5  # of bounds, for rounding

ByTask = dict[str, float]


@dataclass(frozen=True)
class Site:
    """A module whose weights a task's frequency switches.

    Attributes:
        name: Of the adapted layer, or of the module itself.
        module: An adapter such as :class:`~mtpeft.adapters.SineAWB`, or a decoder such as
            :class:`~mtpeft.models.SharedBaseDecoder`.
    """

    name: str
    module: nn.Module

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.module.tasks)

    @torch.no_grad()
    def omegas(self) -> ByTask:
        """omega of each task."""
        return dict(zip(self.tasks, self.module.frequencies().tolist(), strict=True))

    @torch.no_grad()
    def matrix(self) -> Tensor:
        """M, one for all tasks or one a task, ``(1 or T, out, in k k)``."""
        with all_components(self.module):
            return self.module.matrix().flatten(2)

    @torch.no_grad()
    def kernels(self) -> Tensor:
        """What each task's lane adds, ``(T, out, in k k)``."""
        with all_components(self.module):
            return self.module.kernels().flatten(2)

    @torch.no_grad()
    def steps(self) -> dict[str, dict[str, Tensor]]:
        """On the way from M to the weights: ``'M'``, ``'sine'``, ``'low-pass'``.

        Each by task, of M by ``'M'`` where all share one, ``(out, in k k)`` up to a factor. A step
        that the module goes without (``sine=False``, ``lowpass=False``) is not there.
        """
        m = self.matrix()
        steps = {MATRIX: {MATRIX: m[0]} if len(m) == 1 else self._by_task(m)}
        if getattr(self.module, 'sine', True):
            # entry by entry: whether flattened or not is the same
            omega = self.module.frequencies()
            steps[SINE] = self._by_task(modulate(m, omega, gain=1.0, lowpass=False))
        if getattr(self.module, 'lowpass', True):
            steps[LOWPASS] = self._by_task(self.kernels())
        return steps

    def effective_ranks(self) -> ByTask:
        """Effective rank of each task's weight, see :func:`rank_of`."""
        return {task: rank_of(weight) for task, weight in self._by_task(self.kernels()).items()}

    def _by_task(self, stack: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.tasks, stack, strict=True))


@dataclass(frozen=True)
class Source:
    """One frequency a task, and the sites that share them.

    Attributes:
        name: Of the site, or of what holds the clock that several share.
        sites: The sites.
    """

    name: str
    sites: list[Site]

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which its frequencies start; without a clock anywhere."""
        clock = getattr(self.sites[0].module, 'clock', None)
        return (-math.inf, math.inf) if clock is None else clock.bounds

    def omegas(self) -> ByTask:
        """omega of each task."""
        return max(self.sites, key=lambda site: len(site.tasks)).omegas()


def has_frequencies(module: nn.Module | type) -> bool:
    """Whether a module, or a class of modules, has the methods of one with frequencies."""
    return all(callable(getattr(module, name, None)) for name in METHODS)


def sites_of(model: nn.Module) -> dict[str, Site]:
    """The modules of ``model`` with a frequency for each of its tasks, by name.

    Example:
        >>> from mtpeft.adapters import adapt_layer
        >>> layer = adapt_layer(nn.Linear(8, 4), dict(type='SineAWB', rank=2), tasks=['depth'])
        >>> list(sites_of(nn.ModuleDict(dict(fc=layer))))
        ['fc']
    """
    found = {}
    for name, module in model.named_modules():
        if has_frequencies(module) and getattr(module, 'tasks', ()):
            name = name.removesuffix('.adapter') or 'model'
            found[name] = Site(name, module)
    return found


def sources_of(model: nn.Module) -> dict[str, Source]:
    """Sites by where their frequencies come from: all on one clock, or each its own.

    Example:
        >>> from mtpeft.adapters import adapt_layer
        >>> layer = adapt_layer(nn.Linear(8, 4), dict(type='SineAWB', rank=2), tasks=['depth'])
        >>> {name: s.bounds for name, s in sources_of(nn.ModuleDict(dict(fc=layer))).items()}
        {'fc': (15.0, 75.0)}
    """
    names = {id(module): name for name, module in model.named_modules()}
    sources: dict[str, Source] = {}
    for site in sites_of(model).values():
        clock = getattr(site.module, 'clock', None)
        shared = clock is not None and getattr(clock, 'per', 'task') == 'task'
        name = _owner(names[id(clock)]) if shared and id(clock) in names else site.name
        sources.setdefault(name, Source(name, [])).sites.append(site)
    return sources


def no_frequencies(what: str) -> str:
    """Says that ``what`` has no frequencies, and what would have some."""
    known = []
    for registry in (ADAPTERS, MODELS):
        registry.import_from_location()
        known += sorted(n for n, c in registry.module_dict.items() if has_frequencies(c))
    return (
        f'{what} has no frequencies. What has them: {", ".join(known)} (an adapter where its '
        "plugin has lanes='task')."
    )


def find_site(sites: Mapping[str, Site], name: str | None) -> Site:
    """The site of this name; without a name that with the largest M.

    Raises:
        ValueError: there is none.
    """
    if name is None:
        return max(sites.values(), key=lambda site: site.matrix()[0].numel())
    if name not in sites:
        raise ValueError(f"'{name}' is no layer with frequencies. " + hint(name, sites))
    return sites[name]


def rank_of(weight: Tensor) -> float:
    """Effective rank of a weight ``(out, in)``; 0 where it is 0, nan where it is not finite."""
    try:
        return effective_rank(weight).item()
    except torch.linalg.LinAlgError:
        return math.nan


def spread(omegas: Mapping[str, float]) -> tuple[float, float]:
    """Largest less least, and standard deviation over tasks (of T, not T - 1).

    Example:
        >>> spread(dict(semseg=20.0, depth=50.0))
        (30.0, 15.0)
    """
    values = list(omegas.values())
    return max(values) - min(values), statistics.pstdev(values)


def crossed_zero(omega: float, first: float) -> bool:
    """Whether a frequency is 0, or on the other side of it than at first."""
    return first != 0 and not first * omega > 0


def outside(omega: float, bounds: tuple[float, float]) -> bool:
    """Whether a frequency is not between ``bounds``; one that is no number is not."""
    low, high = bounds
    slack = _SLACK * max(abs(low), abs(high)) if math.isfinite(high - low) else 0.0
    return not low - slack <= omega <= high + slack


def _owner(clock: str) -> str:
    """Name of what holds the clock of this name: ``'backbone.clock'`` -> ``'backbone'``."""
    return clock.rpartition('.')[0].removesuffix('.adapter') or clock


@torch.no_grad()
def effective_rank(weight: Tensor) -> Tensor:
    r"""Exponential of the entropy of the singular values (Roy and Vetterli, EUSIPCO 2007).

    .. math:: \exp\Big(-\sum_i p_i \log p_i\Big), \qquad p_i = \sigma_i \Big/ \sum_j \sigma_j

    Args:
        weight: ``(..., out, in)``.

    Returns:
        ``(...)``, from 1 to the smaller side; 0 of a weight that is 0.

    Example:
        >>> round(effective_rank(torch.eye(5)).item(), 6)
        5.0
    """
    # tall matrices have their values sooner than wide ones
    tall = weight if weight.shape[-2] >= weight.shape[-1] else weight.mT
    sigma = torch.linalg.svdvals(tall.double())
    total = sigma.sum(-1, keepdim=True)
    share = sigma / torch.where(total > 0, total, 1)
    entropy = -torch.special.xlogy(share, share).sum(-1)
    return torch.where(total[..., 0] > 0, entropy.exp(), 0)
