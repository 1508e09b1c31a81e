"""Aggregators of the library TorchJD."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtpeft.models.loss_weighting.gradient_weighting import GradientWeighting
from mtpeft.registry import MODELS
from mtpeft.tasks import TaskSpec
from mtpeft.utils.kinds import NotNegative
from mtpeft.utils.suggest import hint


@MODELS.register_module()
class TorchJD(GradientWeighting):
    r"""Gradients of the tasks made one by an aggregator of TorchJD (arXiv 2406.16232).

    ``UPGrad`` is the library's own: each task's gradient is projected onto the cone of directions
    in which no task's loss rises, and the projections are averaged. Others by name: ``PCGrad``,
    ``CAGrad``, ``MGDA``, ``IMTLG``, ``AlignedMTL``, ``NashMTL``, ``GradDrop``, ... The library is
    an extra of mtpeft: ``pip install "mtpeft[balance]"``.

    A step takes one backward pass a task. Aggregators that average give a gradient T times smaller
    than the sum; AdamW does not care.

    Args:
        tasks: The model's tasks; their gradients are those of the losses times ``loss_weight``.
        aggregator: Name of a class in ``torchjd.aggregation``.
        options: Its options, such as ``dict(c=0.4)`` of CAGrad; lists become tensors.
        weights: Constant weights by task, see :class:`~mtpeft.models.FixedWeighting`.

    Raises:
        ImportError: torchjd, or what an aggregator needs beside it, is not installed.
        ValueError: an unknown aggregator (the nearest names are given).
        TypeError: an option is unknown or missing.

    Example:
        >>> weighting = TorchJD(['sal', 'depth'], aggregator='UPGrad')
        >>> gradient, _ = weighting.combine(torch.tensor([[2.0, 0], [0, 2]]), torch.ones(2))
        >>> gradient
        tensor([1., 1.])
    """

    def __init__(
        self,
        tasks: TaskSpec,
        aggregator: str = 'UPGrad',
        options: Mapping[str, Any] | None = None,
        weights: Mapping[str, NotNegative] | None = None,
    ) -> None:
        super().__init__(tasks, weights)
        self.name = aggregator
        # (no child: the state of those that have one has no fixed shape, and starts anew)
        self.__dict__['aggregator'] = _build(aggregator, options or {}, len(self.weights))

    def combine(self, jacobian: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return self.aggregator(jacobian), torch.ones_like(values)

    def extra_repr(self) -> str:
        return f'aggregator={self.name}, {super().extra_repr()}'


@MODELS.register_module()
class PCGrad(TorchJD):
    """Gradients projected off those that they conflict with (arXiv 2001.06782), by TorchJD.

    Args:
        tasks: The model's tasks.
        weights: Constant weights by task, see :class:`~mtpeft.models.FixedWeighting`.

    Raises:
        ImportError: torchjd is not installed.

    Example:
        >>> weighting = PCGrad(['sal', 'depth'])
        >>> gradient, _ = weighting.combine(torch.tensor([[1.0, 0], [-1, 1]]), torch.ones(2))
        >>> gradient
        tensor([0.5000, 1.5000])
    """

    def __init__(
        self, tasks: TaskSpec, weights: Mapping[str, NotNegative] | None = None
    ) -> None:  # fmt: skip
        super().__init__(tasks, 'PCGrad', weights=weights)


@MODELS.register_module()
class NashMTL(TorchJD):
    """Weights as the solution of a bargaining game (arXiv 2202.01017), by TorchJD.

    Its solver, cvxpy with ecos, comes with the extra ``balance`` where it has wheels (up to Python
    3.12).

    Args:
        tasks: The model's tasks.
        options: Its options: ``max_norm``, ``update_weights_every``, ``optim_niter``.
        weights: Constant weights by task, see :class:`~mtpeft.models.FixedWeighting`.

    Raises:
        ImportError: torchjd, cvxpy or ecos is not installed.

    Example:
        >>> NashMTL(['sal', 'depth'])  # doctest: +SKIP
        NashMTL(aggregator=NashMTL, sal=5.0, depth=1.0)
    """

    def __init__(
        self,
        tasks: TaskSpec,
        options: Mapping[str, Any] | None = None,
        weights: Mapping[str, NotNegative] | None = None,
    ) -> None:
        super().__init__(tasks, 'NashMTL', options, weights)


def _build(name: str, options: Mapping[str, Any], tasks: int) -> Any:
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise ImportError(
            f"loss_weighting: the aggregator '{name}' is TorchJD's, which is not installed: "
            'pip install "mtpeft[balance]".'
        ) from error
    known = _aggregators(aggregation)
    if name not in known:
        raise ValueError(
            f"loss_weighting: TorchJD has no aggregator '{name}'. {hint(str(name), known, 40)}"
        )
    signature = inspect.signature(known[name])
    given = {key: torch.tensor(v) if isinstance(v, list | tuple) else v
             for key, v in options.items()}  # fmt: skip
    if 'n_tasks' in signature.parameters:
        given.setdefault('n_tasks', tasks)
    try:
        signature.bind(**given)
    except TypeError as error:
        raise TypeError(
            f"loss_weighting: options of the aggregator '{name}': {error}. It takes {signature}."
        ) from error
    try:
        return known[name](**given)
    except ImportError as error:
        raise ImportError(f"loss_weighting: the aggregator '{name}': {error}") from error


def _aggregators(aggregation: Any) -> dict[str, type]:
    abstract = {'Aggregator', 'WeightedAggregator', 'GramianWeightedAggregator'}
    found = {name: getattr(aggregation, name) for name in aggregation.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type)
        and issubclass(kind, aggregation.Aggregator)
        and name not in abstract
    }
