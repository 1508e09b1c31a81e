"""The loss of a task, or a refusal when the model is built instead of in its first step."""

import inspect

from torch import nn

from mtpeft.models.build import build_module
from mtpeft.models.losses.mmseg_loss import MMSEG_LOSSES, MmsegLoss, rule_of
from mtpeft.tasks import DenseTask


def build_loss(task: DenseTask) -> nn.Module:
    """The loss of ``task``, called with logits, labels and a mask of valid pixels.

    A loss of mmsegmentation is put into :class:`MmsegLoss`.

    Raises:
        TypeError: it is no loss of dense tasks.
        ValueError: it is not for tasks of such a kind, or has weights for other classes.
    """
    loss = build_module(task.loss)
    if rule_of(loss) is not None:
        loss = MmsegLoss(loss, task)
    elif 'valid' not in inspect.signature(loss.forward).parameters:
        known = ', '.join(f'mmseg.{name}' for name in MMSEG_LOSSES)
        raise TypeError(
            f"Task '{task.name}': {type(loss).__name__} is no loss of a task, which is called with "
            f'(logits, target, valid), see mtpeft.models.losses.DenseLoss. Of mmsegmentation, '
            f'these can be used: {known}.'
        )
    weights = getattr(loss, 'class_weight', None)
    if weights is not None and len(weights) != task.channels:
        raise ValueError(
            f"Task '{task.name}' has {task.channels} classes, and its loss {len(weights)} weights "
            f'of classes: class_weight={list(weights)}.'
        )
    return loss
