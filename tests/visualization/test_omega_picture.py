"""What the picture of frequencies shows."""

import numpy as np
import pytest

from mtpeft.visualization.omega_picture import OmegaTrajectory, RankRow, draw_omega

TASKS = ('semseg', 'depth')
SPECTRA = {
    'M': {'M': np.array([4.0, 2.0, 0.0])},
    'sine': dict(semseg=np.array([4.0, 2.0, 0.1]), depth=np.array([4.0, 2.0, 0.2])),
    'low-pass': dict(semseg=np.array([5.0, 1.0, 0.1]), depth=np.array([2.0, 0.5, 0.25])),
}
RANKS = {
    'M': {'M': 2.0}, 'sine': dict(semseg=2.5, depth=2.75),
    'low-pass': dict(semseg=2.25, depth=0.0),
}  # fmt: skip
SITES = [f'backbone.net.layers.{i}.blocks.1.mlp.{n}' for i in range(2) for n in ('fc1', 'fc2')]
ROWS = {name: RankRow(RANKS, (8, 3)) for name in [*SITES, 'decoder']}


def history(*sources, unit='epoch'):
    return [
        dict(
            epoch=i if unit == 'epoch' else 0, iter=10 * i,
            omegas={s: dict(semseg=40.0 + i, depth=50.0 - i) for s in sources},
        )
        for i in range(3)
    ]  # fmt: skip


def data(line):
    return np.array(line.get_xdata()).tolist(), np.array(line.get_ydata()).tolist()


def test_frequencies_over_training():
    trajectory = OmegaTrajectory.of(history('backbone'))
    figure = draw_omega(TASKS, SITES[0], SPECTRA, ROWS, trajectory, 'backbone', (15.0, 75.0))
    way = figure.axes[0]
    assert [data(line) for line in way.lines] == [
        ([0, 1, 2], [40.0, 41.0, 42.0]), ([0, 1, 2], [50.0, 49.0, 48.0]),
    ]  # fmt: skip
    assert [line.get_color() for line in way.lines] == ['C0', 'C1']
    assert way.get_xlabel() == 'epoch' and 'where they start' in way.get_title()
    assert way.get_ylim()[0] < 15 and way.get_ylim()[1] > 75
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ['semseg', 'depth', 'M']


def test_the_frequencies_of_the_site_are_thick():
    trajectory = OmegaTrajectory.of(history(*SITES, unit='iteration'))
    figure = draw_omega(TASKS, SITES[1], SPECTRA, ROWS, trajectory, SITES[1])
    way = figure.axes[0]
    thick = [line.get_linewidth() > 1 for line in way.lines]
    assert thick == [False, False, True, True, *[False] * 4]
    assert way.get_xlabel() == 'iteration' and trajectory.times == [0, 10, 20]
    assert 'thick' in way.get_title()


def test_singular_values():
    figure = draw_omega(TASKS, SITES[0], SPECTRA, {SITES[0]: ROWS[SITES[0]]})
    (axes,) = figure.axes  # one site, no history: nothing else to show
    lines = {(line.get_color(), line.get_linestyle()): data(line) for line in axes.lines}
    assert lines == {
        ('black', '-'): ([1, 2, 3], [1.0, 0.5, 0.0]),
        ('C0', '--'): ([1, 2, 3], [1.0, 0.5, 0.025]), ('C1', '--'): ([1, 2, 3], [1.0, 0.5, 0.05]),
        ('C0', '-'): ([1, 2, 3], [1.0, 0.2, 0.02]), ('C1', '-'): ([1, 2, 3], [1.0, 0.25, 0.125]),
    }  # fmt: skip
    assert axes.get_yscale() == 'log' and SITES[0] in axes.get_title()


def test_what_is_zero_is_said():
    zero = {step: {t: 0 * v for t, v in tasks.items()} for step, tasks in SPECTRA.items()}
    ranks = {step: dict.fromkeys(tasks, 0.0) for step, tasks in RANKS.items()}
    rows = {name: RankRow(ranks, (8, 3)) for name in SITES}
    figure = draw_omega(TASKS, SITES[0], zero, rows)
    assert figure.axes[0].get_title().endswith('(all 0)') and not figure.axes[0].lines
    figure.canvas.draw()
    assert figure.axes[1].get_xlim()[0] < 0


@pytest.mark.parametrize('steps', [('M', 'sine', 'low-pass'), ('M', 'sine'), ('M', 'low-pass')])
def test_effective_ranks_by_site_and_task(steps):
    row = RankRow({step: RANKS[step] for step in steps}, (8, 3))
    assert row.most == 3
    figure = draw_omega(TASKS, SITES[0], SPECTRA, {name: row for name in ROWS})
    axes = figure.axes[1]
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names == ['1 · fc1', '1 · fc2', '1 · fc1', '1 · fc2', 'decoder']
    assert [t.get_text() for t in axes.texts] == ['layers.0', 'layers.1']
    assert [bar.get_width() for bar in axes.patches] == [3] * 5
    marks = [line for line in axes.lines if line.get_marker() == 'o']
    shown = {(m.get_color(), m.get_markerfacecolor() == 'white', data(m)[0][0]) for m in marks}
    assert shown == {
        (f'C{i}', step != steps[-1], RANKS[step][task])
        for i, task in enumerate(TASKS) for step in steps[1:]
    }  # fmt: skip
    assert len(marks) == 5 * 2 * len(steps[1:])
    assert sum(line.get_color() == 'black' for line in axes.lines) == 5


def test_a_base_for_each_task():
    ranks = {'M': dict(semseg=1.5, depth=2.0), 'sine': dict(semseg=2.0, depth=2.5)}
    spectra = {'M': SPECTRA['sine'], 'sine': SPECTRA['low-pass']}
    rows = {name: RankRow(ranks, (8, 3)) for name in SITES}
    figure = draw_omega(TASKS, SITES[0], spectra, rows)
    strokes = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines]
    assert strokes == [('C0', ':'), ('C1', ':'), ('C0', '--'), ('C1', '--')]
    bars = [line for line in figure.axes[1].lines if line.get_marker() == '|']
    assert [line.get_color() for line in bars[:2]] == ['C0', 'C1'] and len(bars) == 8
