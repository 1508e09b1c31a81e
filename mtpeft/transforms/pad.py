"""More pixels, without content."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mtpeft.registry import TRANSFORMS
from mtpeft.transforms.resample import map_labels, pad_label
from mtpeft.transforms.sizes import height_width
from mtpeft.utils.kinds import Size


@TRANSFORMS.register_module()
class MTPad(BaseTransform):
    """Pad right and bottom: the picture with a constant, a label with its task's ignore value.

    Args:
        size: At least ``(height, width)``, or one number for both.
        divisor: Sides become multiples of it.
        img_fill: Value of the picture there, one number or one a channel (BGR).

    Raises:
        ValueError: neither ``size`` nor ``divisor`` is given, or one is not positive.

    Example:
        >>> import numpy as np
        >>> results = dict(img=np.zeros((50, 100, 3), np.uint8), tasks={}, labels={})
        >>> MTPad(divisor=32)(results)['img_shape']
        (64, 128)
    """

    def __init__(
        self,
        size: Size | tuple[Size, Size] | None = None,
        divisor: Size | None = None,
        img_fill: float | Sequence[float] = 0,
    ) -> None:
        if size is None and divisor is None:
            raise ValueError('Expected size or divisor, got neither.')
        if divisor is not None and divisor < 1:
            raise ValueError(f'Expected divisor to be a positive integer, got {divisor!r}.')
        self.size = (0, 0) if size is None else height_width(size)
        self.divisor = divisor or 1
        self.img_fill = img_fill

    def transform(self, results: dict) -> dict:
        img = results['img']
        target = [max(a, b) for a, b in zip(img.shape[:2], self.size, strict=True)]
        target = tuple(-(-side // self.divisor) * self.divisor for side in target)
        bottom, right = target[0] - img.shape[0], target[1] - img.shape[1]
        padded = np.empty((*target, *img.shape[2:]), img.dtype)
        padded[:] = self.img_fill
        padded[: img.shape[0], : img.shape[1]] = img
        results['img'], results['img_shape'] = padded, target
        map_labels(results, lambda label, task: pad_label(label, task, bottom, right))
        return results

    def __repr__(self) -> str:
        return f'MTPad(size={self.size}, divisor={self.divisor})'
