"""Another size in pixels."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mtpeft.registry import TRANSFORMS
from mtpeft.tasks import DenseTask
from mtpeft.tasks.dense_task import INTERPOLATIONS
from mtpeft.transforms.resample import (
    NEAREST_MODES,
    PICTURE_MODES,
    map_labels,
    resize_label,
    set_image,
)
from mtpeft.transforms.sizes import height_width
from mtpeft.utils.kinds import Size
from mtpeft.utils.suggest import hint


@TRANSFORMS.register_module()
class MTResize(BaseTransform):
    """Resize the picture and every label. The scene stays: depth in metres does not change.

    Args:
        size: ``(height, width)``, or one number for both.
        keep_ratio: Keep the aspect ratio: the largest size that fits into ``size``.
        interpolation: How the picture is sampled: ``'linear'``, ``'cubic'`` or ``'area'``. Labels
            follow their task.
        labels: Whether labels are resized too. ``False`` evaluates at the labels' own size.
        label_interpolation: ``'nearest'`` or ``'linear'`` by name of a task, where it is not that
            of the task. Evaluation of depth is by ``'nearest'``: every label is then a measured
            one, while a linear one at a rim lies between two surfaces, where a network that blurs
            is right.
        nearest: Which pixel is the nearest one: that whose ``'centre'`` is, or, as OpenCV's
            ``INTER_NEAREST`` and with it released code counts, that whose upper left ``'corner'``
            is. The second moves labels to the right and down by up to half a pixel against the
            picture (docs/protocol.md).

    Raises:
        ValueError: ``size`` is not positive, or an interpolation or ``nearest`` unknown.

    Example:
        >>> import numpy as np
        >>> results = dict(img=np.zeros((50, 100, 3), np.uint8), tasks={}, labels={})
        >>> MTResize(size=(64, 64), keep_ratio=True)(results)['img_shape']
        (32, 64)
    """

    def __init__(
        self,
        size: Size | tuple[Size, Size],
        keep_ratio: bool = False,
        interpolation: Literal['linear', 'cubic', 'area'] = 'linear',
        labels: bool = True,
        label_interpolation: Mapping[str, Literal['nearest', 'linear']] | None = None,
        nearest: Literal['centre', 'corner'] = 'centre',
    ) -> None:
        check_mode('interpolation', interpolation, PICTURE_MODES)
        check_mode('nearest', nearest, NEAREST_MODES)
        self.label_interpolation = dict(label_interpolation or {})
        for name, mode in self.label_interpolation.items():
            if mode not in INTERPOLATIONS:
                raise ValueError(
                    f"label_interpolation['{name}']='{mode}' is unknown. "
                    + hint(str(mode), INTERPOLATIONS)
                )
        self.size = height_width(size)
        self.keep_ratio = keep_ratio
        self.interpolation = interpolation
        self.labels = labels
        self.nearest = nearest

    def transform(self, results: dict) -> dict:
        img = results['img']
        size = self._target(*img.shape[:2])
        if img.shape[:2] != size:
            # OpenCV saturates when it casts back to uint8: cubic overshoot does not wrap
            resized = cv2.resize(img, size[::-1], interpolation=PICTURE_MODES[self.interpolation])
            # (OpenCV drops the axis of one channel)
            img = resized.reshape(*size, img.shape[2])
        set_image(results, img)
        if self.labels:
            map_labels(results, lambda label, task: self._resized(label, task, size))
        return results

    def _resized(self, label: np.ndarray, task: DenseTask, size: tuple[int, int]) -> np.ndarray:
        mode = self.label_interpolation.get(task.name, task.interpolation)
        if mode != task.interpolation:
            task = dataclasses.replace(task, interpolation=mode)
        return resize_label(label, task, size, self.nearest)

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if not self.keep_ratio:
            return self.size
        scale = min(self.size[0] / height, self.size[1] / width)
        return max(round(height * scale), 1), max(round(width * scale), 1)

    def __repr__(self) -> str:
        return f'MTResize(size={self.size}, keep_ratio={self.keep_ratio})'


def check_mode(name: str, value: str, known: Collection[str]) -> None:
    """Raise ``ValueError`` where ``value`` is none of an option's ``known`` ones."""
    if value not in known:
        raise ValueError(f"{name}='{value}' is unknown. " + hint(str(value), known))
