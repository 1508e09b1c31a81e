"""Parts of a run's report about its adapters: ranks, and frequencies of tasks."""

from collections.abc import Mapping, Sequence

from mtpeft.adapters.ranks.patterns import (
    RankPattern,
    by_stage,
    describe_ranks,
    mean_rank,
    ranks_of,
    streams_of,
    without_idle,
)
from mtpeft.report.html import Html, join, table, tag
from mtpeft.report.plot import line_chart
from mtpeft.report.run_files import RunFiles
from mtpeft.visualization.omega_picture import OmegaTrajectory
from mtpeft.visualization.rank_picture import Trajectory, layer_names

_STATES = ('epoch', 'iter')


def ranks(run: RunFiles) -> Html | None:
    """Ranks over training and of each layer; ``None`` where there are no low-rank adapters."""
    meta = run.checkpoint.get('meta') or {}
    pattern = meta.get('rank_pattern')
    if not pattern:
        return None
    idle = meta.get('idle_streams') or {}
    words = tag('p', f'In {run.checkpoint_name}: {describe_ranks(pattern, idle)}.')
    return join(words, _over_time(run, idle), _by_layer(pattern, idle))


def frequencies(run: RunFiles) -> Html | None:
    """Frequencies of tasks over training; ``None`` where the run has none."""
    history = (run.checkpoint.get('frequencies') or {}).get('history')
    if not history:
        return None
    trajectory = OmegaTrajectory.of(history)
    charts = [
        line_chart(f'ω of {source}', {task: (trajectory.times, values)
                                      for task, values in tasks.items()}, trajectory.unit, 'ω')
        for source, tasks in trajectory.omegas.items()
    ]  # fmt: skip
    shown = charts[:4]
    more = len(charts) - len(shown)
    note = tag('p', f'{more} more sets of frequencies are not drawn.', class_='note')
    rows = [
        [source if first else '', task, f'{values[0]:.3f}', f'{values[-1]:.3f}',
         f'{values[-1] - values[0]:+.3f}']
        for source, tasks in trajectory.omegas.items()
        for first, (task, values) in _with_first(tasks)
    ]  # fmt: skip
    numbers = table(['of', 'task', 'start', 'end', 'change'], rows, numbers=2)
    return join(tag('div', shown, class_='charts'), note if more else None, numbers,
                _effective(history))  # fmt: skip


def _effective(history: Sequence[Mapping]) -> Html | None:
    """Effective ranks of what is added, over training, of the layer with the largest."""
    records = [record for record in history if record.get('effective_ranks')]
    if len(records) < 2:
        return None
    site = max(records[-1]['effective_ranks'],
               key=lambda name: max(records[-1]['effective_ranks'][name].values()))  # fmt: skip
    key = 'epoch' if records[0]['epoch'] < records[-1]['epoch'] else 'iter'
    found = [record for record in records if site in record['effective_ranks']]
    series = {
        task: ([r[key] for r in found], [r['effective_ranks'][site][task] for r in found])
        for task in found[-1]['effective_ranks'][site]
    }
    unit = 'epoch' if key == 'epoch' else 'iteration'
    chart = line_chart(f'Effective rank of what {site} adds', series, unit)
    return tag('div', chart, class_='charts')


def _with_first(tasks: Mapping) -> list:
    return [(number == 0, item) for number, item in enumerate(tasks.items())]


def _over_time(run: RunFiles, idle: Mapping) -> Html | None:
    """Means over layers, of the checkpoint's history, else of the log."""
    states = [state for state in run.checkpoint.values() if isinstance(state, Mapping)]
    history = next((s['history'] for s in states
                    if s.get('history') and 'ranks' in s['history'][0]), None)  # fmt: skip
    if history:
        meta = run.checkpoint['meta']
        trajectory = Trajectory.of(history, *(meta.get(key, 0) for key in _STATES))
        times = [*trajectory.times, trajectory.end]
        patterns = [without_idle(p, idle) for p in trajectory.patterns]
        patterns = [*patterns, patterns[-1]]
        series = {'all': (times, [mean_rank(p) for p in patterns])}
        for stream in streams_of(patterns[0]):
            means = [mean_rank(p, stream) for p in patterns]
            series[stream] = times, [float('nan') if m is None else m for m in means]
        unit = trajectory.unit
    elif len(run.ranks) > 1:
        steps = [record['step'] for record in run.ranks]
        series = {
            label: (steps, [record.get(key, float('nan')) for record in run.ranks])
            for key, label in (('rank/mean', 'all'), ('rank/mean_shared', 'shared'),
                               ('rank/mean_task', 'tasks'))
        }  # fmt: skip
        unit = 'epoch' if run.by_epoch else 'iteration'
    else:
        return None
    chart = line_chart('Mean rank over layers', series, unit, log=True, step=True,
                       dashed=('all', 'shared'))  # fmt: skip
    return tag('div', chart, class_='charts')


def _by_layer(pattern: RankPattern, idle: Mapping) -> Html:
    """A table whose cells are shaded by rank, stage by stage."""
    streams, used = streams_of(pattern), by_stage(without_idle(pattern, idle))
    largest = max(max(ranks_of(layers), default=1) for layers in used.values())
    body = []
    for stage, layers in by_stage(pattern).items():
        body.append(tag('tr', tag('th', stage, colspan=len(streams) + 1, class_='stage')))
        for name, layer in zip(layer_names(list(layers)), layers, strict=True):
            cells = [
                _cell(layers[layer].get(stream), used[stage][layer].get(stream), largest)
                for stream in streams
            ]
            body.append(tag('tr', tag('th', name, scope='row'), cells))
    head = tag('tr', tag('th', 'layer'), [tag('th', s.replace('_', ' ')) for s in streams])
    inner = tag('table', tag('thead', head), tag('tbody', body), class_='ranks')
    scale = tag('p', 'Darker cells have a higher rank, up to ', tag('b', largest),
                '. Ranks in brackets have no effect on any output.', class_='note')  # fmt: skip
    title = tag('summary', f'Rank of each of {len(pattern)} layers')
    few = len(pattern) <= 60
    return tag('details', title, tag('div', inner, class_='scroll'), scale, open=few)


def _cell(rank: int | None, counted: int | None, largest: int) -> Html:
    if not rank:
        return tag('td', '')
    if not counted:
        return tag('td', f'({rank})', class_='idle')
    share = round(0.08 + 0.92 * counted / max(largest, 1), 3)
    return tag('td', rank, style=f'--share:{share}', class_='dark' if share > 0.55 else None)
