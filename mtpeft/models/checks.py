"""What is refused, and what the user is told."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import channels_in
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask
from mtpeft.utils.suggest import hint


def not_finite(
    values: Mapping[str, Tensor],
    raw: Mapping[str, Tensor],
    logits: Mapping[str, Tensor],
    samples: Sequence[MultiTaskDataSample],
) -> str:
    """The message that names the tasks and pictures whose loss is not finite.

    Args:
        values: Losses averaged over all processes.
        raw: This process's share of them.
        logits: Logits ``(B, C, h, w)`` by task.
        samples: The batch.
    """
    lines = []
    for name, value in values.items():
        if torch.isfinite(value):
            continue
        if torch.isfinite(raw[name]):
            lines.append(f"Loss of task '{name}' is {value.item()}, from another process.")
            continue
        labelled = [i for i, sample in enumerate(samples) if sample.get_gt(name) is not None]
        bad = [i for i in labelled if not torch.isfinite(logits[name][i]).all()] or labelled
        pictures = ', '.join(str(samples[i].get('img_path')) for i in bad)
        lines.append(f"Loss of task '{name}' is {raw[name].item()} in pictures: {pictures}.")
    return ' '.join(lines) + (
        ' Look at their labels (`mtpeft data browse`), lower the learning rate, clip '
        'gradients or train without AMP. check_finite=False goes on regardless.'
    )


def check_names(tasks: Mapping[str, DenseTask]) -> None:
    """Refuse names that would change the objective."""
    for name in tasks:
        if 'loss' in name:
            raise ValueError(
                f"Task '{name}': a task's name must not contain 'loss', since MMEngine adds every "
                'log entry called so to the objective. Give the task another `name`.'
            )


def check_channels(preprocessor: nn.Module, backbone: nn.Module) -> None:
    """Refuse means of another number of channels than the backbone takes."""
    network = getattr(backbone, 'network', None)
    given = getattr(preprocessor, 'channels', None)
    if network is None or given is None or given == (taken := channels_in(network)):
        return
    raise ValueError(
        f'The backbone takes pictures of {taken} channels, data_preprocessor has {given} means: '
        f'give mean and std of {taken} numbers, or in_chans={given} to the backbone.'
    )


def check_streams(backbone: nn.Module, tasks: Mapping[str, DenseTask]) -> None:
    """Refuse a backbone whose streams are not those of ``tasks``."""
    streams = getattr(backbone, 'tasks', None)
    if not streams:
        return
    for name in tasks:
        if name not in streams:
            raise ValueError(
                f"The model has task '{name}', but the backbone has no stream for it: add it to "
                '`backbone.tasks`, or leave that out. ' + hint(name, streams)
            )
    for name in streams:
        if name not in tasks:
            raise ValueError(
                f"The backbone has a stream for '{name}', which is none of the model's tasks, so "
                'nothing would train it: leave `backbone.tasks` out. ' + hint(name, tasks)
            )
