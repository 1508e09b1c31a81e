"""Pictures of noise with labels."""

import torch
from torch import nn

from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask


def random_batch(
    tasks: dict[str, DenseTask], batch_size: int, size: tuple[int, int], channels: int = 3
) -> dict:
    """A collated batch of noise with labels of every task, each valid everywhere."""
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for _ in range(batch_size):
        picture = torch.randint(0, 256, (channels, *size), generator=generator, dtype=torch.uint8)
        sample = MultiTaskDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        for name, task in tasks.items():
            sample.set_gt(name, _random_label(task, size, generator))
        inputs.append(picture)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def _random_label(
    task: DenseTask, size: tuple[int, int], generator: torch.Generator
) -> torch.Tensor:  # fmt: skip
    shape = (task.label_channels, *size)
    if task.kind in ('classes', 'binary'):
        high = task.channels if task.kind == 'classes' else 2
        return torch.randint(0, high, shape, generator=generator)
    values = torch.rand(shape, generator=generator) + 0.5
    return nn.functional.normalize(values, dim=0) if task.kind == 'vectors' else values


def fresh(batch: dict) -> dict:
    """The batch with samples of its own, as the preprocessor pads the labels of those it gets."""
    return dict(inputs=batch['inputs'], data_samples=[s.clone() for s in batch['data_samples']])


def channels_of(model: nn.Module) -> int:
    """Channels of the pictures that a model takes."""
    return getattr(model.data_preprocessor, 'channels', 3)
