"""CW-SP, the channelwise spectral filter of FAAR."""

from collections.abc import Sequence
from typing import Literal

import torch
from mmengine.model import ModuleDict, ModuleList

from mtpeft.models.necks.spectra import ROWS
from mtpeft.models.necks.spectral_filter import (
    FullFilter,
    RadialFilter,
    SpectralFilter,
    filtered_pixels,
)
from mtpeft.models.necks.spectral_neck import SpectralNeck, Streams
from mtpeft.registry import MODELS
from mtpeft.tasks import TaskSpec
from mtpeft.utils.kinds import NotNegative, Size
from mtpeft.utils.suggest import hint

FILTERS = ('full', 'radial')


@MODELS.register_module()
class ChannelwiseSpectralFilter(SpectralNeck):
    r"""CW-SP: a learnt gain a task, level, channel and frequency (FAAR, arXiv 2603.20403).

    .. math::
        y = \mathcal{F}^{-1}\big((1 + \delta_{c, u, v})\, \mathcal{F}(x)\big), \qquad
        x \leftarrow x + \alpha\, (s_c\, y + t_c)

    With the orthonormal transform of real signals, delta ~ N(0, ``std``^2), s = 1, t = 0. So the
    start is close to the gain 1 + ``alpha``, not to the identity. Weight decay pulls delta to 0,
    an even gain. A level of (h, w) pixels has ``h (w // 2 + 1)`` weights a channel: the paper's "2D
    spectral filters, specific to task and resolution".

    ``x`` is ``(B, C, H, W)`` of any height and width, odd ones too: other sizes than the level's
    own read the weights at their own frequencies, interpolated. Parameters are named
    ``filters.<task>.<level>.delta``, ``.scale``, ``.shift`` and ``.alpha`` (``filters.shared...``
    without tasks).

    Args:
        in_channels: Widths of the levels, from the backbone where the model builds the neck.
        tasks: The model's tasks. ``None``: one stream, a tuple in and a tuple out, as mmseg's
            models expect of a neck.
        filter: ``'full'``: a weight a frequency. ``'radial'``, as the released code: one a bin
            ``min(floor(bins * radius), bins - 1)`` of frequencies (radius 0 is the mean, 1 the
            Nyquist frequency and all beyond).
        bins: For ``filter='radial'``: number of bins, 16 by default.
        base_sizes: For ``filter='full'``: height and width at which each level's weights are
            kept, such as ``((56, 56), (28, 28), (14, 14), (14, 14))``. From the model where it
            has ``img_size``.
        alpha: Start of alpha.
        std: Standard deviation of delta at the start.
        affine_std: That of s and t about 1 and 0; .02 in the released code.
        rows: For ``filter='radial'``: ``'fft'``, or ``'shifted'``, as the released code reads the
            rows of a spectrum (:mod:`~mtpeft.models.necks.spectra`).
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        ValueError: ``filter`` is unknown; ``bins`` is not a positive integer, or the filters have
            none; ``std`` or ``affine_std`` is negative; ``rows`` is unknown, or not ``'fft'`` for
            full filters; ``base_sizes`` is missing, or not one height and width a
            level.

    Example:
        >>> import torch
        >>> neck = ChannelwiseSpectralFilter(
        ...     (8, 16), tasks=['depth', 'normals'], base_sizes=((7, 5), (4, 3)))
        >>> levels = (torch.rand(1, 8, 7, 5), torch.rand(1, 16, 4, 3))
        >>> [tuple(level.shape) for level in neck(levels)['depth']]
        [(1, 8, 7, 5), (1, 16, 4, 3)]
        >>> a_task = 8 * 7 * (5 // 2 + 1) + 16 * 4 * (3 // 2 + 1) + 2 * (8 + 16) + 2
        >>> sum(p.numel() for p in neck.parameters()) == 2 * a_task
        True
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: TaskSpec | None = None,
        filter: Literal['full', 'radial'] = 'full',
        bins: Size | None = None,
        base_sizes: Sequence[tuple[int, int]] | None = None,
        alpha: float = 0.6,
        std: NotNegative = 0.02,
        init_cfg: dict | None = None,
        affine_std: NotNegative = 0.0,
        rows: Literal['fft', 'shifted'] = 'fft',
    ) -> None:
        super().__init__(in_channels, tasks, init_cfg)
        if filter not in FILTERS:
            raise ValueError(f"filter='{filter}' is unknown. " + hint(str(filter), FILTERS))
        for name, value in (('std', std), ('affine_std', affine_std)):
            if not value >= 0:
                raise ValueError(f'Expected `{name}` to be at least 0, got {value}.')
        _check_rows(filter, rows)
        _check_bins(filter, bins)
        if filter == 'full':
            _check_base_sizes(base_sizes, len(self.out_channels))

        def build(level: int, channels: int) -> SpectralFilter:
            if filter == 'full':
                return FullFilter(channels, tuple(base_sizes[level]), alpha, std, affine_std)
            return RadialFilter(
                channels, 16 if bins is None else bins, alpha, std, affine_std, rows
            )

        self.filters = ModuleDict(
            {
                name: ModuleList(build(i, width) for i, width in enumerate(self.out_channels))
                for name in self.streams
            }
        )

    def transform(self, streams: Streams) -> Streams:
        out = []
        for level in range(len(self.out_channels)):
            levels = [streams[name][level] for name in streams]
            filters = [self.filters[name][level] for name in streams]
            if all(x.shape == levels[0].shape for x in levels):
                out.append(filtered_pixels(filters, torch.stack(levels)).unbind())
            else:
                out.append([f(x) for f, x in zip(filters, levels, strict=True)])
        return dict(zip(streams, zip(*out, strict=True), strict=True))


def _check_rows(filter: str, rows: str) -> None:
    if rows not in ROWS:
        raise ValueError(f"rows='{rows}' is unknown. " + hint(str(rows), ROWS))
    if filter == 'full' and rows != 'fft':
        raise ValueError(
            f"rows='{rows}' belongs to filter='radial': a filter with a weight a frequency has no "
            "radius. Set filter='radial' or leave `rows` out."
        )


def _check_bins(filter: str, bins: int | None) -> None:
    if bins is None:
        return
    if filter == 'full':
        raise ValueError(
            f"bins={bins} belongs to filter='radial', but filter is 'full', the default, with a "
            "weight a frequency. Set filter='radial' or leave `bins` out."
        )
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ValueError(f'Expected `bins` to be a positive integer, got {bins!r}.')


def _check_base_sizes(sizes: Sequence[tuple[int, int]] | None, levels: int) -> None:
    if sizes is None:
        raise ValueError(
            "filter='full' has a weight a frequency and has to know the sizes of the levels. Set "
            '`img_size` of the MultiTaskModel (in a config img_size={{_base_.size}}) where its '
            f'backbone is an AdapterBackbone, or `base_sizes` of the neck: {levels} pairs (height, '
            "width), one a level. filter='radial' needs no sizes."
        )
    wanted = f"filter='full' expects `base_sizes`: {levels} pairs (height, width), one a level"
    if not isinstance(sizes, Sequence) or len(sizes) != levels:
        raise ValueError(f'{wanted}, got {sizes}.')
    for size in sizes:
        pair = isinstance(size, Sequence) and len(size) == 2
        if not pair or not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(f'{wanted}, all positive integers, got {size}.')
