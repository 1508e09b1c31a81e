"""Parts of a run's report: results, curves, parameters, config, how it was made."""

import re
import shlex
from collections.abc import Mapping

from mtpeft.evaluation.baselines import resolve_baselines
from mtpeft.evaluation.delta import delta_per_task
from mtpeft.evaluation.describe import describe
from mtpeft.report.html import Html, join, table, tag
from mtpeft.report.plot import line_chart
from mtpeft.report.run_files import RunFiles
from mtpeft.tasks import DenseTask, build_tasks

Tasks = Mapping[str, DenseTask]
Baselines = Mapping[str, Mapping[str, float]]
_ENVIRONMENT = ('Python', 'PyTorch', 'TorchVision', 'OpenCV', 'MMEngine', 'GPU 0', 'CUDA available')


def tasks_of(run: RunFiles) -> Tasks:
    """The tasks of a run, as its config describes them; empty where it does not."""
    cfg = run.config
    spec = cfg and (cfg.get('tasks') or (cfg.get('model') or {}).get('tasks'))
    tasks = build_tasks(spec) if spec else {}
    # (a config that was written out has its keys in the order of the alphabet)
    order = (run.checkpoint.get('meta') or {}).get('tasks') or run.result.get('headline') or ()
    return {name: tasks[name] for name in [*order, *tasks] if name in tasks}


def baselines_of(run: RunFiles, tasks: Tasks) -> Baselines:
    """Single-task figures that the run was compared with, empty without any."""
    evaluator = (run.config or {}).get('val_evaluator') or {}
    given = evaluator.get('baselines') if isinstance(evaluator, Mapping) else None
    if not given:
        return {}
    try:
        return resolve_baselines(given, tasks)
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def results(run: RunFiles, tasks: Tasks, baselines: Baselines) -> Html:
    """Figures of the last evaluation, each beside its baseline."""
    if not run.metrics:
        return tag('p', 'The run was not evaluated yet.', class_='note')
    rows = []
    for name, task in tasks.items():
        found = {k.removeprefix(f'{name}/'): v for k, v in run.metrics.items()
                 if k.startswith(f'{name}/')}  # fmt: skip
        for metric, value in found.items():
            rows.append(_metric_row(task, metric, value, baselines.get(name, {}).get(metric)))
    rows += [
        ['', key, f'{value:.4g}', '', '', '']
        for key, value in run.metrics.items()
        if isinstance(value, int | float) and key.split('/')[0] not in ('mtl', *tasks)
    ]
    known = bool(baselines)
    header = ['task', 'metric', 'value', '', *(['baseline', 'delta %'] if known else [])]
    body = table(header, rows if known else [row[:4] for row in rows], numbers=2)
    about = 'Bold: the metric that enters Δm. Arrows point to better.'
    if known:
        about += ' Baseline: single-task networks, as in the config. Positive deltas are better.'
    return join(body, tag('p', about, class_='note'))


def number(value: float, unit: str | None) -> str:
    """A figure with as many decimals as tables of evaluations have."""
    return f'{value:.2f}' if unit in ('%', 'deg') else f'{value:.3f}'


def delta_cell(value: float | None) -> Html:
    """A relative gain in percent, coloured by its sign."""
    if value is None:
        return tag('td', '', class_='number')
    sign = 'good' if value > 0.005 else 'bad' if value < -0.005 else ''
    return tag('td', f'{value:+.2f}', class_=f'number {sign}'.strip())


def _metric_row(task: DenseTask, metric: str, value: float, baseline: float | None) -> list:
    known = describe(task, metric)
    unit = known.unit or '' if known else ''
    arrow = '' if known is None else '↓' if known.lower_is_better else '↑'
    delta = None
    if known is not None and baseline is not None:
        lower = {metric} if known.lower_is_better else set()
        delta = delta_per_task({metric: value}, {metric: baseline}, lower)[metric]
    headline = metric == task.headline
    words = tag('b', metric) if headline else metric
    shown = number(value, unit)
    before = '' if baseline is None else number(baseline, unit)
    return [
        task.name.replace('_', ' ') if headline else '', words,
        tag('b', shown) if headline else shown,
        tag('td', f'{unit} {arrow}'.strip(), class_='unit'), before, delta_cell(delta),
    ]  # fmt: skip


def curves(run: RunFiles, tasks: Tasks) -> Html:
    """Losses and learning rate over iterations, and metrics over evaluations."""
    charts = []
    steps = [record['iter'] for record in run.train]
    if steps:
        charts.append(line_chart('Loss (sum of all tasks)', {
            'loss': (steps, [r['loss'] for r in run.train])
        }, 'iteration', log=True))  # fmt: skip
        each = {
            name.replace('_', ' '): (steps, [r.get(f'loss_{name}', float('nan'))
                                             for r in run.train])
            for name in tasks if any(f'loss_{name}' in r for r in run.train)
        }  # fmt: skip
        if len(each) > 1:
            charts.append(line_chart('Weighted loss of each task', each, 'iteration', log=True))
        for key, title in (('lr', 'Learning rate'), ('grad_norm', 'Norm of the gradient')):
            if any(key in r for r in run.train):
                points = steps, [r.get(key, float('nan')) for r in run.train]
                charts.append(line_chart(title, {key: points}, 'iteration'))
    charts += _evaluations(run, tasks)
    if not charts:
        return tag('p', 'There is no record of the training.', class_='note')
    return tag('div', charts, class_='charts')


def _evaluations(run: RunFiles, tasks: Tasks) -> list[Html]:
    if len(run.val) < 2:
        return []
    unit_of_steps = 'epoch' if run.by_epoch else 'iteration'
    times, charts = [r['step'] for r in run.val], []
    for name, task in tasks.items():
        key = f'{name}/{task.headline}'
        if any(key in r for r in run.val):
            known = describe(task, task.headline)
            arrow = '↓' if task.lower_is_better else '↑'
            title = f'{name.replace("_", " ")}: {task.headline} {arrow}'
            points = times, [r.get(key, float('nan')) for r in run.val]
            charts.append(
                line_chart(title, {task.headline: points}, unit_of_steps, known.unit or '')
            )
    if any('mtl/delta_m' in r for r in run.val):
        points = times, [r.get('mtl/delta_m', float('nan')) for r in run.val]
        charts.append(line_chart('Δm over single-task networks ↑', {'Δm': points}, unit_of_steps,
                                 '%'))  # fmt: skip
    return charts


def parameters(run: RunFiles) -> Html:
    """Trainable parameters by what they are for, with bars."""
    counts, total = components(run)
    if not counts:
        return tag('p', 'Neither result.json nor the log says how many.', class_='note')
    trainable = sum(counts.values())
    rows = [
        [name, f'{n:,}', f'{n / trainable:.1%}',
         tag('td', tag('span', style=f'width:{100 * n / trainable:.2f}%'), class_='bar')]
        for name, n in counts.items()
    ]  # fmt: skip
    rows.append([tag('b', 'trainable'), tag('b', f'{trainable:,}'), '', ''])
    effective = (run.result.get('parameters') or {}).get('effective')
    if effective and effective != trainable:
        left = f'{effective / trainable:.1%}'
        rows.append(['left without pruned components', f'{effective:,}', left, ''])
    if total:
        share = f'{trainable / total:.1%} are trained'
        rows.append(['all, with the frozen backbone', f'{total:,}', share, ''])
    return table(['component', 'parameters', 'share', ''], rows)


def components(run: RunFiles) -> tuple[dict[str, int], int | None]:
    """Trainable parameters by component, and all there are where the log says it."""
    found = dict((run.result.get('parameters') or {}).get('components') or {})
    lines = re.search(r'^component +parameters\n[- ]+\n((?:\w[\w ]* +[\d,]+\n)+)', run.log, re.M)
    logged = {}
    for line in lines[1].splitlines() if lines else ():
        name, count = line.rsplit(maxsplit=1)
        logged[name.strip()] = int(count.replace(',', ''))
    total = logged.pop('total', None)
    logged.pop('trainable', None)
    return found or logged, total


def config(run: RunFiles) -> Html:
    """The config as the run wrote it, folded."""
    if not run.config_text:
        return tag('p', 'The work dir has no config.', class_='note')
    lines = run.config_text.count('\n')
    return tag('details', tag('summary', f'The whole config, {lines} lines'),
               tag('pre', run.config_text))  # fmt: skip


def provenance(run: RunFiles) -> Html:
    """Commands that make the run again, and what it ran on."""
    rows = [[name, value] for name, value in _facts(run).items()]
    facts = table(['what', 'value'], rows, numbers=9) if rows else None
    commands = [tag('pre', command) for command in _commands(run)]
    return join(tag('h4', 'Commands'), commands, tag('h4', 'Versions and machine'), facts)


def _commands(run: RunFiles) -> list[str]:
    folder = shlex.quote(run.shown_path)
    config_file = run.config_name or 'CONFIG'
    named = run.recipe.get('config') or run.result.get('config') or config_file
    words = ['mtpeft', 'train', str(named)]
    seed = run.recipe.get('seed', (run.checkpoint.get('meta') or {}).get('seed'))
    words += ['--seed', str(seed)] if seed is not None else []
    first = shlex.join(words)
    options = run.recipe.get('cfg_options') or {}
    if options:
        first += ' --cfg-options ' + ' '.join(shlex.quote(f'{k}={v}') for k, v in options.items())
    last = run.checkpoint_name or 'CHECKPOINT'
    test = f'mtpeft test {shlex.quote(config_file)} {folder}/{last}'
    return [first, test, f'mtpeft predict {folder} PICTURES --out predicted']


def _facts(run: RunFiles) -> dict[str, str]:
    facts = {}
    for name in _ENVIRONMENT:
        found = re.search(rf'^ +{re.escape(name)}: (.+)$', run.log, re.M)
        if found:
            facts[name] = found[1].strip()
    result, host = run.result, run.result.get('host') or {}
    facts |= {key: str(host[key]) for key in ('processor', 'device', 'cpus', 'threads')
              if host.get(key) is not None}  # fmt: skip
    meta = run.checkpoint.get('meta') or {}
    finished = {
        'commit': result.get('commit'), 'finished': result.get('date'),
        'last checkpoint': run.checkpoint_name,
        'training': _duration(result.get('training_seconds')),
        'peak memory': result.get('peak_memory_mb') and f'{result["peak_memory_mb"]:,.0f} MB',
        'seconds a step': result.get('seconds_per_step')
        and f'{result["seconds_per_step"]:.3f} (median)',
        'seed': run.recipe.get('seed', meta.get('seed')),
    }  # fmt: skip
    return facts | {key: str(value) for key, value in finished.items() if value not in (None, '')}


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {rest} s'
