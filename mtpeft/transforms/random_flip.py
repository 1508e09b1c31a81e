"""Mirror image."""

import numpy as np
from mmcv.transforms import BaseTransform

from mtpeft.registry import TRANSFORMS
from mtpeft.tasks import DenseTask
from mtpeft.transforms.planes import all_finite, mirrored
from mtpeft.transforms.resample import map_labels, set_image
from mtpeft.utils.kinds import Share


@TRANSFORMS.register_module()
class MTRandomFlip(BaseTransform):
    """Flip the picture and every label left to right; normals get the other sign of x.

    Args:
        prob: Probability of a flip.

    Raises:
        ValueError: ``prob`` is outside ``[0, 1]``.

    Example:
        >>> import numpy as np
        >>> from mtpeft.tasks import build_tasks
        >>> normals = np.zeros((1, 2, 3), np.float32)
        >>> normals[0, 0] = (.6, 0, -.8)
        >>> results = dict(img=np.zeros((1, 2, 3), np.uint8), tasks=build_tasks(['normals']),
        ...                labels=dict(normals=normals))
        >>> MTRandomFlip(prob=1.)(results)['labels']['normals'][0, 1].round(1).tolist()
        [-0.6..., 0.0, -0.8...]
    """

    def __init__(self, prob: Share = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'Expected prob to be between 0 and 1, got {prob!r}.')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        results['flip'] = bool(np.random.rand() < self.prob)
        if results['flip']:
            set_image(results, mirrored(results['img']))
            map_labels(results, _flip)
        return results

    def __repr__(self) -> str:
        return f'MTRandomFlip(prob={self.prob})'


def _flip(label: np.ndarray, task: DenseTask) -> np.ndarray:
    flipped = mirrored(label)
    if task.hflip == 'negate_x':
        x = flipped[..., 0]
        if task.ignore_value == 0 and all_finite(x):
            np.negative(x, out=x)  # an invalid 0 stays one
        else:
            np.negative(x, out=x, where=task.valid(flipped, -1))
    return flipped
