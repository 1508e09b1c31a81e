"""The table of a suite: Markdown, CSV, a plot, and its baselines."""

import csv
import io
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from mtpeft.apis.suite.collect import collect, one_line
from mtpeft.apis.suite.plot import plot_delta
from mtpeft.apis.suite.results import ResultFiles
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import Suite
from mtpeft.apis.suite.summary import SINGLE_TASK, Row, Stat, Summary, summarise
from mtpeft.utils.atomic import write_atomically

_COUNTS = ('trainable', 'effective', 'without_decoder', 'effective_without_decoder',
           'without_decoder_and_unused')  # fmt: skip
_ABOUT = """\
Trainable parameters in millions; "effective" are those left after training, without pruned
components of adapters; "without" leaves out the decoder and what trains without effect.
Seconds per training step: the median, with the loading of data. Memory: {memory}.
{single}"""
_SINGLE = """\
Δm: mean relative gain over the single-task runs of this suite in percent, positive is better.
{label} is all single-task networks together: parameters and seconds are sums, memory the largest.
"""


def write_report(
    suite: Suite, work_dir: str | Path, results: ResultFiles | None = None
) -> Summary:  # fmt: skip
    """Write ``table.md``, ``table.csv``, ``delta_m.png`` and ``baselines.json`` to ``work_dir``.

    The plot needs a Delta_m, the baselines a single-task result; what cannot be made any more is
    removed. ``baselines.json`` is what ``MultiTaskEvaluator(baselines=...)`` reads. ``results`` are
    read where a run is not finished in ``work_dir``.

    Returns:
        What was written.
    """
    work_dir = Path(work_dir)
    runs = collect(suite, work_dir, results)
    summary = summarise(runs)
    write_atomically(markdown(suite, summary, runs).encode(), work_dir / 'table.md')
    write_atomically(to_csv(summary).encode(), work_dir / 'table.csv')
    baselines, picture = work_dir / 'baselines.json', work_dir / 'delta_m.png'
    if summary.baselines:
        text = json.dumps(dict(baselines=summary.baselines), indent=2)
        write_atomically(text.encode(), baselines)
    else:
        baselines.unlink(missing_ok=True)
    if any(row.delta_m is not None for row in summary.rows):
        write_atomically(plot_delta(summary.rows, f'{suite.name}: {suite.data}'), picture)
    else:
        picture.unlink(missing_ok=True)
    return summary


def markdown(suite: Suite, summary: Summary, runs: Sequence[Run]) -> str:
    """The table, what its columns are, and every run below it."""
    words = suite.about.words()
    header = ['method', *(_title(task, line) for task, line in summary.headline.items()),
              'Δm % ↑', 'trainable M', 'effective M', 'without M', 's/step', 'memory MB',
              'seeds']  # fmt: skip
    rows = [_row(row, summary.headline) for row in summary.rows]
    recipe = [f'`{key}={value}`' for key, value in suite.cfg_options.items()]
    recipe = '; '.join([*recipe, *([f'`{shlex.join(words)}`'] if words else [])])
    memory = ' and '.join(
        sorted({'of tensors on the GPU' if run.result['peak_memory_of'] == 'gpu'
                else 'of the training process, without its loaders'
                for run in runs if run.status == 'finished'})
    )  # fmt: skip
    has_single = any(row.role == SINGLE_TASK for row in summary.rows)
    about = _ABOUT.format(
        memory=memory or '-', single=_SINGLE.format(label=SINGLE_TASK) if has_single else ''
    )
    parts = [
        f'# Suite {suite.name}: {suite.data}', _pipes(header, rows), about.strip(),
        '\n'.join(f'- {note}' for note in _notes(summary, runs)),
        f"Options over those of the configs: {recipe or 'none'}.",
        '## Runs', _runs(runs),
    ]  # fmt: skip
    return '\n\n'.join(part for part in parts if part) + '\n'


def to_csv(summary: Summary) -> str:
    """One line a method: every figure with its deviation, parameters as whole numbers."""
    names = list({name: None for row in summary.rows for name in row.metrics})
    figures = [f'{name}{kind}' for name in [*names, 'delta_m'] for kind in ('', ' std')]
    header = ['method', 'role', 'seeds', *figures, *_COUNTS, 'seconds_per_step', 'peak_memory_mb',
              'delta_note', 'problems']  # fmt: skip
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(header)
    for row in summary.rows:
        stats = [row.metrics.get(name) for name in names] + [row.delta_m]
        cells = [cell for stat in stats for cell in _mean_and_std(stat)]
        writer.writerow([
            row.label, row.role, ' '.join(map(str, row.seeds)), *cells,
            *(row.parameters.get(key, '') for key in _COUNTS), _blank(row.seconds_per_step),
            _blank(row.peak_memory_mb), row.delta_note, '; '.join(row.problems),
        ])  # fmt: skip
    return buffer.getvalue()


def _title(task: str, line: dict) -> str:
    arrow = '↓' if line['lower_is_better'] else '↑'
    return ' '.join(word for word in (task, line['metric'], line['unit'], arrow) if word)


def _row(row: Row, headline: dict[str, dict]) -> list[str]:
    figures = [_shown(row.metrics.get(f'{task}/{line["metric"]}'), _digits(line['unit']))
               for task, line in headline.items()]  # fmt: skip
    millions = [f'{row.parameters[key] / 1e6:.3f}' if row.parameters else '-'
                for key in ('trainable', 'effective', 'without_decoder_and_unused')]  # fmt: skip
    seconds = '-' if row.seconds_per_step is None else f'{row.seconds_per_step:.3f}'
    memory = '-' if row.peak_memory_mb is None else f'{row.peak_memory_mb:.0f}'
    seeds = ', '.join(map(str, row.seeds)) or 'none'
    # the reasons are listed below the table
    seeds += f' ({len(row.problems)} without a result)' if row.problems else ''
    if row.role != SINGLE_TASK and not row.seeds and row.problems:
        seeds = one_line(row.problems[0].removeprefix(f'{row.label} '), 60)
    return [row.label, *figures, _shown(row.delta_m, 2, sign='+'), *millions, seconds, memory,
            seeds]  # fmt: skip


def _notes(summary: Summary, runs: Sequence[Run]) -> list[str]:
    notes = [
        f'{run.entry.label} seed {run.seed} {run.status}: {run.reason}'
        for run in runs if run.status in ('failed', 'broken', 'changed')
    ]  # fmt: skip
    notes += [f'{row.label}: Δm {"is " if row.delta_m else "is missing: "}{row.delta_note}'
              for row in summary.rows if row.delta_note and row.role != SINGLE_TASK]  # fmt: skip
    finished = [run.result for run in runs if run.status == 'finished']
    read = {run.file.parent for run in runs if run.file is not None}
    notes += [f'{sum(r.file is not None for r in runs)} of the {len(finished)} results are from '
              f'files in {folder}' for folder in read]  # fmt: skip
    commits = sorted({str(result['commit']) for result in finished})
    if len(commits) > 1:
        more = ', and others' if len(commits) > 4 else ''
        notes.append(f'the runs are of different commits: {", ".join(commits[:4])}{more}')
    hosts = {json.dumps(result['host'], sort_keys=True) for result in finished}
    if len(hosts) > 1:
        notes.append(f'seconds are of different machines: {"; ".join(sorted(hosts))}')
    elif hosts:
        host = finished[0]['host']
        device = host['device'] if host['device'] != 'cpu' else host.get('processor', 'cpu')
        notes.append(f'{device}, {host["cpus"]} CPU cores ({host["threads"]} threads), '
                     f'torch {host["torch"]}, commit {commits[0]}')  # fmt: skip
    return notes


def _runs(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        result = run.result or {}
        figures = ', '.join(
            f'{task} {line["metric"]} ' + ('-' if line['value'] is None
                                           else f'{line["value"]:.{_digits(line["unit"])}f}')
            for task, line in result.get('headline', {}).items()
        )  # fmt: skip
        rows.append([
            run.entry.label, str(run.seed), run.status, figures or run.reason,
            str(result.get('epochs', '')), result.get('date', ''), run.entry.config,
        ])  # fmt: skip
    return _pipes(['method', 'seed', 'status', 'result', 'epochs', 'date', 'config'], rows)


def _pipes(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(c.replace("|", "/") for c in line)} |' for line in lines)


def _digits(unit: str) -> int:
    return 2 if unit in ('%', 'deg') else 3


def _shown(stat: Stat | None, digits: int, sign: str = '') -> str:
    if stat is None:
        return '-'
    text = f'{stat.mean:{sign}.{digits}f}'
    return text if math.isnan(stat.std) else f'{text} ± {stat.std:.{digits}f}'


def _mean_and_std(stat: Stat | None) -> tuple[float | str, float | str]:
    if stat is None:
        return '', ''
    return stat.mean, '' if math.isnan(stat.std) else stat.std


def _blank(value: float | None) -> float | str:
    return '' if value is None else value
