"""A model of a few thousand parameters, and samples for it."""

import torch
from mmengine.model import BaseModule
from torch import nn

from mtpeft.models import MultiTaskModel
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks

TASKS = dict(
    semseg=dict(num_classes=5), human_parts=dict(), sal=dict(), normals=dict(), depth=dict(),
    edge=dict(),
)  # fmt: skip


class TinyBackbone(BaseModule):
    """Two levels at strides 4 and 8; with ``tasks`` a stream each, else a tuple."""

    size_divisor = 8
    out_channels = (6, 8)

    def __init__(self, tasks=None, spare=False):
        super().__init__()
        self.tasks = tasks
        self.stem = nn.Conv2d(3, 6, 4, stride=4)
        self.down = nn.Conv2d(6, 8, 2, stride=2)
        self.gains = nn.ParameterDict({t: nn.Parameter(torch.ones(6, 1, 1)) for t in tasks or ()})
        self.spare = nn.Parameter(torch.ones(3)) if spare else None
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        assert all(side % self.size_divisor == 0 for side in x.shape[-2:])
        x = self.stem(x).tanh()
        if not self.tasks:
            return x, self.down(x)
        return {t: (x * g, self.down(x * g)) for t, g in self.gains.items()}

    def unused_parameter_names(self):
        return [] if self.spare is None else ['spare']

    def parameter_components(self):
        own = dict(norms=['stem.weight'], lora_task=[f'gains.{t}' for t in self.tasks or ()])
        return {**own, 'unused': self.unused_parameter_names()}


class PlainBackbone(TinyBackbone):
    """The same without the option ``tasks``."""

    def __init__(self):
        super().__init__()


def tiny_model(tasks=None, backbone=None, seed=0, **options):
    """A model with a projection neck and HRNet heads."""
    torch.manual_seed(seed)
    defaults = dict(
        necks=[dict(type='ProjectionNeck', out_channels=(3, 4))],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
    )
    backbone = backbone or dict(type=TinyBackbone)
    return MultiTaskModel(tasks=tasks or TASKS, backbone=backbone, **{**defaults, **options})


def random_label(task, size, generator, invalid=0.3):
    """A label ``(c, H, W)`` in which a share of the pixels is invalid."""
    shape = (task.label_channels, *size)
    if task.kind == 'classes':
        label = torch.randint(task.channels, shape, generator=generator)
    elif task.kind == 'binary':
        label = torch.randint(2, shape, generator=generator)
    elif task.kind == 'vectors':
        label = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=0)
    else:
        label = 1 + torch.rand(shape, generator=generator)
    holes = torch.rand(size, generator=generator) < invalid
    return label.masked_fill(holes, int(task.ignore_value))


def random_samples(sizes, tasks=None, labelled=None, seed=0):
    """One sample a size; ``labelled[i]`` names the tasks with a label (default: all)."""
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for i, size in enumerate(sizes):
        meta = dict(img_path=f'picture_{i}.jpg', img_shape=size, ori_shape=size, label_shape=size)
        sample = MultiTaskDataSample(metainfo=meta)
        for name, task in build_tasks(tasks or TASKS).items():
            label = random_label(task, size, generator)
            if labelled is None or name in labelled[i]:
                sample.set_gt(name, label)
        samples.append(sample)
    return samples
