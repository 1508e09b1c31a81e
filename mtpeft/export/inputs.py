"""What a file is exported for, and what it is compared on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mtpeft.datasets.files import read_image
from mtpeft.datasets.scenes import SceneSource
from mtpeft.export.exportable import Exportable
from mtpeft.models.backbones.families.picture_size import built_for

_SCENES = 2


def transforms_of(cfg: Any) -> list[Any]:
    """What a picture passes in the test of a config before the model gets it, packing left out."""
    loader = (cfg or {}).get('test_dataloader') or {}
    steps = (loader.get('dataset') or {}).get('pipeline') or []
    return [dict(step) for step in steps if 'Pack' not in str(step.get('type', ''))]


def default_size(model: nn.Module, cfg: Any = None) -> tuple[int, int]:
    """Height and width that pictures have in the test of a config.

    Those that its pictures are resized to; those of the model (``img_size``) or of the scenes; else
    those that the network was built for.
    """
    for step in reversed(transforms_of(cfg)):
        if 'Resize' in str(step.get('type')) and step.get('size'):
            return tuple(step['size'])
    if getattr(model, 'img_size', None):
        return tuple(model.img_size)
    loader = (cfg or {}).get('test_dataloader') or {}
    size = (loader.get('dataset') or {}).get('size')
    if isinstance(size, Sequence) and len(size) == 2:
        return tuple(size)
    return built_for(getattr(model.backbone, 'network', model.backbone))


def pictures_for(
    module: Exportable, size: Sequence[int], paths: Sequence[str] | None = None
) -> np.ndarray:
    """Pictures of ``size`` as a module takes them.

    Args:
        module: The module.
        size: Height and width.
        paths: Files, brought to that size; rendered scenes where there are none.

    Raises:
        FileNotFoundError, DataFileError: a file that cannot be read.
    """
    if module.channels != 3:
        return module.example(_SCENES, size).numpy()
    if paths:
        pictures = [_resized(read_image(path)[..., ::-1], size) for path in paths]
    else:
        source = SceneSource(tuple(size), seed=2)
        pictures = [source.render(i).image for i in range(_SCENES)]
    batch = np.stack([np.ascontiguousarray(picture) for picture in pictures])
    return batch if not module.raw else _normalised(module, batch)


def _resized(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    import cv2

    if picture.shape[:2] == tuple(size):
        return picture
    return cv2.resize(np.ascontiguousarray(picture), tuple(size)[::-1])


def _normalised(module: Exportable, batch: np.ndarray) -> np.ndarray:
    prepare = module.model.data_preprocessor
    pictures = torch.from_numpy(batch).permute(0, 3, 1, 2)
    if prepare.bgr_to_rgb:  # (it takes B first)
        pictures = pictures.flip(1)
    with torch.no_grad():
        return prepare(dict(inputs=list(pictures), data_samples=None))['inputs'].numpy()
