"""A random window."""

import numpy as np
from mmcv.transforms import BaseTransform

from mtpeft.registry import TRANSFORMS
from mtpeft.transforms.resample import map_labels, set_image
from mtpeft.transforms.sizes import height_width
from mtpeft.utils.kinds import Size


@TRANSFORMS.register_module()
class MTRandomCrop(BaseTransform):
    """Crop the same random window from the picture and every label.

    A side shorter than the window is kept whole (``MTPad`` brings it to size).

    Args:
        size: ``(height, width)`` of the window, or one number for both.

    Raises:
        ValueError: ``size`` is not positive.

    Example:
        >>> import numpy as np
        >>> results = dict(img=np.zeros((8, 8, 3), np.uint8), tasks={}, labels={})
        >>> MTRandomCrop(size=(4, 6))(results)['img_shape']
        (4, 6)
    """

    def __init__(self, size: Size | tuple[Size, Size]) -> None:
        self.size = height_width(size)

    def transform(self, results: dict) -> dict:
        window = []
        for length, wanted in zip(results['img'].shape[:2], self.size, strict=True):
            start = np.random.randint(max(length - wanted, 0) + 1)
            window.append(slice(start, start + wanted))
        window = tuple(window)
        set_image(results, results['img'][window])
        map_labels(results, lambda label, task: label[window])
        return results

    def __repr__(self) -> str:
        return f'MTRandomCrop(size={self.size})'
