"""NYUD's augmentation."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mtpeft.registry import TRANSFORMS
from mtpeft.tasks import DenseTask
from mtpeft.transforms.resample import (
    PICTURE_MODES,
    map_labels,
    resize_label,
    scale_values,
    set_image,
)
from mtpeft.transforms.resize import check_mode
from mtpeft.utils.kinds import Positive


@TRANSFORMS.register_module()
class MTRandomScaleCrop(BaseTransform):
    """Enlarge by one of ``scales``, then crop a window of the old size.

    Depth is divided by the scale: what looks s times larger is s times nearer to the same camera.
    The scales are those of MTLoRA's released code (arXiv 2403.20320) for NYUD, which crops the
    middle always (``window='centre'``) and samples by cubic interpolation (docs/protocol.md).

    Args:
        scales: The enlargements to choose from, each at least 1.
        window: Where the window is: ``'random'``, or at the ``'centre'``.
        interpolation: How the picture is sampled: ``'linear'`` or ``'cubic'``.

    Raises:
        ValueError: there is no scale, or one below 1 (the window would not fit); ``window`` or
            ``interpolation`` is unknown.

    Example:
        >>> import numpy as np
        >>> from mtpeft.tasks import build_tasks
        >>> results = dict(img=np.zeros((4, 6, 3), np.uint8), tasks=build_tasks(['depth']),
        ...                labels=dict(depth=np.full((4, 6), 3., np.float32)))
        >>> float(MTRandomScaleCrop(scales=(1.5,))(results)['labels']['depth'][0, 0])
        2.0
    """

    def __init__(
        self,
        scales: Sequence[Positive] = (1.0, 1.2, 1.5),
        window: Literal['random', 'centre'] = 'random',
        interpolation: Literal['linear', 'cubic'] = 'linear',
    ) -> None:
        check_mode('window', window, ('random', 'centre'))
        check_mode('interpolation', interpolation, ('linear', 'cubic'))
        if not scales or min(scales) < 1:
            raise ValueError(f'Expected scales of at least 1, got {scales!r}.')
        self.scales = tuple(scales)
        self.window = window
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        scale = self.scales[np.random.randint(len(self.scales))]
        size = round(height * scale), round(width * scale)
        top, left = (self._first(room) for room in (size[0] - height, size[1] - width))
        window = slice(top, top + height), slice(left, left + width)

        def enlarge(label: np.ndarray, task: DenseTask) -> np.ndarray:
            return scale_values(resize_label(label, task, size)[window], task, scale)

        mode = PICTURE_MODES[self.interpolation]
        large = cv2.resize(results['img'], size[::-1], interpolation=mode).reshape(*size, -1)
        set_image(results, large[window])
        map_labels(results, enlarge)
        return results

    def _first(self, room: int) -> int:
        return room // 2 if self.window == 'centre' else np.random.randint(room + 1)

    def __repr__(self) -> str:
        return f'MTRandomScaleCrop(scales={self.scales})'
