"""Drawing what TS-PD has learnt: spectral filters, and the bands of the consensus."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage

from mtpeft.models.necks.spectra import radial_bins
from mtpeft.models.necks.spectral_filter import FullFilter, SpectralFilter

SCALARS = ('alpha_low', 'alpha_high', 'g_low', 'g_high')
QUANTILES = (0.1, 0.9)


def gains(spectral_filter: SpectralFilter, bins: int = 16) -> np.ndarray:
    """``1 + delta`` by radial bin and channel; of a full filter the mean of each bin."""
    with torch.no_grad():
        if not isinstance(spectral_filter, FullFilter):
            return (1 + spectral_filter.delta.double()).numpy()
        size = spectral_filter.base_size
        where = radial_bins(size, torch.device('cpu'), bins)
        gain = spectral_filter.gain(size).double()
        rows = [gain[:, where == b].mean(1) for b in range(bins)]  # nan: a bin without frequency
        return torch.stack(rows).numpy()


def picture(spectral_filter: FullFilter) -> np.ndarray:
    """``1 + delta`` of all frequencies, the mean over channels, frequency 0 in the middle."""
    height, width = spectral_filter.base_size
    with torch.no_grad():
        half = spectral_filter.gain((height, width)).double().mean(0).numpy()
    # of a real picture, frequencies and their negatives are conjugates
    negative = half[-np.arange(height) % height, 1 : (width + 1) // 2]
    return np.fft.fftshift(np.concatenate([half, negative[:, ::-1]], 1))


def draw(filters: Mapping[str, list[SpectralFilter]], bands: Mapping[str, np.ndarray]) -> Figure:
    """Filters, a row a task and a column a level, over the four scalars of the consensus."""
    tasks = list(filters or bands)
    levels = len(filters[tasks[0]]) if filters else bands[tasks[0]].shape[1]
    full = bool(filters) and isinstance(filters[tasks[0]][0], FullFilter)
    heights = [(1.45 if full else 1.7) * len(tasks) + 0.8] if filters else []
    heights += [0.42 * len(tasks) + 1.5] if bands else []
    width = max(7.5, (1.7 if full else 2.5) * levels + 0.8)
    figure = Figure(figsize=(width, sum(heights)), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    if filters:
        (_draw_pictures if full else _draw_lines)(parts[0], filters)
    if bands:
        _draw_bands(parts[-1], bands)
    return figure


def _draw_pictures(figure: SubFigure, filters: Mapping[str, list[FullFilter]]) -> None:
    """A picture a task and level, all in one scale; white is the gain 1."""
    pictures = {task: [picture(f) for f in levels] for task, levels in filters.items()}
    reach = max(abs(p - 1).max() for levels in pictures.values() for p in levels)
    reach = max(float(reach), 1e-6)
    first = next(iter(filters.values()))
    grid = figure.subplots(len(filters), len(first), squeeze=False)
    figure.suptitle('Spectral filters: gain 1 + δ, mean of the channels', fontsize=11)
    for row, (task, levels) in enumerate(pictures.items()):
        for level, gain in enumerate(levels):
            axes = grid[row, level]
            image = _draw_picture(axes, gain, reach)
            axes.tick_params(labelleft=level == 0, labelbottom=row == len(filters) - 1)
            if row == 0:
                height, width = gain.shape
                channels = len(first[level].scale)
                axes.set_title(f'{height} x {width}, {channels} channels', fontsize=9)
        grid[row, 0].set_ylabel(task, fontsize=10)
    figure.supxlabel('frequency, left to right and down (1: Nyquist frequency)', fontsize=9)
    bar = figure.colorbar(image, ax=grid, shrink=0.5, aspect=30, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    bar.set_label('gain 1 + δ', fontsize=9)


def _draw_picture(axes: Axes, gain: np.ndarray, reach: float) -> AxesImage:
    # edges of the cells: cell n // 2 has frequency 0 in its middle
    (top, bottom), (left, right) = (
        ((-(n // 2) - 0.5) * 2 / n, ((n - 1) // 2 + 0.5) * 2 / n) for n in gain.shape
    )
    image = axes.imshow(
        gain, 'RdBu_r', vmin=1 - reach, vmax=1 + reach, extent=(left, right, bottom, top),
        interpolation='nearest',
    )  # fmt: skip
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([-1, 0, 1])
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.tick_params(labelsize=8, color='0.6')
    axes.spines[:].set_color('0.8')
    return image


def _draw_lines(figure: SubFigure, filters: Mapping[str, list[SpectralFilter]]) -> None:
    levels = len(next(iter(filters.values())))
    grid = figure.subplots(len(filters), levels, sharex=True, sharey=True, squeeze=False)
    figure.suptitle('Spectral filters: gain 1 + δ, mean and 80 % of the channels', fontsize=11)
    for row, (task, filters_by_level) in enumerate(filters.items()):
        for level, gain in enumerate(map(gains, filters_by_level)):
            axes = grid[row, level]
            _draw_gain(axes, gain, f'C{row}')
            if row == 0:
                axes.set_title(f'level {level} ({gain.shape[1]} channels)', fontsize=9)
        grid[row, 0].set_ylabel(task, fontsize=10)
    figure.supxlabel('radius (1: Nyquist frequency)', fontsize=9)


def _draw_gain(axes: Axes, gain: np.ndarray, color: str) -> None:
    """Steps, since a filter is constant within a bin."""
    filled = ~np.isnan(gain).any(1)
    edges, gain = np.linspace(0, 1, len(gain) + 1), np.where(filled[:, None], gain, np.nan)
    low, high = np.quantile(gain, QUANTILES, axis=1)
    axes.axhline(1, color='0.45', linestyle='--', linewidth=0.8, zorder=1)
    low, high = np.append(low, low[-1]), np.append(high, high[-1])
    axes.fill_between(edges, low, high, step='post', color=color, alpha=0.22, linewidth=0)
    axes.stairs(gain.mean(1), edges, baseline=None, color=color, linewidth=1.6, zorder=3)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ['0', '.5', '1'])
    axes.tick_params(labelsize=8, color='0.6')
    axes.grid(True, color='0.93')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color('0.6')


def _draw_bands(figure: SubFigure, bands: Mapping[str, np.ndarray]) -> None:
    figure.suptitle('Consensus: share taken over (α) and gain of the others (g)', fontsize=11)
    values = np.stack(list(bands.values()))
    grid = figure.subplots(1, len(SCALARS), sharey=True)
    titles = ('α low', 'α high', 'g low', 'g high')
    for index, (axes, title) in enumerate(zip(grid, titles, strict=True)):
        alike = values[:, :2] if index < 2 else values[:, 2:]
        _draw_scalar(axes, values[:, index], start=index // 2, reach=abs(alike - index // 2).max())
        axes.set_title(title, fontsize=9)
        axes.set_yticks(range(len(bands)), list(bands), fontsize=9)
    figure.supxlabel('level', fontsize=9)


def _draw_scalar(axes: Axes, values: np.ndarray, start: float, reach: float) -> None:
    """A cell a task and level; white is the value at the start of training."""
    reach = max(reach, 1e-6)
    axes.imshow(values, 'RdBu_r', aspect='auto', vmin=start - reach, vmax=start + reach)
    for (row, column), value in np.ndenumerate(values):
        dark = abs(value - start) > 0.6 * reach
        axes.text(column, row, f'{value:.2f}', ha='center', va='center', fontsize=8,
                  color='white' if dark else '0.15')  # fmt: skip
    axes.set_xticks(range(values.shape[1]))
    axes.tick_params(labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(values.shape[1] - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] - 1) + 0.5, minor=True)
    axes.grid(which='minor', color='white', linewidth=2)
    axes.tick_params(which='minor', length=0)
