"""No step on gradients that are not finite."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_


def refuse_infinite_steps(wrapper: OptimWrapper | OptimWrapperDict, model: nn.Module) -> None:
    """Let ``wrapper`` refuse to update ``model`` by a gradient with NaN or infinity.

    Such a step would put NaN into weights and moments. Where gradients are clipped by their norm,
    the norm tells, so it costs nothing; elsewhere the largest value of each is taken before the
    step. With a loss scaler such gradients are part of its work: it skips the step.

    Args:
        wrapper: What updates the model; it is changed.
        model: Its parameters are named in the error.

    Raises:
        FloatingPointError: at a step whose gradients are not finite.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> wrapper = OptimWrapper(torch.optim.SGD(layer.parameters(), lr=.1))
        >>> refuse_infinite_steps(wrapper, layer)
        >>> wrapper.update_params(layer(torch.tensor([torch.inf])).sum())
        Traceback (most recent call last):
        ...
        FloatingPointError: The step was refused, since gradients are not finite: weight. The ...
    """
    if isinstance(wrapper, OptimWrapperDict):
        for part in wrapper.values():
            refuse_infinite_steps(part, model)
        return
    if hasattr(wrapper, 'loss_scaler') or not hasattr(wrapper, 'optimizer'):
        return
    if isinstance(getattr(wrapper, 'clip_func', None), partial):
        return  # trained before
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    if getattr(wrapper, 'clip_func', None) is clip_grad_norm_:
        wrapper.clip_func = partial(_clip, names)
        return
    # of the step, since clipping by value makes infinity finite
    wrapper.step = partial(_checked_step, wrapper.step, wrapper.optimizer, names)


def _clip(names: dict[int, str], parameters: Iterable[Tensor], **options: Any) -> Tensor:
    parameters = list(parameters)
    if options.get('error_if_nonfinite'):
        return clip_grad_norm_(parameters, **options)
    try:
        return clip_grad_norm_(parameters, **{**options, 'error_if_nonfinite': True})
    except RuntimeError:
        _refuse(names, parameters)
        # the sum of squares is too large for its type, though no gradient is
        return clip_grad_norm_(parameters, **options)


def _checked_step(
    step: Any, optimizer: torch.optim.Optimizer, names: dict[int, str], **options: Any
) -> None:  # fmt: skip
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    gradients = [p for p in parameters if p.grad is not None]
    if gradients:
        try:
            # the largest value, by which nothing is changed
            clip_grad_norm_(gradients, torch.inf, norm_type=torch.inf, error_if_nonfinite=True)
        except RuntimeError:
            _refuse(names, gradients)
            raise
    step(**options)


def _refuse(names: dict[int, str], parameters: Iterable[Tensor]) -> None:
    bad = [
        names.get(id(p), f'a parameter of shape {tuple(p.shape)}')
        for p in parameters
        if p.grad is not None and not torch.isfinite(p.grad).all()
    ]
    if bad:
        more = f' and {len(bad) - 3} more' if len(bad) > 3 else ''
        raise FloatingPointError(
            f'The step was refused, since gradients are not finite: {", ".join(bad[:3])}{more}. '
            'The weights are as they were. Lower the learning rate, train without mixed '
            'precision, or look for a loss or layer that divides by zero; go on from the last '
            'checkpoint with --resume.'
        )
