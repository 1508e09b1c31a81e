"""Which transforms of other packages move the picture and would leave our labels behind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtpeft.registry import TRANSFORMS

_OURS = {
    'RandomFlip': 'MTRandomFlip',
    'RandomRotate': 'MTRandomScaleRotate',
    'RandomRotFlip': 'MTRandomFlip',
    'RandomCrop': 'MTRandomCrop',
    'CenterCrop': 'MTRandomCrop',
    'RandomResize': 'MTRandomScaleCrop',
    'RandomChoiceResize': 'MTRandomScaleCrop',
    'MultiScaleFlipAug': 'MTResize',
}


def build_transforms(pipeline: Sequence[dict | Callable]) -> list[Callable]:
    """Build what a config names, and refuse what would leave labels behind.

    Raises:
        ValueError: see :func:`refuse_geometric`.
    """
    # MMEngine's Compose builds from its own root registry, which knows ours only under a scope
    built = [TRANSFORMS.build(_scoped(t)) if isinstance(t, Mapping) else t for t in pipeline]
    for transform in built:
        refuse_geometric(transform)
    return built


def _scoped(cfg: Mapping) -> dict:
    # under the default scope of another package, our names would be searched there
    ours = cfg.get('type') in TRANSFORMS.module_dict
    return {**cfg, 'type': f'mtpeft.{cfg["type"]}'} if ours else dict(cfg)


def refuse_geometric(transform: Any) -> None:
    """Refuse a foreign transform that moves pixels at random: it does not know our labels.

    Image-only transforms of any package (colour, blur, noise) are welcome; a foreign ``Resize``
    as well, which leaves the labels at their own size on purpose.

    Raises:
        ValueError: naming the transform of this package to use instead.

    Example:
        >>> from mmcv.transforms import RandomFlip
        >>> refuse_geometric(RandomFlip(prob=.5))
        Traceback (most recent call last):
        ValueError: RandomFlip (mmcv) moves the picture but not the labels ... MTRandomFlip ...
    """
    name, package = type(transform).__name__, type(transform).__module__.split('.')[0]
    if package in ('mmcv', 'mmseg', 'mmpretrain', 'mmdet') and name in _OURS:
        raise ValueError(
            f'{name} ({package}) moves the picture but not the labels of the tasks. Use '
            f'{_OURS[name]} instead.'
        )
