"""What is said below a table."""

import json
from collections.abc import Sequence

from mtpeft.apis.suite.baselines import CONFIGS, RUNS
from mtpeft.apis.suite.content import Content
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import SINGLE_TASK
from mtpeft.apis.suite.summary import Row, Summary


def notes_of(content: Content) -> list[str]:
    """Failed runs, missing Delta_m, the test, where results are from, machines and commits."""
    runs, summary = content.runs, content.summary
    finished = [run.result for run in runs if run.status == 'finished']
    return [
        *(f'{run.entry.label} seed {run.seed} {run.status}: {run.reason}'
          for run in runs if run.status in ('failed', 'broken', 'changed')),
        *_missing_deltas(summary.rows),
        *test_of(content),
        *_files(runs, len(finished)),
        *_commits(finished),
        *_machines(finished),
    ]  # fmt: skip


def delta_is_over(summary: Summary) -> str:
    """A sentence: what Delta_m is, and where its baselines are from; empty without any."""
    runs, configs = (summary.baselines.of_source(source) for source in (RUNS, CONFIGS))
    if not runs and not configs:
        return ''
    named = ', '.join(f'{task} {summary.headline[task]["metric"]} {value:.6g}'
                      for task, value in configs.items())  # fmt: skip
    over = {
        (True, False): 'the single-task runs of this suite',
        (False, True): f'the baselines that the configs name ({named}), since the suite has no '
                       'finished single-task run',
        (True, True): f'the single-task runs of this suite and, where there is none, the '
                      f'baselines that the configs name ({named})',
    }[bool(runs), bool(configs)]  # fmt: skip
    return f'Δm: mean relative gain in percent (positive is better) over {over}.'


def test_of(content: Content) -> list[str]:
    """Which test the column of p values is of."""
    if not content.against:
        return []
    rows = {row.label: row for row in content.summary.rows if row.role != SINGLE_TASK}
    seeds = len(rows[content.against].delta_m.values)
    number = len(content.p_values)
    said = [
        f"p: Welch's two-sided t-test of Δm over seeds against {content.against} ({seeds} seeds), "
        f'corrected for {number} row{"s" * (number != 1)} (Holm)'
    ]
    without = [label for label in rows if label not in {*content.p_values, content.against}]
    if without:
        said.append(
            f'no p for {", ".join(without)}: fewer than two seeds with a Δm, or no variance'
        )
    return said


def _missing_deltas(rows: Sequence[Row]) -> list[str]:
    return [
        f'{row.label}: Δm {"is " if row.delta_m else "is missing: "}{row.delta_note}'
        for row in rows if row.delta_note and row.role != SINGLE_TASK
    ]  # fmt: skip


def _files(runs: Sequence[Run], finished: int) -> list[str]:
    read = {run.file.parent for run in runs if run.file is not None}
    number = sum(run.file is not None for run in runs)
    return [f'{number} of the {finished} results are from files in {folder}' for folder in read]


def _commits(finished: Sequence[dict]) -> list[str]:
    commits = sorted({str(result['commit']) for result in finished})
    if len(commits) < 2:
        return []
    more = ', and others' if len(commits) > 4 else ''
    return [f'the runs are of different commits: {", ".join(commits[:4])}{more}']


def _machines(finished: Sequence[dict]) -> list[str]:
    hosts = {json.dumps(result['host'], sort_keys=True) for result in finished}
    if len(hosts) > 1:
        return [f'seconds are of different machines: {"; ".join(sorted(hosts))}']
    if not hosts:
        return []
    host = finished[0]['host']
    device = host['device'] if host['device'] != 'cpu' else host.get('processor', 'cpu')
    return [f'{device}, {host["cpus"]} CPU cores ({host["threads"]} threads), '
            f'torch {host["torch"]}, commit {finished[0]["commit"]}']  # fmt: skip
