"""Labels as tensors by task, for training loops that have no data samples."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask
from mtpeft.utils.suggest import hint

#: labels of a batch: one sample a picture, or tensors by task
Labels = Sequence[MultiTaskDataSample] | Mapping[str, Tensor]


def samples_of(
    labels: Mapping[str, Tensor], tasks: Mapping[str, DenseTask], batch: int
) -> list[MultiTaskDataSample]:
    """Data samples of a batch.

    Args:
        labels: Labels by task, ``(B, H, W)`` or ``(B, C, H, W)``; of a task that is left out the
            batch has no labels. Pixels without a label have the task's ``ignore_value``.
        tasks: The model's tasks.
        batch: Pictures of the batch.

    Raises:
        KeyError: an unknown task; the nearest names are given.
        ValueError: a label of another shape or kind.

    Example:
        >>> import torch
        >>> from mtpeft.tasks import build_tasks
        >>> samples = samples_of({'sal': torch.ones(2, 4, 4)}, build_tasks(['sal', 'depth']), 2)
        >>> samples[1].get_gt('sal').shape, samples[1].get_gt('depth')
        (torch.Size([1, 4, 4]), None)
    """
    metas = [dict(img_path=f'number {i} of the batch') for i in range(batch)]
    samples = [MultiTaskDataSample(metainfo=meta) for meta in metas]
    for name, label in labels.items():
        if name not in tasks:
            raise KeyError(f"The model has no task '{name}'. {hint(str(name), tasks)}")
        for sample, own in zip(samples, _checked(tasks[name], label, batch), strict=True):
            sample.set_gt(name, own)
    return samples


def _checked(task: DenseTask, label: Tensor, batch: int) -> Tensor:
    channels = task.label_channels
    if not isinstance(label, Tensor):
        raise ValueError(
            f"Labels of task '{task.name}': expected a tensor, got {type(label).__name__}."
        )
    full = label.unsqueeze(1) if label.ndim == 3 and channels == 1 else label
    if full.ndim != 4 or tuple(full.shape[:2]) != (batch, channels):
        short = ' or (B, H, W)' if channels == 1 else ''
        raise ValueError(
            f"Labels of task '{task.name}': expected (B, {channels}, H, W){short} with B={batch}, "
            f'got {tuple(label.shape)}.'
        )
    if full.is_complex() or full.numel() == 0:
        raise ValueError(
            f"Labels of task '{task.name}': expected numbers for at least one pixel, got "
            f'{tuple(full.shape)} of {full.dtype}.'
        )
    if task.kind == 'classes':
        if full.is_floating_point():
            raise ValueError(
                f"Labels of task '{task.name}': expected class indices (whole numbers), got "
                f'{full.dtype}.'
            )
        return full.long()
    return full if full.is_floating_point() or task.kind == 'binary' else full.float()
