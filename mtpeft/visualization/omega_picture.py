"""Frequencies as a picture: over training, the spectra they give, and effective ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mtpeft.adapters.frequencies import LOWPASS, MATRIX, SINE
from mtpeft.adapters.ranks.patterns import by_stage
from mtpeft.visualization.rank_picture import short_names

#: singular values of a site by step (``'M'``, ``'sine'``, ``'low-pass'``) and task
Spectra = Mapping[str, Mapping[str, np.ndarray]]

_FLOOR = 1e-5  # of the largest singular value; float32 has nothing below
_ROW, _TASK = 0.06, 0.075  # inches a layer, and a task in it
_GAP = 0.4  # layers between stages
_FEW = 32  # singular values that are drawn as points
_LINES = {MATRIX: ':', SINE: '--', LOWPASS: '-'}
_NAMES = {MATRIX: 'M', SINE: 'sin(ω M)', LOWPASS: 'low-pass'}


@dataclass(frozen=True)
class OmegaTrajectory:
    """Frequencies over training.

    Attributes:
        unit: ``'epoch'`` or ``'iteration'``.
        times: Of the records, ascending.
        omegas: ``{source: {task: one a record}}``.
    """

    unit: str
    times: Sequence[int]
    omegas: Mapping[str, Mapping[str, Sequence[float]]]

    @classmethod
    def of(cls, history: Sequence[Mapping]) -> 'OmegaTrajectory':
        """From the ``history`` of a FrequencyHook.

        Example:
            >>> history = [dict(epoch=i, iter=9 * i, omegas=dict(a=dict(sal=i))) for i in range(3)]
            >>> OmegaTrajectory.of(history)
            OmegaTrajectory(unit='epoch', times=[0, 1, 2], omegas={'a': {'sal': [0, 1, 2]}})
        """
        epochs = [record['epoch'] for record in history]
        by_epoch = all(one < other for one, other in pairwise(epochs))
        times = epochs if by_epoch else [record['iter'] for record in history]
        omegas = {
            source: {task: [record['omegas'][source][task] for record in history] for task in tasks}
            for source, tasks in history[0]['omegas'].items()
        }
        return cls('epoch' if by_epoch else 'iteration', times, omegas)


@dataclass(frozen=True)
class RankRow:
    """Effective ranks of a site.

    Attributes:
        ranks: ``{step: {task: effective rank}}``, of a shared M ``{'M': {'M': rank}}``.
        shape: Of its weights, ``(out, in k k)``.
    """

    ranks: Mapping[str, Mapping[str, float]]
    shape: tuple[int, int]

    @property
    def most(self) -> int:
        """The rank that its weights could have."""
        return min(self.shape)


def draw_omega(
    tasks: Sequence[str],
    site: str,
    spectra: Spectra,
    rows: Mapping[str, RankRow],
    trajectory: OmegaTrajectory | None = None,
    source: str = '',
    bounds: tuple[float, float] | None = None,
    title: str = '',
) -> Figure:
    """Draw frequencies over training, singular values of a site, and effective ranks of all.

    Args:
        tasks: Their names; the n-th has the n-th colour.
        site: Whose singular values are drawn.
        spectra: Its singular values.
        rows: Effective ranks by site; drawn where there are several.
        trajectory: Frequencies over training.
        source: Of which source of frequencies lines are thick: that of ``site``.
        bounds: Between which frequencies start.
        title: Above all.
    """
    colours = {task: f'C{number}' for number, task in enumerate(tasks)} | {MATRIX: 'black'}
    stages = _stages(rows) if len(rows) > 1 else {}
    row = _ROW + _TASK * len(tasks)
    low = row * (len(rows) + _GAP * (len(stages) - 1)) + 1.1 if stages else 0
    panels = 1 + (trajectory is not None)
    figure = Figure(figsize=(10.8 if panels > 1 else 7.5, 4.2 + low), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    heights = [3.6, low] if stages else [1]
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    axes = parts[0].subplots(1, panels, squeeze=False)[0]
    if trajectory is not None:
        _draw_trajectory(axes[0], trajectory, source, bounds, colours)
    _draw_spectra(axes[-1], site, spectra, colours)
    if stages:
        _draw_ranks(parts[1].subplots(), stages, colours)
    marks = [
        Line2D([], [], color=colour, linewidth=2.5, label=name) for name, colour in colours.items()
    ]
    figure.legend(handles=marks, loc='outside lower center', ncols=len(marks), fontsize=8,
                  frameon=False)  # fmt: skip
    return figure


def _stages(rows: Mapping[str, RankRow]) -> dict[str, dict[str, RankRow]]:
    """By stage, of backbone and decoder each, whose names share nothing."""
    parts: dict[str, dict[str, RankRow]] = {}
    for name, row in rows.items():
        parts.setdefault(name.split('.')[0], {})[name] = row
    return {stage: layers for part in parts.values() for stage, layers in by_stage(part).items()}


def _draw_trajectory(
    axes: Axes, trajectory: OmegaTrajectory, source: str, bounds: tuple[float, float] | None,
    colours: Mapping[str, str],
) -> None:  # fmt: skip
    notes = []
    if bounds is not None and np.isfinite(bounds).all():
        axes.axhspan(*bounds, color='0.5', alpha=0.1, linewidth=0)
        notes.append('grey: where they start')
    if len(trajectory.omegas) > 1:
        notes.append('thick: of the layer beside')
    for name, tasks in trajectory.omegas.items():
        chosen = name == source
        for task, omegas in tasks.items():
            # one record is a point, which has no line
            axes.plot(
                trajectory.times, omegas, color=colours.get(task, '0.5'), marker='o', markersize=2,
                linewidth=1.8 if chosen else 0.7, alpha=1 if chosen else 0.3,
                zorder=3 if chosen else 2,
            )  # fmt: skip
    axes.set_title('Frequencies' + (f' ({"; ".join(notes)})' if notes else ''), fontsize=9)
    axes.set_xlabel(trajectory.unit)
    axes.set_ylabel('ω')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes)


def _draw_spectra(axes: Axes, site: str, spectra: Spectra, colours: Mapping[str, str]) -> None:
    last, shown, most = list(spectra)[-1], 1, 1
    for step, tasks in spectra.items():
        for task, values in tasks.items():
            most = len(values)
            if not values.max() > 0:
                continue
            share, shared = values / values.max(), task == MATRIX
            shown = max(shown, int((share > _FLOOR).sum()))
            axes.plot(
                np.arange(1, most + 1), share, color=colours[task],
                linestyle='-' if shared else _LINES[step], linewidth=2 if shared else 1.3,
                alpha=1 if step in (MATRIX, last) else 0.75, marker='o',
                markersize=2.5 if most <= _FEW or shown <= _FEW else 0,
            )  # fmt: skip
    zero = not any(values.max() > 0 for tasks in spectra.values() for values in tasks.values())
    axes.set_yscale('log')
    axes.set_ylim(_FLOOR, 1.6)
    axes.set_xlim(0, min(1.15 * shown + 2, most + 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f'Singular values of {site}' + (' (all 0)' if zero else ''), fontsize=9)
    axes.set_xlabel(f'number (of {most})')
    axes.set_ylabel('share of the largest')
    strokes = [
        Line2D([], [], color='0.4', linestyle=_LINES[step], label=_NAMES[step])
        for step, tasks in spectra.items() if MATRIX not in tasks
    ]  # fmt: skip
    axes.legend(handles=strokes, fontsize=8, frameon=False)
    _finish(axes)


def _draw_ranks(
    axes: Axes, stages: Mapping[str, Mapping[str, RankRow]], colours: Mapping[str, str]
) -> None:
    """A row a site, in it a line a task: a ring before the low-pass, a dot after it."""
    places, labels, top = [], [], 0.0
    for stage, rows in stages.items():
        for row in rows.values():
            places.append(top + 0.5)
            axes.barh(places[-1], row.most, 0.86, color='0.95', zorder=1)
            _draw_row(axes, row, top, colours)
            top += 1
        labels += short_names(list(rows))
        if list(rows) != [stage]:
            axes.text(1.005, top - len(rows) / 2, stage, transform=axes.get_yaxis_transform(),
                      rotation=270 if len(rows) > 1 else 0, fontsize=8, ha='left', va='center',
                      color='0.35')  # fmt: skip
        top += _GAP
    axes.set_ylim(top - _GAP, 0)
    axes.set_yticks(places, labels, fontsize=7)
    # linear below 1, where there is but the rank of a weight that is 0
    axes.set_xscale('symlog', base=2, linthresh=1, linscale=0.5)
    axes.set_xlim(-0.1, 1.1 * max(row.most for rows in stages.values() for row in rows.values()))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.set_xlabel('effective rank (grey: up to the smaller side)')
    axes.set_title(f'Effective ranks: {_NAMES[MATRIX]} |, {_NAMES[SINE]} ○, as added ●', fontsize=9)
    _finish(axes)
    axes.grid(False, axis='y')


def _draw_row(axes: Axes, row: RankRow, top: float, colours: Mapping[str, str]) -> None:
    last = list(row.ranks)[-1]
    tasks = list(row.ranks[last])
    for step, ranks in row.ranks.items():
        if MATRIX in ranks:
            axes.plot([ranks[MATRIX]] * 2, [top + 0.07, top + 0.93], color='black', linewidth=1.4,
                      zorder=2)  # fmt: skip
            continue
        marker = dict(marker='|') if step == MATRIX and step != last else dict(marker='o')
        for task, rank in ranks.items():
            place = top + 0.1 + 0.8 * (tasks.index(task) + 0.5) / len(tasks)
            axes.plot(
                [rank], [place], color=colours[task], markersize=4, zorder=3, **marker,
                markerfacecolor=colours[task] if step == last else 'white',
            )  # fmt: skip


def _finish(axes: Axes) -> None:
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)
    axes.grid(True, color='0.93')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.tick_params(labelsize=8)
