r"""The table of a suite as LaTeX, for a paper: ``\usepackage{booktabs}`` is all it needs."""

from collections.abc import Sequence

from mtpeft.apis.suite.columns import (
    BEST,
    SECOND,
    Cell,
    Column,
    Table,
    millions,
    with_columns,
)
from mtpeft.apis.suite.content import Content
from mtpeft.apis.suite.notes import delta_is_over, notes_of, test_of

_ESCAPES = {
    '\\': r'\textbackslash{}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}',
    '<': r'\textless{}', '>': r'\textgreater{}', '|': r'\textbar{}',
    'Δ': r'$\Delta$', '±': r'$\pm$', '↑': r'$\uparrow$', '↓': r'$\downarrow$',
    '°': r'$^{\circ}$', '×': r'$\times$', '−': '$-$',
    **{letter: f'\\{letter}' for letter in '&%$#_{}'},
}  # fmt: skip


def latex(content: Content) -> str:
    """A ``table`` of booktabs: marks, arrows, means and deviations over seeds, parameters.

    What else is said below the other tables stands in comments above it.
    """
    table = _with_parameters(content)
    lines = [
        *(f'% {note}' for note in notes_of(content)),
        r'% \usepackage{booktabs}',
        r'\begin{table}', r'  \centering', f'  \\caption{{{escape(_caption(content))}}}',
        f'  \\label{{tab:{"".join(c if c.isalnum() else "-" for c in content.suite.name)}}}',
        f'  \\begin{{tabular}}{{l{"r" * (len(table.columns) - 1)}}}',
        r'    \toprule', *_header(table), r'    \midrule',
        *(_line(list(map(_cell, row))) for row in table.rows),
        r'    \bottomrule', r'  \end{tabular}', r'\end{table}',
    ]  # fmt: skip
    return '\n'.join(lines) + '\n'


def escape(text: str) -> str:
    r"""A text as LaTeX prints it.

    Example:
        >>> print(escape('50 % of a_b'))
        50 \% of a\_b
        >>> print(escape('--x'))
        -{}-x
    """
    escaped = ''.join(_ESCAPES.get(letter, letter) for letter in text)
    # two hyphens would be a dash
    while '--' in escaped:
        escaped = escaped.replace('--', '-{}-')
    return escaped


def _with_parameters(content: Content) -> Table:
    keys = {'trainable': 'params (M)'}
    shrunk = any(row.parameters and row.parameters['effective'] != row.parameters['trainable']
                 for row in content.summary.rows)  # fmt: skip
    keys |= {'effective': 'effective (M)'} if shrunk else {}
    rows = [[millions(row, key) for key in keys] for row in content.summary.rows]
    return with_columns(content.figures, list(keys.values()), rows)


def _caption(content: Content) -> str:
    suite, rows = content.suite, content.summary.rows
    numbers = sorted({len(row.seeds) for row in rows if row.seeds})
    seeds = f'{numbers[0]} to {numbers[-1]} seeds' if len(numbers) > 1 else (
        f'{numbers[0]} seed{"s" * (numbers[0] != 1)}' if numbers else 'no seed')  # fmt: skip
    spread = ', mean ± standard deviation' if numbers and numbers[-1] > 1 else ''
    marked = any(cell.mark for row in content.figures.rows for cell in row)
    return ' '.join(filter(None, [
        f'Suite {suite.name} ({suite.data}), {seeds}{spread}.',
        'Bold: best; underlined: second best of the methods.' if marked else '',
        delta_is_over(content.summary),
        *(f'{text}.' for text in test_of(content)),
    ]))  # fmt: skip


def _header(table: Table) -> list[str]:
    return [_line(cells) for cells in zip(*map(_title, table.columns), strict=True)]


def _title(column: Column) -> tuple[str, str]:
    """Two lines: the task, and its metric with unit and arrow."""
    arrow = {None: '', True: '↓', False: '↑'}[column.lower_is_better]
    task, _, metric = column.title.partition(' ')
    unit = '°' if column.unit == 'deg' else column.unit
    below = ' '.join(filter(None, (metric, f'({unit})' if unit else '', arrow)))
    return escape(task.replace('_', ' ')), escape(below.replace('_', ' '))


def _cell(cell: Cell) -> str:
    mean, *std = escape(cell.text).split(r' $\pm$ ')
    mean = f'$-${mean[1:]}' if mean.startswith('-') and len(mean) > 1 else mean
    mean = {BEST: f'\\textbf{{{mean}}}', SECOND: f'\\underline{{{mean}}}'}.get(cell.mark, mean)
    return r' $\pm$ '.join([mean, *std])


def _line(cells: Sequence[str]) -> str:
    return f'    {" & ".join(cells)} \\\\'
