"""What a dense prediction task is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mtpeft.registry import TASKS
from mtpeft.utils.kinds import Loss, Metric, NotNegative, Size
from mtpeft.utils.suggest import hint
from mtpeft.utils.unit_vectors import unit_vectors

_KINDS: dict[str, dict[str, Any]] = {
    'classes': dict(ignore_value=255, activation='argmax', interpolation='nearest'),
    'binary': dict(ignore_value=255, activation='sigmoid', interpolation='nearest'),
    'values': dict(ignore_value=0.0, activation='none', interpolation='linear'),
    'vectors': dict(ignore_value=0.0, activation='normalize', interpolation='linear'),
}
INTERPOLATIONS = ('nearest', 'linear')
_CHOICES = {
    'kind': tuple(_KINDS),
    'activation': ('argmax', 'sigmoid', 'normalize', 'none'),
    'interpolation': INTERPOLATIONS,
    'hflip': ('keep', 'negate_x'),
    'rotation': ('keep', 'turn_vectors'),
    'scaling': ('keep', 'divide'),
}


@TASKS.register_module()
@dataclass(frozen=True)
class DenseTask:
    """One dense task: how its label looks, what predicts it, and how it is judged.

    Labels are arrays ``(H, W)`` (``classes``, ``binary``, one-channel ``values``) or ``(H, W, C)``
    (``vectors``, other ``values``) in the data pipeline and tensors ``(C, H, W)`` in a sample. A
    pixel is invalid where every channel equals ``ignore_value`` (or is not finite).

    Args:
        name: The task's name, the key of its predictions, losses and metrics.
        kind: ``'classes'`` (one class index a pixel), ``'binary'`` (0 or 1), ``'values'`` (real
            numbers, such as metres) or ``'vectors'`` (unit vectors).
        channels: Output channels of the head (the number of classes, 1 for ``binary``).
        loss: Config of the loss, built from ``MODELS``.
        metric: Config of the metric, built from ``METRICS``.
        headline: The metric's value that enters Delta_m, e.g. ``'mIoU'``.
        lower_is_better: Direction of ``headline``.
        loss_weight: Weight of the loss in the sum.
        label_key: Name under which a data set provides the label. Default: ``name``.
        ignore_value: Value of invalid pixels; padding uses it too. Default by kind: 255 for
            ``classes`` (65535 for more than 255 of them) and ``binary``, 0 for ``values`` and
            ``vectors``.
        activation: Logits to prediction: ``'argmax'``, ``'sigmoid'``, ``'normalize'`` (unit
            length) or ``'none'``. Default by kind.
        interpolation: How labels are resized: ``'nearest'`` or ``'linear'`` (over valid pixels
            only). Default by kind.
        hflip: What a horizontal flip does to the values: ``'keep'`` or ``'negate_x'`` (channel 0
            changes sign).
        rotation: ``'keep'`` or ``'turn_vectors'`` (channels 0 and 1 turn with the picture).
        scaling: What enlarging the picture by s does to the values: ``'keep'`` or ``'divide'``
            (an object that looks s times larger is s times nearer).
        classes: Class names, ``channels`` of them.
        palette: RGB colour of each class.
        lines: Are the 1 of a ``binary`` task thin lines? They are drawn dark on white.
        unit: Unit of the values, for reports, e.g. ``'m'``.

    Raises:
        ValueError: an option has a value outside its choices.

    Example:
        >>> shading = DenseTask(name='shading', kind='values', channels=1,
        ...                     loss=dict(type='MaskedL1Loss'), metric=dict(type='DepthMetric'),
        ...                     headline='rmse', lower_is_better=True)
        >>> shading.activation
        'none'
    """

    name: str
    kind: Literal['classes', 'binary', 'values', 'vectors']
    channels: Size
    loss: Loss
    metric: Metric
    headline: str
    lower_is_better: bool
    loss_weight: NotNegative = 1.0
    label_key: str | None = None
    ignore_value: float | None = None
    activation: Literal['argmax', 'sigmoid', 'normalize', 'none'] | None = None
    interpolation: Literal['nearest', 'linear'] | None = None
    hflip: Literal['keep', 'negate_x'] = 'keep'
    rotation: Literal['keep', 'turn_vectors'] = 'keep'
    scaling: Literal['keep', 'divide'] = 'keep'
    classes: Sequence[str] | None = None
    palette: Sequence[Sequence[int]] | None = field(default=None, repr=False)
    lines: bool = False
    unit: str = ''

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(
                f"Task '{self.name}': kind='{self.kind}' is unknown. " + hint(self.kind, _KINDS)
            )
        defaults = {'label_key': self.name, **_KINDS[self.kind]}
        if self.kind == 'classes' and isinstance(self.channels, int) and self.channels > 255:
            defaults['ignore_value'] = 65535  # 255 is a class
        for key, value in defaults.items():
            if getattr(self, key) is None:
                object.__setattr__(self, key, value)
        for key, choices in _CHOICES.items():
            value = getattr(self, key)
            if value not in choices:
                raise ValueError(
                    f"Task '{self.name}': {key}='{value}' is unknown. " + hint(str(value), choices)
                )
        if not isinstance(self.channels, int) or self.channels < 1:
            raise ValueError(
                f"Task '{self.name}': expected channels to be a positive integer, "
                f'got {self.channels!r}.'
            )
        for key in ('classes', 'palette'):
            value = getattr(self, key)
            if value is not None and len(value) != self.channels:
                raise ValueError(
                    f"Task '{self.name}': {key} has {len(value)} entries for "
                    f'{self.channels} channels.'
                )

    @property
    def label_channels(self) -> int:
        """Channels of the label: 1 for class indices, else as many as the head's."""
        return 1 if self.kind in ('classes', 'binary') else self.channels

    def valid(self, label: np.ndarray | Tensor, channel_axis: int | None = None) -> Any:
        """Mask of valid pixels.

        Args:
            label: An array or tensor.
            channel_axis: Axis of the channels, which the mask does not have. ``None``: no axis.

        Returns:
            A boolean array or tensor, ``label``'s shape without ``channel_axis``.
        """
        xp = torch if isinstance(label, Tensor) else np
        bad = label == self.ignore_value
        finite = xp.isfinite(label)
        if channel_axis is not None:
            bad, finite = bad.all(channel_axis), finite.all(channel_axis)
        return ~bad & finite

    def predict(self, logits: Tensor) -> Tensor:
        """Turn logits ``(B, C, H, W)`` into predictions.

        Returns:
            ``(B, 1, H, W)`` class indices (int64), ``(B, 1, H, W)`` probabilities,
            ``(B, C, H, W)`` unit vectors, or the values themselves.
        """
        if self.activation == 'argmax':
            return logits.argmax(1, keepdim=True)
        if self.activation == 'sigmoid':
            return logits.sigmoid()
        if self.activation == 'normalize':
            return unit_vectors(logits)
        return logits
