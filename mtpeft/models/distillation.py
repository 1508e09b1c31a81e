"""A model whose backbone also learns the features of a frozen network: pretraining."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mtpeft.models.build import build_module
from mtpeft.models.data_preprocessor import pad
from mtpeft.models.multi_task_model import MultiTaskModel
from mtpeft.registry import MODELS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.structures.levels import resize
from mtpeft.utils.kinds import NotNegative, Part, Positive

_LAST = torch.channels_last


@MODELS.register_module()
class DistilledModel(MultiTaskModel):
    """A :class:`MultiTaskModel` whose backbone also learns the levels of a frozen teacher.

    With level ``i`` of the student ``s`` and of the teacher ``t``, both ``(B, C, H, W)``, and the
    mean ``m`` and the deviation ``d`` of each channel of ``t`` over all batches so far::

        loss_distill_i = distill_weights[i] * mean smooth_l1(P_i s, (t - m) / d)

    ``P_i`` is a 1x1 convolution. These losses are added to those of the tasks. What the backbone
    learns is all that is kept of it: predictions need no teacher.

    Args:
        teacher: Config of the teacher, an ``AdapterBackbone`` or what has ``out_channels`` as it
            has. It is frozen and in eval mode, and sees the pictures that the student sees.
        teacher_mean: Mean of R, G, B of values 0 to 255 that the teacher's pictures are normalised
            with (in the order that the ``data_preprocessor`` gives).
        teacher_std: Standard deviation, likewise.
        distill_weights: Weight of each level.
        **kwargs: Options of :class:`MultiTaskModel`.

    Raises:
        ValueError: the backbone has task lanes, so that no single stream could learn; student,
            teacher and ``distill_weights`` have different numbers of levels.

    Example:
        >>> def net(name):
        ...     return dict(type='AdapterBackbone', backbone=dict(type=name), freeze=False)
        >>> model = DistilledModel(
        ...     tasks=['sal'],
        ...     backbone=net('timm.test_convnext'), teacher=net('timm.test_convnext2'),
        ...     necks=[dict(type='ProjectionNeck', out_channels=(2, 2, 2, 2))],
        ...     decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=4)))
        >>> sample = MultiTaskDataSample()
        >>> sample.set_gt('sal', torch.ones(1, 64, 64).long())
        >>> [name for name in model.loss(torch.rand(1, 3, 64, 64), [sample]) if 'loss' in name]
        ['loss_sal', 'loss_distill_0', 'loss_distill_1', 'loss_distill_2', 'loss_distill_3']
    """

    #: levels are learnt as they are, so none may come without its linear map
    _joining: Mapping[str, bool] = {}

    def __init__(
        self,
        teacher: Part | nn.Module,
        teacher_mean: tuple[NotNegative, NotNegative, NotNegative] = (123.675, 116.28, 103.53),
        teacher_std: tuple[Positive, Positive, Positive] = (58.395, 57.12, 57.375),
        distill_weights: Sequence[NotNegative] = (1.0, 1.0, 1.0, 1.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if getattr(self.backbone, 'lanes', None):
            raise ValueError(
                'Expected a backbone of one stream, got one with task lanes. Distil into the plain '
                "network first: leave out plugins with lanes='task'."
            )
        # (channels last is a quarter faster for convolutions in bfloat16 on a CPU)
        self.teacher = build_module(teacher).requires_grad_(False).eval().to(memory_format=_LAST)
        self.matching = LevelMatching(
            self.backbone.out_channels, self.teacher.out_channels, distill_weights
        )
        preprocessor = self.data_preprocessor
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (teacher_mean, teacher_std))
        # x * std_s + mean_s are values of 0 to 255 again
        self.register_buffer('_gain', preprocessor.std / std, persistent=False)
        self.register_buffer('_shift', (preprocessor.mean - mean) / std, persistent=False)

    def train(self, mode: bool = True) -> 'DistilledModel':
        """Training mode; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(
        self, inputs: Tensor, data_samples: Sequence[MultiTaskDataSample]
    ) -> dict[str, Tensor]:
        """Losses of the tasks, see :meth:`MultiTaskModel.loss`, and ``loss_distill_<level>``."""
        seen: list[Any] = []
        handle = self.backbone.register_forward_hook(lambda *call: seen.append(call[-1]))
        try:
            losses = super().loss(inputs, data_samples)
        finally:
            handle.remove()
        levels = seen[0]
        if isinstance(levels, Mapping):
            levels = next(iter(levels.values()))
        matched = self.matching(levels, self._targets(inputs))
        return losses | {f'loss_distill_{i}': value for i, value in enumerate(matched)}

    @torch.no_grad()
    def _targets(self, inputs: Tensor) -> Sequence[Tensor]:
        x = pad(inputs, self._padded(inputs.shape[-2:])) * self._gain + self._shift
        return self.teacher(x.contiguous(memory_format=_LAST))


class LevelMatching(BaseModule):
    """Smooth L1 distance of each level, projected, to the teacher's, of unit variance a channel.

    Args:
        in_channels: Widths of the student's levels.
        out_channels: Widths of the teacher's.
        weights: Weights of the levels.

    Raises:
        ValueError: their numbers differ.

    Example:
        >>> match = LevelMatching((2, 4), (3, 5), (1., 2.))
        >>> s, t = [[torch.rand(2, c, 4, 4) for c in widths] for widths in ((2, 4), (3, 5))]
        >>> len(match(s, t))
        2
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: Sequence[int], weights: Sequence[float]
    ) -> None:
        super().__init__()
        if not len(in_channels) == len(out_channels) == len(weights):
            raise ValueError(
                f'Expected as many levels of the student ({tuple(in_channels)} channels) as of the '
                f'teacher ({tuple(out_channels)}) and distill_weights ({tuple(weights)}).'
            )
        self.weights = tuple(weights)
        self.proj = ModuleList(
            nn.Conv2d(i, o, 1) for i, o in zip(in_channels, out_channels, strict=True)
        )
        self.statistics = ModuleList(_Standardise(o) for o in out_channels)

    def forward(self, levels: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
        """Weighted losses of levels ``(B, C_i, H_i, W_i)``; the student's size decides."""
        parts = zip(self.weights, self.proj, self.statistics, levels, targets, strict=True)
        return [
            weight * F.smooth_l1_loss(proj(x).float(), standardise(resize(t, x.shape[-2:])))
            for weight, proj, standardise, x, t in parts
        ]

    def parameter_components(self) -> dict[str, list[str]]:
        """Component of each parameter, see :mod:`mtpeft.models.components`."""
        return {'distillation': [name for name, _ in self.named_parameters()]}


class _Standardise(nn.BatchNorm2d):
    """Mean 0 and variance 1 a channel by the statistics of all batches so far, in float32.

    Those of a batch alone vary with it where a level has few pixels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False, momentum=None)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        if self.training:
            super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, eps=self.eps)
