"""Ranks as a picture: a heat map of layers and streams, and their way over training."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from mtpeft.adapters.ranks.low_rank import COMMON, SHARED
from mtpeft.adapters.ranks.patterns import (
    RankPattern,
    by_stage,
    mean_rank,
    ranks_of,
    streams_of,
    without_idle,
)

_ROW, _GAP = 0.2, 1.4  # inches a layer, and layers between stages (their name stands there)
_PANEL = 3.4  # inches a plot beside the map
_MAP = 'YlGnBu'


@dataclass(frozen=True)
class Trajectory:
    """Ranks over training.

    Attributes:
        unit: ``'epoch'`` or ``'iteration'``.
        times: When each pattern began to hold, ascending.
        patterns: The patterns, one a time.
        end: Until when the last one held.
    """

    unit: str
    times: Sequence[int]
    patterns: Sequence[RankPattern]
    end: int

    @classmethod
    def of(cls, history: Sequence[Mapping], epoch: int = 0, iteration: int = 0) -> 'Trajectory':
        """From the ``history`` of a rank allocator and where training then stood."""
        patterns = [record['ranks'] for record in history]
        epochs = [record['epoch'] for record in history]
        if all(one < other for one, other in pairwise(epochs)):
            return cls('epoch', epochs, patterns, max(epoch, epochs[-1]))
        iterations = [record['iter'] for record in history]
        return cls('iteration', iterations, patterns, max(iteration, iterations[-1]))


def draw_ranks(
    pattern: RankPattern, trajectory: Trajectory | None = None, title: str = '',
    idle: Mapping[str, Collection[str]] | None = None,
) -> Figure:  # fmt: skip
    """Draw the rank of every layer (rows, by stage) and stream; beside it means, and their way.

    Args:
        pattern: The ranks.
        trajectory: How they came about.
        title: Above all.
        idle: Streams without effect, of :func:`~mtpeft.adapters.ranks.patterns.idle_streams`; in
            brackets on grey, and in no mean.
    """
    idle = idle or {}
    streams, stages = streams_of(pattern), by_stage(pattern)
    used = by_stage(without_idle(pattern, idle))
    labels = [label for layers in stages.values() for label in layer_names(list(layers))]
    panels = 1 + (trajectory is not None)
    wide = 0.62 * len(streams) + 0.085 * max(map(len, labels)) + 1.7
    height = max(_ROW * (len(labels) + _GAP * len(stages)) + 2, _PANEL * panels + 0.5)
    figure = Figure(figsize=(wide + 5.2, height), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    left, right = figure.subfigures(1, 2, width_ratios=[wide, 5.2])
    axes = left.subplots()
    _draw_map(axes, stages, used, labels, streams)
    _draw_bar(left, axes, max(max(ranks_of(layers), default=1) for layers in used.values()))
    # panels stay as high as they are good to read, however long the list of layers is
    rest = max(height - 0.5 - _PANEL * panels, 0.01)
    axes = right.subplots(panels + 1, 1, height_ratios=[_PANEL] * panels + [rest])
    axes[-1].set_axis_off()
    if trajectory is not None:
        patterns = [without_idle(one, idle) for one in trajectory.patterns]
        _draw_trajectory(axes[0], replace(trajectory, patterns=patterns), streams)
    _draw_stages(axes[panels - 1], used, streams)
    axes[0].legend(fontsize=8, frameon=False, ncols=2)
    return figure


def layer_names(layers: Sequence[str]) -> list[str]:
    """Names within a stage: whole, but for the word that all of its blocks share.

    Example:
        >>> layer_names(['blocks.0.attn.qkv', 'blocks.1.mlp.fc1', 'downsample.reduction'])
        ['0.attn.qkv', '1.mlp.fc1', 'downsample.reduction']
    """
    return ['.'.join(filter(None, _block_and_leaf(name))) for name in layers]


def short_names(layers: Sequence[str]) -> list[str]:
    """Names within a stage without what can be left out, such as ``'1 · fc2'``.

    Example:
        >>> short_names(['blocks.0.attn.qkv', 'blocks.0.mlp.fc1', 'downsample.reduction'])
        ['0 · qkv', '0 · fc1', 'reduction']
    """
    split = [_block_and_leaf(name) for name in layers]
    short = [(block, _last_word(leaf)) for block, leaf in split]
    return [
        ' · '.join(filter(None, both if short.count(both) == 1 else (both[0], leaf)))
        for both, (_, leaf) in zip(short, split, strict=True)
    ]


def _block_and_leaf(name: str) -> tuple[str, str]:
    found = re.fullmatch(r'(?:[^\W\d]\w*\.)?(\d+)\.(.+)', name)
    return (found[1], found[2]) if found else ('', name)


def _last_word(leaf: str) -> str:
    """``'attn.qkv'`` -> ``'qkv'``; numbers stay with their word: ``'ffn.layers.0.0'`` as it is."""
    words = leaf.split('.')
    return leaf if words[-1].isdigit() else words[-1]


def _draw_map(
    axes: Axes, stages: Mapping[str, RankPattern], used: Mapping[str, RankPattern],
    labels: Sequence[str], streams: Sequence[str],
) -> None:  # fmt: skip
    largest = max(max(ranks_of(layers), default=1) for layers in used.values())
    top, places = _GAP, []
    for stage, layers in stages.items():
        cells, counted = (
            np.array([[ranks.get(s, 0) for s in streams] for ranks in part[stage].values()])
            for part in (stages, used)
        )
        _draw_cells(axes, cells, counted, top, largest)
        places += [top + row + 0.5 for row in range(len(layers))]
        axes.text(0, top - 0.25, stage, fontsize=8, fontweight='bold', ha='left', va='bottom',
                  color='0.2')  # fmt: skip
        top += len(layers) + _GAP
    axes.set(xlim=(0, len(streams)), ylim=(top - _GAP, 0))
    axes.set_yticks(places, labels, fontsize=7)
    axes.set_xticks(np.arange(len(streams)) + 0.5, streams, fontsize=8, rotation=30, ha='left',
                    rotation_mode='anchor')  # fmt: skip
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if stages != used:
        axes.set_xlabel('(in brackets: without effect)', fontsize=8, color='0.35')


def _draw_cells(
    axes: Axes, cells: np.ndarray, counted: np.ndarray, top: float, largest: int
) -> None:  # fmt: skip
    """Colour is the logarithm of the rank; grey where a layer has no such stream in use."""
    share = np.log2(np.maximum(counted, 1)) / max(np.log2(largest), 1)
    # neither white nor black, which would look like no cell
    image = colormaps[_MAP](0.08 + 0.84 * share)
    image[counted == 0] = (0.93, 0.93, 0.93, 1)
    rows, columns = cells.shape
    axes.imshow(image, extent=(0, columns, top + rows, top), aspect='auto')
    for edge in range(1, columns):
        axes.plot([edge, edge], [top, top + rows], color='white', linewidth=2)
    for edge in range(1, rows):
        axes.plot([0, columns], [top + edge, top + edge], color='white', linewidth=0.6)
    for (row, column), rank in np.ndenumerate(cells):
        idle = not counted[row, column]
        colour = '0.5' if idle else 'white' if share[row, column] > 0.5 else '0.15'
        if rank:
            axes.text(column + 0.5, top + row + 0.53, f'({rank})' if idle else str(rank),
                      ha='center', va='center', fontsize=7, color=colour)  # fmt: skip


def _draw_bar(figure: SubFigure, axes: Axes, largest: int) -> None:
    """What the colours of the cells mean: ranks, on a scale of logarithms."""
    shades = ListedColormap(colormaps[_MAP](0.08 + 0.84 * np.linspace(0, 1, 256)))
    scale = ScalarMappable(LogNorm(1, max(largest, 2)), shades)
    bar = figure.colorbar(scale, ax=axes, orientation='horizontal', pad=0.02, fraction=0.02,
                          aspect=40)  # fmt: skip
    steps = [2**power for power in range(int(np.log2(max(largest, 2))) + 1)]
    ticks = steps if largest in steps or largest < 1.3 * steps[-1] else [*steps, largest]
    bar.set_ticks(ticks, labels=[str(tick) for tick in ticks], fontsize=8)
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label('rank (number of components)', fontsize=8)


def _style(stream: str, streams: Sequence[str]) -> dict:
    """Colour of a task as in all our pictures, black for what they share."""
    if stream == SHARED:
        return dict(color='black', linestyle='--', linewidth=1.4, label=stream)
    if stream in COMMON:
        return dict(color='0.25', linestyle=':', linewidth=1.8, label=stream)
    number = [name for name in streams if name not in COMMON].index(stream)
    return dict(color=f'C{number}', linewidth=1.4, label=stream)


def _draw_trajectory(axes: Axes, trajectory: Trajectory, streams: Sequence[str]) -> None:
    times = [*trajectory.times, trajectory.end]
    patterns = [*trajectory.patterns, trajectory.patterns[-1]]
    low = [min(ranks_of(pattern)) for pattern in patterns]
    high = [max(ranks_of(pattern)) for pattern in patterns]
    axes.fill_between(times, low, high, step='post', color='0.5', alpha=0.14, linewidth=0,
                      label='least to largest')  # fmt: skip
    means = [mean_rank(pattern) for pattern in patterns]
    axes.step(times, means, where='post', color='0.35', linewidth=3.5, alpha=0.4, label='all')
    for stream in streams:
        means = _or_nan(mean_rank(pattern, stream) for pattern in patterns)
        axes.step(times, means, where='post', **_style(stream, streams))
    axes.set_yscale('log', base=2)
    axes.yaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=trajectory.unit, xlim=(times[0], max(times[-1], times[0] + 1)))
    _finish(axes)


def _draw_stages(axes: Axes, stages: Mapping[str, RankPattern], streams: Sequence[str]) -> None:
    for stream in streams:
        means = _or_nan(mean_rank(layers, stream) for layers in stages.values())
        axes.plot(range(len(stages)), means, marker='o', markersize=4, **_style(stream, streams))
    crowded = len(stages) > 6
    axes.set_xticks(range(len(stages)), list(stages), rotation=45 if crowded else 0,
                    ha='right' if crowded else 'center')  # fmt: skip
    axes.set(ylim=(0, None), xlabel='stage')
    _finish(axes)


def _or_nan(means: Iterable[float | None]) -> list[float]:
    return [np.nan if mean is None else mean for mean in means]


def _finish(axes: Axes) -> None:
    axes.set_ylabel('rank (mean over layers)', fontsize=9)
    axes.xaxis.label.set_size(9)
    axes.grid(True, color='0.93')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.tick_params(labelsize=8)
