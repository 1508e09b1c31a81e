"""PASCAL-Context's augmentation."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mtpeft.registry import TRANSFORMS
from mtpeft.transforms.resample import PICTURE_MODES, map_labels, set_image, warp_label
from mtpeft.transforms.resize import check_mode
from mtpeft.utils.kinds import Positive

_OUTSIDE = {'ignore': None, 'zero': 0}


@TRANSFORMS.register_module()
class MTRandomScaleRotate(BaseTransform):
    """Turn and enlarge about the picture's centre; the size stays.

    The angle and the scale are uniform in their ranges (a positive angle turns counter-clockwise).
    Normals turn with the picture, depth is divided by the scale. What comes from outside the
    picture is ``img_fill``, and invalid in every label. Angles and scales are those of MTLoRA's
    released code (arXiv 2403.20320) for PASCAL-Context, which differs in the labels outside and in
    how it samples: ``outside='zero'``, ``interpolation='cubic'`` (docs/protocol.md).

    Args:
        angles: Lowest and highest angle in degrees.
        scales: Lowest and highest enlargement.
        img_fill: Value of the picture outside, one number or one a channel (BGR).
        outside: What labels of classes and of 0 or 1 are outside the picture: ``'ignore'``, or
            ``'zero'``, which is background, no object, no edge. Values and vectors are invalid
            there in any case.
        interpolation: How the picture is sampled: ``'linear'`` or ``'cubic'``.

    Raises:
        ValueError: a range is not ``(low, high)``, a scale is not positive, or ``outside`` or
            ``interpolation`` is unknown.

    Example:
        >>> import numpy as np
        >>> results = dict(img=np.zeros((8, 8, 3), np.uint8), tasks={}, labels={})
        >>> MTRandomScaleRotate(angles=(-20, 20), scales=(.75, 1.25))(results)['img'].shape
        (8, 8, 3)
    """

    def __init__(
        self,
        angles: tuple[float, float] = (-20.0, 20.0),
        scales: tuple[Positive, Positive] = (0.75, 1.25),
        img_fill: float | Sequence[float] = 0,
        outside: Literal['ignore', 'zero'] = 'ignore',
        interpolation: Literal['linear', 'cubic'] = 'linear',
    ) -> None:
        check_mode('outside', outside, _OUTSIDE)
        check_mode('interpolation', interpolation, ('linear', 'cubic'))
        for name, pair in (('angles', angles), ('scales', scales)):
            if len(pair) != 2 or pair[0] > pair[1]:
                raise ValueError(f'Expected {name} to be (low, high), got {pair!r}.')
        if scales[0] <= 0:
            raise ValueError(f'Expected positive scales, got {scales!r}.')
        self.angles = tuple(angles)
        self.scales = tuple(scales)
        self.img_fill = np.atleast_1d(np.asarray(img_fill, float))
        self.outside = outside
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        img = results['img']
        size = img.shape[:2]
        centre = ((size[1] - 1) / 2, (size[0] - 1) / 2)
        angle, scale = np.random.uniform(*self.angles), np.random.uniform(*self.scales)
        matrix = cv2.getRotationMatrix2D(centre, angle, scale)
        warped, fill = self._warped(img, matrix), _OUTSIDE[self.outside]
        set_image(results, warped)
        map_labels(results, lambda label, task: warp_label(label, task, matrix, size, fill))
        return results

    def _warped(self, img: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """The picture moved: colours together, since OpenCV takes no more than four channels."""
        channels, size = img.shape[2], img.shape[1::-1]
        mode = PICTURE_MODES[self.interpolation]
        fill = np.broadcast_to(self.img_fill, channels).tolist()
        colours = 3 if channels >= 3 else 0
        parts = [slice(colours)] * bool(colours)
        parts += [slice(i, i + 1) for i in range(colours, channels)]
        moved = [
            cv2.warpAffine(
                np.ascontiguousarray(img[..., part]), matrix, size, flags=mode,
                borderValue=tuple(fill[part]),
            ).reshape(*img.shape[:2], -1)
            for part in parts
        ]  # fmt: skip
        return moved[0] if len(moved) == 1 else np.concatenate(moved, -1)

    def __repr__(self) -> str:
        return f'MTRandomScaleRotate(angles={self.angles}, scales={self.scales})'
