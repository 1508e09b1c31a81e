"""How a model predicts: as a whole or in windows, with flips and scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from mtpeft.models.prediction.slide import TestCfg
from mtpeft.utils.kinds import Positive
from mtpeft.utils.suggest import hint

_MODES = ('whole', 'slide')


class Tta(TypedDict, total=False):
    """``tta`` of a model: test-time augmentation.

    ``flip``: the mirrored picture too (default: ``True``). ``scales``: the picture, or the window,
    at these scales (default: 1 alone). Predictions of all are averaged.
    """

    flip: bool
    scales: Sequence[Positive]


@dataclass(frozen=True)
class TestOptions:
    """``test_cfg`` and ``tta``, checked.

    Attributes:
        crop: Height and width of a window; ``None``: the whole picture.
        stride: From one window to the next.
        batch_size: Windows in a pass.
        views: Scale and mirroring of each view of a picture.
    """

    crop: tuple[int, int] | None = None
    stride: tuple[int, int] = (1, 1)
    batch_size: int = 1
    views: tuple[tuple[float, bool], ...] = ((1.0, False),)

    @property
    def augmented(self) -> bool:
        """Is there any view but the picture itself?"""
        return self.views != ((1.0, False),)

    def in_windows(self, size: Sequence[int]) -> bool:
        """Is a picture of ``size`` larger than a window?"""
        return self.crop is not None and (size[0] > self.crop[0] or size[1] > self.crop[1])


def test_options(test_cfg: Mapping | None = None, tta: Mapping | None = None) -> TestOptions:
    """Check ``test_cfg`` (:class:`TestCfg`) and ``tta`` (:class:`Tta`) of a model.

    Raises:
        TypeError: an unknown option.
        ValueError: a value that is out of its range, or missing; windows with gaps between them.

    Example:
        >>> test_options(dict(mode='slide', crop_size=(96, 96))).stride
        (64, 64)
        >>> test_options(tta=dict(flip=True)).views
        ((1.0, False), (1.0, True))
    """
    return TestOptions(**_windows(test_cfg or {}), views=_views(tta))


def changed_options(
    own: TestOptions, test_cfg: Mapping | None = None, tta: Mapping | None = None
) -> TestOptions:  # fmt: skip
    """``own`` with the windows of ``test_cfg`` and the views of ``tta``, where they are given."""
    given = test_options(test_cfg, tta)
    if test_cfg is None:
        given = replace(given, crop=own.crop, stride=own.stride, batch_size=own.batch_size)
    return given if tta is not None else replace(given, views=own.views)


TestOptions.__test__ = test_options.__test__ = False  # (pytest would collect what is called so)


def _windows(cfg: Mapping) -> dict[str, Any]:
    _known(cfg, TestCfg, 'test_cfg')
    mode = cfg.get('mode', 'whole')
    if mode not in _MODES:
        raise ValueError(f"test_cfg: mode='{mode}' is unknown. " + hint(str(mode), _MODES))
    if mode == 'whole':
        return {}
    if cfg.get('crop_size') is None:
        raise ValueError(
            "test_cfg: mode='slide' needs the size of a window, such as crop_size=(512, 512)."
        )
    crop = _pair(cfg['crop_size'], 'crop_size')
    stride = cfg.get('stride')
    stride = (
        tuple(-(-2 * side // 3) for side in crop) if stride is None else _pair(stride, 'stride')
    )
    if stride[0] > crop[0] or stride[1] > crop[1]:
        raise ValueError(
            f'test_cfg: expected a stride of at most crop_size={crop}, or pixels between the '
            f'windows have no prediction; got stride={stride}.'
        )
    (number,) = _counts((cfg.get('batch_size', 1),), 'batch_size', 'a positive integer')
    return dict(crop=crop, stride=stride, batch_size=number)


def _views(tta: Mapping | None) -> tuple[tuple[float, bool], ...]:
    if tta is None:
        return TestOptions.views
    _known(tta, Tta, 'tta')
    flip, scales = tta.get('flip', True), tta.get('scales', (1.0,))
    if not isinstance(flip, bool):
        raise ValueError(f'tta: expected flip to be True or False, got {flip!r}.')
    if isinstance(scales, (int, float)) or not len(scales) or not all(s > 0 for s in scales):
        raise ValueError(f'tta: expected scales to be a list of positive numbers, got {scales!r}.')
    mirrored = (False, True) if flip else (False,)
    return tuple((float(scale), mirror) for scale in scales for mirror in mirrored)


def _known(cfg: Mapping, table: Any, name: str) -> None:
    for key in cfg:
        if key not in table.__annotations__:
            raise TypeError(f"{name} has no option '{key}'. " + hint(key, table.__annotations__))


def _pair(value: Any, name: str) -> tuple[int, int]:
    return _counts(value, name, 'two positive integers (height, width)')


def _counts(value: Any, name: str, expected: str) -> tuple:
    number = 1 if name == 'batch_size' else 2
    whole = isinstance(value, Sequence) and len(value) == number
    if not whole or not all(isinstance(v, int) and v > 0 for v in value):
        raise ValueError(f'test_cfg: expected {name} to be {expected}, got {value!r}.')
    return tuple(value)
