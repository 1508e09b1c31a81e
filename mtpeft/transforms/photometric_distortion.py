"""Another light."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mtpeft.registry import TRANSFORMS
from mtpeft.utils.kinds import NotNegative


@TRANSFORMS.register_module()
class MTPhotometricDistortion(BaseTransform):
    """Change brightness, contrast, saturation and hue of the picture, each with probability 1/2.

    Computed in floating point; the result is rounded and clipped once, so no value wraps around.
    Labels stay as they are, and so do channels behind the third.

    Args:
        brightness: Largest change, in levels of 0..255.
        contrast: Lowest and highest factor about the picture's mean.
        saturation: Lowest and highest factor.
        hue: Largest turn in degrees.

    Raises:
        ValueError: a range is not ``(low, high)`` of non-negative numbers.

    Example:
        >>> import numpy as np
        >>> results = dict(img=np.full((4, 4, 3), 200, np.uint8), tasks={}, labels={})
        >>> MTPhotometricDistortion(brightness=32)(results)['img'].dtype
        dtype('uint8')
    """

    def __init__(
        self,
        brightness: NotNegative = 32.0,
        contrast: tuple[NotNegative, NotNegative] = (0.5, 1.5),
        saturation: tuple[NotNegative, NotNegative] = (0.5, 1.5),
        hue: NotNegative = 18.0,
    ) -> None:
        for name, pair in (('contrast', contrast), ('saturation', saturation)):
            if len(pair) != 2 or not 0 <= pair[0] <= pair[1]:
                raise ValueError(f'Expected {name} to be (low, high), 0 <= low, got {pair!r}.')
        for name, value in (('brightness', brightness), ('hue', hue)):
            if value < 0:
                raise ValueError(f'Expected {name} to be at least 0, got {value!r}.')
        self.brightness = brightness
        self.contrast = tuple(contrast)
        self.saturation = tuple(saturation)
        self.hue = hue

    def transform(self, results: dict) -> dict:
        given = results['img']
        if given.shape[2] < 3:
            raise ValueError(f'Expected a picture in colours, got {given.shape[2]} channels.')
        img = given[..., :3].astype(np.float32) / 255
        use = np.random.randint(2, size=4).astype(bool)
        if use[0]:
            img = img + np.random.uniform(-self.brightness, self.brightness) / 255
        if use[1]:
            img = (img - img.mean()) * np.random.uniform(*self.contrast) + img.mean()
        if use[2] or use[3]:
            hsv = cv2.cvtColor(np.clip(img, 0, 1).astype(np.float32), cv2.COLOR_BGR2HSV)
            if use[2]:
                hsv[..., 1] = np.clip(hsv[..., 1] * np.random.uniform(*self.saturation), 0, 1)
            if use[3]:
                hsv[..., 0] = (hsv[..., 0] + np.random.uniform(-self.hue, self.hue)) % 360
            img = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        changed = np.clip(np.rint(img * 255), 0, 255).astype(given.dtype)
        further = given[..., 3:]
        results['img'] = np.concatenate([changed, further], -1) if further.size else changed
        return results

    def __repr__(self) -> str:
        return (
            f'MTPhotometricDistortion(brightness={self.brightness}, contrast={self.contrast}, '
            f'saturation={self.saturation}, hue={self.hue})'
        )
