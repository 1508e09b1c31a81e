"""One head a task."""

from collections.abc import Mapping, Sequence

from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from mtpeft.models.build import build_module, resolve
from mtpeft.models.decoders.mmseg_heads import build_mmseg_head, is_mmseg_head
from mtpeft.registry import MODELS
from mtpeft.structures.levels import Features, by_task
from mtpeft.tasks import DenseTask, TaskSpec, build_tasks
from mtpeft.utils.kinds import Part
from mtpeft.utils.requested import requested_tasks
from mtpeft.utils.suggest import hint


@MODELS.register_module()
class MultiHeadDecoder(BaseModule):
    """A head for each task, of mtpeft or any decode head of mmsegmentation.

    A head of mtpeft is a module built with ``in_channels`` and ``out_channels`` that maps levels
    to logits. An mmseg head (``type='mmseg.UPerHead'``) gets its ``num_classes``,
    ``out_channels``, ``in_channels`` and ``in_index`` from the task and the levels unless the
    config sets them; its own loss is taken out (the task's is used), and parameters that do not
    reach its logits are frozen.

    Args:
        tasks: The model's tasks.
        in_channels: Widths of the levels.
        head: Config of every head.
        heads: Changes to ``head`` by task; with a ``type`` of its own an entry stands alone.
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        KeyError: ``heads`` names a task the model does not have.
        ValueError: a task has no head, or its head does not fit the levels.

    Example:
        >>> import torch
        >>> decoder = MultiHeadDecoder(
        ...     tasks=['sal', 'depth'], in_channels=(4, 8), head=dict(type='HRNetHead'),
        ...     heads=dict(depth=dict(type='mmseg.FCNHead', channels=4, num_convs=1)))
        >>> logits = decoder((torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)))
        >>> {name: tuple(x.shape) for name, x in logits.items()}
        {'sal': (2, 1, 8, 8), 'depth': (2, 1, 4, 4)}
    """

    def __init__(
        self,
        tasks: TaskSpec,
        in_channels: Sequence[int],
        head: Part | None = None,
        heads: Mapping[str, Part] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        tasks = build_tasks(tasks)
        changes = dict(heads or {})
        for name in changes:
            if name not in tasks:
                raise KeyError(f"There is a head for '{name}', which is no task. "
                               + hint(name, tasks))  # fmt: skip
        self.heads = ModuleDict(
            {
                name: _build_head(_head_cfg(name, head, changes.get(name)), task, in_channels)
                for name, task in tasks.items()
            }
        )

    @classmethod
    def of(cls, heads: Mapping[str, nn.Module]) -> 'MultiHeadDecoder':
        """A decoder of heads that are built, by task."""
        decoder = cls.__new__(cls)
        BaseModule.__init__(decoder)
        decoder.heads = ModuleDict(heads)
        return decoder

    def forward(
        self, features: Features, tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:  # fmt: skip
        """Logits ``(B, channels, h, w)`` by task, at the resolution of each head.

        Args:
            features: A tuple of levels ``(B, C, H, W)`` shared by all tasks, or one a task.
            tasks: Names of the tasks that are wanted, all by default.
        """
        streams = by_task(features, requested_tasks(tasks, self.heads))
        return {name: self.heads[name](levels) for name, levels in streams.items()}

    def parameter_components(self) -> dict[str, list[str]]:
        """Component of each parameter, see :mod:`mtpeft.models.components`."""
        return {'heads': [name for name, _ in self.named_parameters()]}


def _head_cfg(name: str, template: Mapping | None, change: Mapping | None) -> dict:
    template, change = dict(template or {}), dict(change or {})
    alone = 'type' in change and change['type'] != template.get('type')
    cfg = change if alone else {**template, **change}
    if 'type' not in cfg:
        raise ValueError(
            f"Task '{name}' has no head: set `head` (for all tasks) or `heads['{name}']` to a "
            "config with a type, such as dict(type='HRNetHead')."
        )
    return cfg


def _build_head(cfg: dict, task: DenseTask, in_channels: Sequence[int]) -> nn.Module:
    if is_mmseg_head(resolve(cfg)):
        return build_mmseg_head(cfg, task, in_channels)
    return build_module(cfg, in_channels=tuple(in_channels), out_channels=task.channels)
