"""Losses of mmsegmentation as losses of a task."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.models.losses.dense_loss import DenseLoss
from mtpeft.models.losses.reduce import global_mean, sum_over_processes
from mtpeft.tasks import DenseTask


class _Rule(NamedTuple):
    """How a loss is called.

    Attributes:
        kinds: Kinds of tasks that it is for.
        by_picture: Is it called for each picture, rather than for all pixels of a batch?
        one_hot: Does it want a channel for each class, rather than the class's number?
        problem: What of the loss's options is wrong for a task of a kind, ``''`` for nothing.
    """

    kinds: tuple[str, ...]
    by_picture: Callable[[nn.Module], bool]
    one_hot: Callable[[Tensor], bool]
    problem: Callable[[nn.Module, str], str]


def _cross_entropy(loss: nn.Module, kind: str) -> str:
    if loss.use_mask:
        return 'use_mask is for instances'
    if kind == 'binary' and not loss.use_sigmoid:
        return 'the softmax of a single channel is 1, so it needs use_sigmoid=True'
    return ''


def _dice(loss: nn.Module, kind: str) -> str:
    if not loss.activate:
        return 'heads give logits, so it needs activate=True'
    return 'it needs use_sigmoid=True' if kind == 'binary' and not loss.use_sigmoid else ''


def _lovasz(loss: nn.Module, kind: str) -> str:
    wanted = 'binary' if kind == 'binary' else 'multi_class'
    hinge = loss.cls_criterion.__name__ == 'lovasz_hinge'
    return '' if hinge == (kind == 'binary') else f"it needs loss_type='{wanted}'"


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_: value


_MAPS = ('classes', 'binary')
_RULES = {
    'CrossEntropyLoss': _Rule(_MAPS, _always(False), _always(False), _cross_entropy),
    # (on a CPU, mmsegmentation reads the wrong column of class indices)
    'FocalLoss': _Rule(_MAPS, _always(False), lambda x: not x.is_cuda, _always('')),
    'OhemCrossEntropy': _Rule(('classes',), _always(False), _always(False), _always('')),
    'DiceLoss': _Rule(_MAPS, _always(True), _always(True), _dice),
    'TverskyLoss': _Rule(('classes',), _always(True), _always(False), _always('')),
    'LovaszLoss': _Rule(_MAPS, lambda loss: loss.per_image, _always(False), _lovasz),
    'SiLogLoss': _Rule(('values',), _always(True), _always(False), _always('')),
}
MMSEG_LOSSES = tuple(_RULES)


def rule_of(loss: nn.Module) -> _Rule | None:
    """How a loss of mmsegmentation, or one derived from it, is called; ``None``: it is none."""
    for base in type(loss).__mro__:
        if base.__module__.split('.')[0] == 'mmseg' and base.__name__ in _RULES:
            return _RULES[base.__name__]
    return None


class MmsegLoss(DenseLoss):
    """A loss of mmsegmentation over the valid pixels of a task.

    What is ignored has no part, whatever the loss does with ignored pixels: it gets the valid
    pixels alone, as a picture of one row. ``DiceLoss``, ``TverskyLoss``, ``SiLogLoss`` and
    ``LovaszLoss(per_image=True)`` are of each picture, and their mean over pictures is taken.
    With several processes, each process's loss counts by its valid pixels, or pictures.
    ``SiLogLoss`` has no gradient where a prediction is not positive: start from a bias of the head
    above 0, or from :class:`MaskedL1Loss`.

    Args:
        loss: The loss; see :data:`MMSEG_LOSSES` for which.
        task: The task.

    Raises:
        ValueError: the loss is not for tasks of such a kind.

    Example:
        >>> from mmseg.models.losses import CrossEntropyLoss
        >>> from mtpeft.tasks import semseg
        >>> loss = MmsegLoss(CrossEntropyLoss(avg_non_ignore=True), semseg(num_classes=4))
        >>> valid = torch.tensor([[[True, False]]])
        >>> loss(torch.zeros(1, 4, 1, 2), torch.tensor([[[[3, 255]]]]), valid)
        tensor(1.3863)
    """

    def __init__(self, loss: nn.Module, task: DenseTask) -> None:
        super().__init__()
        self.loss, self.rule, self.kind = loss, rule_of(loss), task.kind
        self.same_channels = task.label_channels == task.channels
        self.class_weight = getattr(loss, 'class_weight', None)
        problem = f'it is for tasks of kind {" or ".join(map(repr, self.rule.kinds))}'
        if task.kind in self.rule.kinds:
            problem = self.rule.problem(loss, task.kind)
        if problem:
            raise ValueError(
                f"Task '{task.name}' is of kind '{task.kind}', and {type(loss).__name__} of "
                f'mmsegmentation cannot learn it as it is: {problem}.'
            )

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        parts = [(self._call(x, y), n) for x, y, n in self._parts(logits, target, valid)]
        number = sum((n for _, n in parts), torch.zeros_like(valid.sum()))
        total = sum((value * n for value, n in parts), 0 * logits.sum())
        return global_mean(total, sum_over_processes(number))

    def _parts(
        self, logits: Tensor, target: Tensor, valid: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Valid pixels ``(1, C, 1, n)``, their labels ``(1, c, 1, n)``, and how much they count."""
        pictures = range(len(valid)) if self.rule.by_picture(self.loss) else [slice(None)]
        for i in pictures:
            mask = valid[i].reshape(-1, *valid.shape[1:])
            number = mask.sum()
            if not number:
                continue
            x, y = (m[i].reshape(-1, *m.shape[1:]).movedim(1, -1)[mask].T[None, :, None]
                    for m in (logits, target))  # fmt: skip
            yield x, y, torch.ones_like(number) if self.rule.by_picture(self.loss) else number

    def _call(self, x: Tensor, y: Tensor) -> Tensor:
        if self.kind == 'values':
            return self.loss(x, y.to(x.dtype)).mean()
        y = y[:, 0].long()
        if self.rule.one_hot(x):
            y = y[:, None] if x.shape[1] == 1 else F.one_hot(y, x.shape[1]).movedim(-1, 1)
        # (not reduced where that was asked for)
        return self.loss(x, y).mean()
