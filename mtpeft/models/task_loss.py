"""The loss of one task over the pictures of a batch that have a label for it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mtpeft.structures import MultiTaskDataSample
from mtpeft.structures.levels import resize
from mtpeft.tasks import DenseTask


def task_loss(
    task: DenseTask,
    loss: nn.Module,
    logits: Tensor,
    samples: Sequence[MultiTaskDataSample],
    to_input: Callable[[Tensor], Tensor],
) -> Tensor:
    """The loss of ``task``; 0 and connected to the graph where no picture has a label.

    Args:
        task: The task.
        loss: Its loss.
        logits: ``(B, C, h, w)``, at the resolution of the heads.
        samples: One a picture.
        to_input: Brings logits to the size of the pictures.

    Raises:
        ValueError: labels have different sizes.
    """
    labels = {i: sample.get_gt(task.name) for i, sample in enumerate(samples)}
    labels = {i: label for i, label in labels.items() if label is not None}
    if not labels:
        # nothing to learn here, but the graph and the collective calls must be the same
        shape = logits.shape
        label = logits.new_zeros(shape[0], task.label_channels, *shape[-2:])
        return loss(logits, label, torch.zeros_like(label[:, 0], dtype=torch.bool))
    label = _stack(task, labels, samples)
    x = to_input(logits[list(labels)])
    return loss(resize(x, label.shape[-2:]), label, task.valid(label, channel_axis=1))


def _stack(
    task: DenseTask, labels: dict[int, Tensor], samples: Sequence[MultiTaskDataSample]
) -> Tensor:
    sizes = {tuple(label.shape): i for i, label in labels.items()}
    if len(sizes) > 1:
        found = ', '.join(f'{size} ({samples[i].get("img_path")})' for size, i in sizes.items())
        raise ValueError(
            f"Labels of task '{task.name}' have different sizes in one batch: {found}. "
            'The preprocessor pads them with training=True.'
        )
    return torch.stack(list(labels.values()))
