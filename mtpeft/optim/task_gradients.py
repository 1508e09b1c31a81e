"""The gradients of tasks taken one by one, so that something else than their sum is stepped by."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine import dist
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mtpeft.optim.custom_keys import stacked_parameters

_PREFIX, _RAW = 'loss_', 'raw_'


class TaskGradients:
    r"""Lets an optimizer wrapper step by what a weighting makes of the tasks' gradients.

    A weighting that has ``combine(jacobian, values)``
    (:class:`~mtpeft.models.loss_weighting.GradientWeighting`) gets, before each update, a row for
    each task: the gradient of its loss with respect to all parameters that at least two tasks
    reach. Parameters of one task, and those that are stacked over tasks (lanes), get the sum of
    the tasks' gradients, as ever: there each row is of one task.

    * Accumulated batches: rows are added up and combined once, so that they are one large batch.
    * Several processes: rows are averaged before they are combined, since what combines them is
      not linear; each process then steps by the same. The wrapper for several processes does not
      reduce gradients itself.
    * A loss scaler: rows are divided by its scale for the weighting; rows that are not finite go to
      the scaler as their sum, which skips the step.
    * Terms that hooks add to the loss have gradients of their own, which are added.

    Args:
        wrapper: The optimizer wrapper.
        model: The model, also inside a wrapper for several processes; its ``loss_weighting`` is
            the weighting.

    Raises:
        TypeError: ``wrapper`` is of another kind, or the weighting combines nothing.

    Example:
        >>> TaskGradients(runner.optim_wrapper, runner.model).install()  # doctest: +SKIP
    """

    def __init__(self, wrapper: OptimWrapper, model: nn.Module) -> None:
        model = getattr(model, 'module', model)
        self.weighting = getattr(model, 'loss_weighting', None)
        if not hasattr(self.weighting, 'combine') or not isinstance(wrapper, OptimWrapper):
            raise TypeError(
                'Expected an OptimWrapper and a model whose loss_weighting combines gradients, got '
                f'{type(wrapper).__name__} and {type(self.weighting).__name__}.'
            )
        self.wrapper, self.model = wrapper, model
        self.tasks = list(self.weighting.weights)
        self._lanes = {id(stacked.parameter) for stacked in stacked_parameters(model)}
        self._losses: dict[str, Tensor] = {}
        self._leaves: dict[str, Tensor] = {}
        self._start()

    def install(self) -> None:
        """Take the place of the model's ``parse_losses`` and of the wrapper's backward pass."""
        wrapper, model = self.wrapper, self.model
        self._parse, self._backward = model.parse_losses, wrapper.backward
        self._context = wrapper.optim_context
        model.parse_losses = self.parse_losses
        wrapper.backward, wrapper.optim_context = self.backward, self.optim_context
        self.weighting.installed = True

    def _start(self) -> None:
        # gradients by parameter, then by task; losses
        self._rows: dict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)
        self._values: Tensor | float = 0.0
        self._batches = 0

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The wrapper's own, in which nobody prepares to reduce gradients."""
        waits = model.no_sync() if hasattr(model, 'no_sync') else nullcontext()
        with self._context(model), waits:
            yield

    def parse_losses(self, losses: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses for the log, and a total that holds each task's in the place of a leaf."""
        _, log = self._parse(losses)
        parts = {name: losses[_PREFIX + name] for name in self.tasks}
        others = {k: v for k, v in losses.items() if k.removeprefix(_PREFIX) not in parts}
        self._losses = parts
        self._leaves = {name: x.detach().requires_grad_() for name, x in parts.items()}
        values = [losses[_RAW + name].detach() * self.weighting.weights[name] for name in parts]
        self._batches += 1
        self._values = self._values + torch.stack(values).float()
        return sum(self._leaves.values()) + self._parse(others)[0], log

    def backward(self, loss: Tensor, **options: Any) -> None:
        """Backward passes of what hooks added, and of each task; gradients of an update."""
        # (what was added may share its graph with the tasks)
        self._backward(loss, **{**options, 'retain_graph': True})
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        for name, part in self._losses.items():
            # how much of it is in the loss: what scaled or divided the loss says it here
            share = self._leaves[name].grad
            if not part.requires_grad:
                continue
            gradients = torch.autograd.grad(
                part, parameters, share.to(part), retain_graph=True, allow_unused=True
            )
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    rows = self._rows[parameter]
                    rows[name] = rows[name] + gradient if name in rows else gradient
        self._losses, self._leaves = {}, {}
        if self.wrapper.should_update():
            self._combine()

    def _combine(self) -> None:
        """Give every parameter its gradient."""
        rows = self._rows
        shared = [p for p in rows if len(rows[p]) > 1 and id(p) not in self._lanes]
        own = [p for p in rows if len(rows[p]) == 1 or id(p) in self._lanes]
        matrix = torch.stack([
            torch.cat([_row(rows[p].get(name), p) for p in shared]) for name in self.tasks
        ]) if shared else torch.zeros(len(self.tasks), 0)  # fmt: skip
        dist.all_reduce(matrix, 'mean')
        vector, factors = self._combined(matrix, self._values / self._batches)
        for parameter, piece in zip(shared, vector.split([p.numel() for p in shared]), strict=True):
            _add(parameter, piece.view_as(parameter))
        by_task = dict(zip(self.tasks, factors, strict=True))
        for parameter in own:
            total = sum(by_task[name] * g for name, g in rows[parameter].items())
            dist.all_reduce(total, 'mean')
            _add(parameter, total)
        self._start()

    def _combined(self, matrix: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """What the weighting makes of the rows, at the scale of the loss scaler."""
        if not matrix.numel() or not torch.isfinite(matrix).all():
            return matrix.sum(0), torch.ones_like(values)
        scaler = getattr(self.wrapper, 'loss_scaler', None)
        scale = 1.0 if scaler is None else scaler.get_scale()
        vector, factors = self.weighting.combine(matrix / scale, values.to(matrix.device))
        return vector * scale, factors


def _row(gradient: Tensor | None, parameter: nn.Parameter) -> Tensor:
    if gradient is None:
        return parameter.new_zeros(parameter.numel(), dtype=torch.float32)
    return gradient.flatten().float()


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    gradient = gradient.to(parameter.dtype)
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
