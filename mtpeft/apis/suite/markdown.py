"""The table of a suite as Markdown, what its columns are, and every run below it."""

import shlex
from collections.abc import Sequence

from mtpeft.apis.suite.collect import one_line
from mtpeft.apis.suite.columns import BEST, Cell, Column, Table, digits_of, millions, with_columns
from mtpeft.apis.suite.content import Content
from mtpeft.apis.suite.notes import delta_is_over, notes_of
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import SINGLE_TASK
from mtpeft.apis.suite.summary import Row

RUNS_TITLE = '## Runs'
_PARAMETERS = ('trainable', 'effective', 'without_decoder_and_unused')
_TITLES = ('trainable M', 'effective M', 'without M', 's/step', 'memory MB', 'seeds')
_ABOUT = """\
Trainable parameters in millions; "effective" are those left after training, without pruned
components of adapters; "without" leaves out the decoder and what trains without effect.
Seconds per training step: the median, with the loading of data. Memory: {memory}."""
_SINGLE = """\
{label} is all of these networks together: parameters and seconds are sums, memory the largest."""
_MARKS = 'Bold: best, underlined: second best, of the methods.'


def markdown(content: Content) -> str:
    """The table, what its columns are, and every run below it."""
    suite = content.suite
    rows = [[*(millions(row, key) for key in _PARAMETERS), *_costs(row), _seeds(row)]
            for row in content.summary.rows]  # fmt: skip
    table = with_columns(content.figures, _TITLES, rows)
    words = suite.about.words()
    recipe = [f'`{key}={value}`' for key, value in suite.cfg_options.items()]
    recipe = '; '.join([*recipe, *([f'`{shlex.join(words)}`'] if words else [])])
    parts = [
        f'# Suite {suite.name}: {suite.data}', _markdown(table), _about(content, table),
        '\n'.join(f'- {note}' for note in notes_of(content)),
        f"Options over those of the configs: {recipe or 'none'}.",
        RUNS_TITLE, _runs(content.runs),
    ]  # fmt: skip
    return '\n\n'.join(part for part in parts if part) + '\n'


def _about(content: Content, table: Table) -> str:
    memory = ' and '.join(
        sorted({'of tensors on the GPU' if run.result['peak_memory_of'] == 'gpu'
                else 'of the training process, without its loaders'
                for run in content.runs if run.status == 'finished'})
    )  # fmt: skip
    has_single = any(row.role == SINGLE_TASK for row in content.summary.rows)
    return '\n'.join(filter(None, [
        _ABOUT.format(memory=memory or '-'),
        delta_is_over(content.summary),
        _SINGLE.format(label=SINGLE_TASK) if has_single else '',
        _MARKS if any(cell.mark for row in table.rows for cell in row) else '',
    ]))  # fmt: skip


def _markdown(table: Table) -> str:
    return _pipes([_title(c) for c in table.columns], [list(map(_cell, r)) for r in table.rows])


def _title(column: Column) -> str:
    arrow = {None: '', True: '↓', False: '↑'}[column.lower_is_better]
    return ' '.join(filter(None, (column.title, column.unit, arrow)))


def _cell(cell: Cell) -> str:
    if not cell.mark:
        return cell.text
    return f'**{cell.text}**' if cell.mark == BEST else f'<u>{cell.text}</u>'


def _costs(row: Row) -> list[str]:
    seconds = '-' if row.seconds_per_step is None else f'{row.seconds_per_step:.3f}'
    return [seconds, '-' if row.peak_memory_mb is None else f'{row.peak_memory_mb:.0f}']


def _seeds(row: Row) -> str:
    # the reasons are listed below the table
    if row.role != SINGLE_TASK and not row.seeds and row.problems:
        return one_line(row.problems[0].removeprefix(f'{row.label} '), 60)
    more = f' ({len(row.problems)} without a result)' if row.problems else ''
    return (', '.join(map(str, row.seeds)) or 'none') + more


def _runs(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        result = run.result or {}
        figures = ', '.join(
            f'{task} {line["metric"]} ' + ('-' if line['value'] is None
                                           else f'{line["value"]:.{digits_of(line["unit"])}f}')
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
