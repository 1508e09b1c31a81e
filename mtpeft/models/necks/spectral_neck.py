"""What the necks of TS-PD have in common: streams in, checked, and streams out."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mtpeft.models.necks.spectra import full_precision
from mtpeft.structures.levels import Features, Levels, by_task
from mtpeft.tasks import TaskSpec, build_tasks
from mtpeft.utils.requested import requested_tasks
from mtpeft.utils.suggest import hint

#: Name of the only stream of a neck without tasks.
SHARED = 'shared'

Streams = dict[str, tuple[Tensor, ...]]


class SpectralNeck(BaseModule):
    """A neck that works on the spectra of its features, in float32 also under autocast.

    With tasks it takes a tuple shared by them or a dict of levels by task, and gives such a dict.
    Without tasks it takes and gives a plain tuple, as mmseg's necks do. The results have the
    types and shapes of the features.

    Args:
        in_channels: Widths of the levels.
        tasks: The model's tasks, ``None``: one stream.
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        ValueError: a width is not a positive integer, or there is none.

    Attributes:
        streams (tuple[str, ...]): Names of the tasks, or ``('shared',)``.
        out_channels (tuple[int, ...]): Widths of the levels, which do not change.
    """

    #: a task's levels are made of the other tasks' too
    reads_others = False

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: TaskSpec | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not in_channels or not all(isinstance(c, int) and c > 0 for c in in_channels):
            raise ValueError(
                'Expected `in_channels` to be the widths of the levels, positive integers, got '
                f'{in_channels}.'
            )
        self.has_tasks = tasks is not None
        self.streams = (SHARED,) if tasks is None else tuple(build_tasks(tasks))
        self.out_channels = tuple(in_channels)

    def transform(self, streams: Streams) -> Streams:
        """New levels ``(B, C, H, W)`` by stream, of float32 or float64 ones."""
        raise NotImplementedError

    def streams_for(self, tasks: Sequence[str]) -> tuple[str, ...]:
        """Whose streams the neck reads to give those of ``tasks``."""
        return self.streams if self.reads_others else tuple(tasks)

    def forward(
        self, features: Features, tasks: Sequence[str] | None = None
    ) -> Streams | tuple[Tensor, ...]:
        """Levels ``(B, C, H, W)``, of any height and width.

        Args:
            features: A tuple of levels shared by all tasks, or one a task.
            tasks: Names of the tasks that are wanted, all by default. A neck without tasks has
                one stream, whatever is wanted.

        Returns:
            Levels by task; a tuple of levels where the neck has no tasks.

        Raises:
            KeyError: there is no stream for a task, or one for an unknown task.
            TypeError: the neck has no tasks and the features have.
            ValueError: the number of levels, or a level's shape, is not what the neck expects.
        """
        wanted = requested_tasks(tasks if self.has_tasks else None, self.streams, 'The neck')
        streams = self._checked(features, self.streams_for(wanted))
        device = streams[wanted[0]][0].device.type
        # what is rounded in a spectrum is seen in every pixel
        with torch.autocast(device, enabled=False):
            out = self.transform(
                {name: tuple(map(full_precision, levels)) for name, levels in streams.items()}
            )
        out = {
            name: tuple(y.to(x.dtype) for y, x in zip(out[name], streams[name], strict=True))
            for name in wanted
        }
        return out if self.has_tasks else out[SHARED]

    def parameter_components(self) -> dict[str, list[str]]:
        """Component of each parameter, see :mod:`mtpeft.models.components`."""
        return {'ts_pd': [name for name, _ in self.named_parameters()]}

    def _checked(self, features: Features, wanted: Sequence[str]) -> dict[str, Levels]:
        name = type(self).__name__
        if isinstance(features, Mapping):
            if not self.has_tasks:
                raise TypeError(
                    f'{name} was built without tasks and expects a tuple of levels, got streams of '
                    f'{", ".join(features)}. Give it `tasks`.'
                )
            for task in features:
                if task not in self.streams:
                    raise KeyError(
                        f"The features have a stream of '{task}', which is none of {name}'s tasks. "
                        + hint(task, self.streams)
                    )
        streams = by_task(features, wanted)
        for task, levels in streams.items():
            self._check_levels(task, levels)
        return streams

    def _check_levels(self, task: str, levels: Levels) -> None:
        name, widths = type(self).__name__, self.out_channels
        if len(levels) != len(widths):
            raise ValueError(
                f"{name} expected {len(widths)} levels for task '{task}', got {len(levels)}. Set "
                '`in_channels` to the widths of the levels, one each.'
            )
        for i, (x, width) in enumerate(zip(levels, widths, strict=True)):
            if x.ndim != 4 or x.shape[1] != width:
                raise ValueError(
                    f"{name} expected (B, {width}, H, W) at level {i} of task '{task}', got "
                    f'{tuple(x.shape)}. `in_channels` is {widths}.'
                )
