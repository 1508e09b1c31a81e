"""A pyramid of equal levels."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mtpeft.registry import MODELS
from mtpeft.structures.levels import Features, by_task, resize
from mtpeft.tasks import TaskSpec, build_tasks
from mtpeft.utils.kinds import Positive
from mtpeft.utils.requested import requested_tasks


@MODELS.register_module()
class RescaleNeck(BaseModule):
    """Resize levels by fixed factors: a pyramid for backbones of one stride, such as ViT.

    Bilinear (``align_corners`` off) upwards, averaging downwards; no parameters. With factors
    (4, 2, 1, 1/2) on stride 16 the levels have strides 4, 8, 16, 32, as in the simple feature
    pyramid of ViTDet (arXiv 2203.16527) without its convolutions.

    Args:
        in_channels: Widths of the levels, from the backbone where the model builds the neck.
        tasks: The model's tasks.
        scales: Factor of each level.
        base_sizes: Height and width of each level, from the model where it knows them.
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        ValueError: the number of factors is not the number of levels, or one is not positive.

    Example:
        >>> import torch
        >>> neck = RescaleNeck((8, 8), tasks=['depth'], scales=(2, 0.5))
        >>> levels = (torch.rand(1, 8, 6, 4), torch.rand(1, 8, 6, 4))
        >>> [tuple(level.shape) for level in neck(levels)['depth']]
        [(1, 8, 12, 8), (1, 8, 3, 2)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: TaskSpec,
        scales: Sequence[Positive] = (4, 2, 1, 0.5),
        base_sizes: Sequence[tuple[int, int]] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(scales) != len(in_channels) or min(scales) <= 0:
            raise ValueError(
                f'Expected {len(in_channels)} positive scales, one a level, got {tuple(scales)}.'
            )
        self.tasks = tuple(build_tasks(tasks))
        self.scales = tuple(scales)
        self.out_channels = tuple(in_channels)
        #: sizes of the resized levels, ``None`` where those of the levels are not known
        self.base_sizes = base_sizes and tuple(
            _scaled(size, scale) for size, scale in zip(base_sizes, scales, strict=True)
        )

    def forward(
        self, features: Features, tasks: Sequence[str] | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Levels ``(B, C, H, W)`` by task, of some tasks or all, each resized by its factor."""
        return {
            name: tuple(_resize(x, s) for x, s in zip(levels, self.scales, strict=True))
            for name, levels in by_task(features, requested_tasks(tasks, self.tasks)).items()
        }


def _scaled(size: Sequence[int], scale: float) -> tuple[int, int]:
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def _resize(x: Tensor, scale: float) -> Tensor:
    size = _scaled(x.shape[-2:], scale)
    return F.adaptive_avg_pool2d(x, size) if scale < 1 else resize(x, size)
