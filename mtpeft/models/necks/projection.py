"""1x1 projections a task and level."""

from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleDict, ModuleList
from torch import Tensor, nn

from mtpeft.adapters.formed_once import FormedOnce
from mtpeft.registry import MODELS
from mtpeft.structures.levels import Features, Unreduced, by_task
from mtpeft.tasks import TaskSpec, build_tasks
from mtpeft.utils.kinds import Size
from mtpeft.utils.requested import requested_tasks


@MODELS.register_module()
class ProjectionNeck(FormedOnce, BaseModule):
    """One 1x1 convolution without bias per task and level, as in MTLoRA (arXiv 2403.20320).

    Parameters are named ``proj.<task>.<level>.weight``. A level that comes before its patch
    merging's linear map (:class:`~mtpeft.structures.levels.Unreduced`) passes both maps as one.

    Args:
        in_channels: Widths of the levels, from the backbone where the model builds the neck.
        tasks: The model's tasks.
        out_channels: Widths after the projection.
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        ValueError: ``in_channels`` and ``out_channels`` differ in length.

    Example:
        >>> import torch
        >>> neck = ProjectionNeck((8, 16), tasks=['depth', 'normals'], out_channels=(2, 4))
        >>> levels = (torch.rand(1, 8, 6, 6), torch.rand(1, 16, 3, 3))
        >>> [tuple(level.shape) for level in neck(levels)['depth']]
        [(1, 2, 6, 6), (1, 4, 3, 3)]
    """

    #: takes levels that are :class:`~mtpeft.structures.levels.Unreduced`
    takes_unreduced = True

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: TaskSpec,
        out_channels: Sequence[Size] = (18, 36, 72, 144),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != len(out_channels):
            raise ValueError(
                f'Expected one width a level: in_channels has {len(in_channels)} levels '
                f'({tuple(in_channels)}), out_channels {len(out_channels)} '
                f'({tuple(out_channels)}).'
            )
        self.out_channels = tuple(out_channels)
        self.proj = ModuleDict(
            {
                name: ModuleList(
                    nn.Conv2d(i, o, 1, bias=False)
                    for i, o in zip(in_channels, out_channels, strict=True)
                )
                for name in build_tasks(tasks)
            }
        )

    def forward(
        self, features: Features, tasks: Sequence[str] | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Project levels ``(B, C, H, W)``.

        Args:
            features: A tuple of levels shared by all tasks, or one a task; each a tensor or
                ``Unreduced``.
            tasks: Names of the tasks that are wanted, all by default.

        Returns:
            Levels by task.
        """
        return {
            name: tuple(
                self._project(f'{name}.{i}', conv, level)
                for i, (conv, level) in enumerate(zip(self.proj[name], levels, strict=True))
            )
            for name, levels in by_task(features, requested_tasks(tasks, self.proj)).items()
        }

    def _project(self, name: str, conv: nn.Conv2d, level: Tensor | Unreduced) -> Tensor:
        if not isinstance(level, Unreduced):
            return conv(level)
        # (a weight that an adapter made for this pass is another one in the next)
        lasts = isinstance(level.weight, nn.Parameter)
        sources = conv.weight, level.weight
        kept = (lambda make: self.formed(sources, make, name=name)) if lasts else None
        return level.projected(conv.weight, kept)

    def parameter_components(self) -> dict[str, list[str]]:
        """Component of each parameter, see :mod:`mtpeft.models.components`."""
        return {'projections': [name for name, _ in self.named_parameters()]}
