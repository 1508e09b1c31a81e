"""XT-Cons, the cross-task consensus of FAAR."""

from collections.abc import Sequence
from typing import Literal

import torch
from mmengine.model import ModuleDict, ModuleList
from torch import Tensor, nn

from mtpeft.models.necks.real_spectra import RealSpectrum
from mtpeft.models.necks.spectra import (
    ROWS,
    Size,
    high_band,
    low_band,
    to_pixels,
    to_spectrum,
)  # fmt: skip
from mtpeft.models.necks.spectral_neck import SpectralNeck, Streams
from mtpeft.registry import MODELS
from mtpeft.tasks import TaskSpec
from mtpeft.utils.kinds import Share
from mtpeft.utils.suggest import hint

_LOW = ('complex', 'amplitude')
_SCALARS = ('alpha_low', 'alpha_high', 'g_low', 'g_high')


@MODELS.register_module()
class CrossTaskConsensus(SpectralNeck):
    r"""XT-Cons: bands of a task's spectrum move to those of the others (FAAR, arXiv 2603.20403).

    .. math::
        \bar F = \frac{1}{T - 1} \sum_{s \ne t} \mathcal{F}(x_s), \qquad
        \Delta_b = M_b \odot (g_b \bar F - \mathcal{F}(x_t)), \qquad
        x_t \leftarrow \mathcal{F}^{-1}\big(\mathcal{F}(x_t) + \alpha_{low} \Delta_{low}
        + \alpha_{high} \Delta_{high}\big)

    M_low is 1 up to a radius of .5, the mean included; M_high rises from 0 at .8 to 1 at 1, the
    Nyquist frequency. The alphas start at 0, which is the identity, and the g at 1. With ``caps``
    the share of a band is :math:`c_b\, \mathrm{sigmoid}(\alpha_b)` in place of
    :math:`\alpha_b`, which is half its cap at the start.

    The released code has ``low='amplitude'``, ``caps=(0.5, 0.3)`` and ``rows='shifted'``.

    ``x`` is ``(B, C, H, W)`` of any height and width, the same for all tasks. Parameters, four
    scalars a task and level, are named ``bands.<task>.<level>.alpha_low``, ``.alpha_high``,
    ``.g_low`` and ``.g_high``. One task has no others: it passes through, and there are no
    parameters, since those without a gradient stall DistributedDataParallel.

    Args:
        in_channels: Widths of the levels, from the backbone where the model builds the neck.
        tasks: The model's tasks. ``None``: one stream, which passes through as a tuple.
        low: Difference in the low band. ``'complex'``: as above. ``'amplitude'``: of the
            amplitudes, ``g_low |F_avg| - |F(x)|``, along the task's own phase, which stays; where
            there is no amplitude, the phase is 0.
        caps: Largest share of the low and of the high band, each in (0, 1]; ``None``: the shares
            are the alphas themselves, without a bound.
        rows: ``'fft'``, or ``'shifted'``, as the released code reads the rows of a spectrum, so
            that its low band misses the mean (:mod:`~mtpeft.models.necks.spectra`).
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        ValueError: ``low`` or ``rows`` is unknown, or ``caps`` are no two shares.

    Example:
        >>> import torch
        >>> neck = CrossTaskConsensus((8,), tasks=['sal', 'depth'])
        >>> features = dict(sal=(torch.rand(1, 8, 5, 4),), depth=(torch.rand(1, 8, 5, 4),))
        >>> torch.allclose(neck(features)['sal'][0], features['sal'][0], atol=1e-6)
        True
        >>> _ = nn.init.ones_(neck.bands['sal'][0].alpha_low)  # its low band becomes depth's
        >>> moved = neck(features)['sal'][0].mean((2, 3))
        >>> torch.allclose(moved, features['depth'][0].mean((2, 3)), atol=1e-6)
        True
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: TaskSpec | None = None,
        low: Literal['complex', 'amplitude'] = 'complex',
        init_cfg: dict | None = None,
        caps: tuple[Share, Share] | None = None,
        rows: Literal['fft', 'shifted'] = 'fft',
    ) -> None:
        super().__init__(in_channels, tasks, init_cfg)
        for name, value, known in (('low', low, _LOW), ('rows', rows, ROWS)):
            if value not in known:
                raise ValueError(f"{name}='{value}' is unknown. " + hint(str(value), known))
        if caps is not None and not (len(caps) == 2 and all(0 < cap <= 1 for cap in caps)):
            raise ValueError(
                'Expected `caps` to be the largest shares of the low and of the high band, two '
                f'numbers in (0, 1], or None for no bound, got {caps!r}.'
            )
        self.low = low
        self.caps = caps
        self.rows = rows
        with_others = self.streams if len(self.streams) > 1 else ()
        self.bands = ModuleDict(
            {name: ModuleList(Bands() for _ in self.out_channels) for name in with_others}
        )

    @property
    def reads_others(self) -> bool:
        return bool(self.bands)

    def transform(self, streams: Streams) -> Streams:
        if not self.bands:
            return streams
        out = []
        for level in range(len(self.out_channels)):
            size = self.common_size(streams, level)
            spectra = to_spectrum(torch.stack([levels[level] for levels in streams.values()]))
            moved = self.on_spectra(list(streams), level, spectra, spectra, size)
            out.append(to_pixels(moved, size).unbind())
        return dict(zip(streams, zip(*out, strict=True), strict=True))

    def on_spectra(
        self, tasks: Sequence[str], level: int, own: Tensor, spectra: Tensor, size: Size
    ) -> Tensor:
        """Move each task's row of ``own`` to the mean of the other tasks' rows of ``spectra``.

        Args:
            tasks: Names of the rows.
            level: Index of the level.
            own: Spectra that are moved, ``(T, B, C, H, W // 2 + 1)``.
            spectra: Those that the means are of, shaped alike.
            size: (H, W).
        """
        mean = _mean_of_others(spectra)
        bands = [self.bands[name][level] for name in tasks]
        alpha_low, alpha_high, g_low, g_high = (
            torch.stack([getattr(b, name) for b in bands]).view(-1, 1, 1, 1, 1) for name in _SCALARS
        )
        if self.caps is not None:
            low_cap, high_cap = self.caps
            alpha_low, alpha_high = low_cap * alpha_low.sigmoid(), high_cap * alpha_high.sigmoid()
        grid = size, own.device, own.real.dtype, self.rows
        low, high = alpha_low * low_band(*grid), alpha_high * high_band(*grid)
        if self.low == 'complex':
            return own * (1 - low - high) + mean * (low * g_low + high * g_high)
        moved = own * (1 - high) + mean * (high * g_high)
        return moved + low * _amplitude(own, mean, g_low)

    def common_size(self, streams: Streams, level: int) -> Size:
        """Height and width of a level.

        Raises:
            ValueError: the tasks' levels differ in shape.
        """
        shapes = {name: tuple(levels[level].shape) for name, levels in streams.items()}
        first = next(iter(shapes.values()))
        if any(shape != first for shape in shapes.values()):
            found = ', '.join(f"{shape} for '{name}'" for name, shape in shapes.items())
            raise ValueError(
                f'{type(self).__name__} expected equal shapes of all tasks at level {level}, got '
                f'{found}. Tasks of different resolutions have no common spectrum: resize them.'
            )
        return first[-2:]


class Bands(nn.Module):
    """The scalars of one task and level."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha_low = nn.Parameter(torch.zeros(()))
        self.alpha_high = nn.Parameter(torch.zeros(()))
        self.g_low = nn.Parameter(torch.ones(()))
        self.g_high = nn.Parameter(torch.ones(()))


def _mean_of_others(spectra: Tensor) -> Tensor:
    """Mean of all rows but its own for each row of ``(T, ...)``.

    A product of real matrices: a sum less each row would lose what is small beside it.
    """
    if isinstance(spectra, RealSpectrum):
        return spectra.map(_mean_of_others_rows)
    return torch.view_as_complex(_mean_of_others_rows(torch.view_as_real(spectra)))


def _mean_of_others_rows(rows: Tensor) -> Tensor:
    count = len(rows)
    others = (1 - torch.eye(count, device=rows.device, dtype=rows.dtype)) / (count - 1)
    return (others @ rows.flatten(1)).view(rows.shape)


def _amplitude(own: Tensor, mean: Tensor, g: Tensor) -> Tensor:
    amplitude = own.abs()
    if isinstance(own, RealSpectrum):
        return own.with_amplitude(g * mean.abs() - amplitude)
    # the phase of rounding errors means nothing, and its gradient, 1 / amplitude, would explode
    known = amplitude > torch.finfo(amplitude.dtype).eps
    phase = torch.where(known, own / torch.where(known, amplitude, 1), 1)
    return (g * mean.abs() - amplitude) * phase
