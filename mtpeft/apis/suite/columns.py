"""A table of rows and columns, before it is Markdown or LaTeX."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtpeft.apis.suite.suite import SINGLE_TASK
from mtpeft.apis.suite.summary import Row, Stat, Summary

BEST, SECOND = 'best', 'second'


@dataclass(frozen=True)
class Column:
    """What stands above a column.

    Attributes:
        title: Such as ``'semseg mIoU'``.
        unit: Such as ``'%'``.
        lower_is_better: ``None`` where neither is better.
    """

    title: str
    unit: str = ''
    lower_is_better: bool | None = None


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    Attributes:
        text: As it is printed, with ``±`` between mean and standard deviation.
        mark: ``'best'``, ``'second'``, or nothing.
    """

    text: str
    mark: str = ''


@dataclass(frozen=True)
class Table:
    """Columns, and rows of one cell a column; the first is the name of the method."""

    columns: list[Column]
    rows: list[list[Cell]]


def figures_table(summary: Summary, p_values: Mapping[str, float], against: str = '') -> Table:
    """Methods, the headline of each task, Delta_m and, with ``against``, p values.

    The best and the second best figure of each column are marked. Single-task networks have no
    part in that: they are what the others are compared with.
    """
    rows = summary.rows
    columns = [Column('method')]
    cells = [[Cell(row.label) for row in rows]]
    for task, line in summary.headline.items():
        key, lower = f'{task}/{line["metric"]}', line['lower_is_better']
        columns.append(Column(f'{task} {line["metric"]}', line['unit'], lower))
        stats = [row.metrics.get(key) for row in rows]
        cells.append(_marked(rows, stats, lower, digits_of(line['unit'])))
    columns.append(Column('Δm', '%', False))
    gains = [row.delta_m for row in rows]
    cells.append(_marked(rows, gains, False, 2, '+'))
    if against:
        columns.append(Column('p'))
        cells.append([Cell(_p_text(row.label, p_values, against)) for row in rows])
    return Table(columns, [list(row) for row in zip(*cells, strict=True)])


def with_columns(table: Table, titles: Sequence[str], texts: Sequence[Sequence[str]]) -> Table:
    """The table with further columns on the right, ``texts`` row by row."""
    rows = [[*row, *map(Cell, more)] for row, more in zip(table.rows, texts, strict=True)]
    return Table([*table.columns, *map(Column, titles)], rows)


def millions(row: Row, key: str) -> str:
    """One of a row's counts of parameters."""
    return f'{row.parameters[key] / 1e6:.3f}' if row.parameters else '-'


def digits_of(unit: str) -> int:
    """Digits behind the point."""
    return 2 if unit in ('%', 'deg') else 3


def shown(stat: Stat | None, digits: int, sign: str = '') -> str:
    """Mean, and standard deviation where there are several seeds."""
    if stat is None:
        return '-'
    text = f'{stat.mean:{sign}.{digits}f}'
    return text if math.isnan(stat.std) else f'{text} ± {stat.std:.{digits}f}'


def _marked(
    rows: Sequence[Row], stats: Sequence[Stat | None], lower: bool, digits: int, sign: str = ''
) -> list[Cell]:  # fmt: skip
    """Cells with marks; figures that are printed alike have one place."""
    printed = [shown(stat, digits, sign) for stat in stats]
    means = [text.split(' ')[0] for text in printed]
    part = [stat is not None and row.role != SINGLE_TASK
            for row, stat in zip(rows, stats, strict=True)]  # fmt: skip
    competing = [mean for mean, takes_part in zip(means, part, strict=True) if takes_part]
    places = sorted(set(competing), key=float, reverse=not lower)
    if len(competing) < 2 or len(places) < 2:
        return [Cell(text) for text in printed]
    # of two, the second is the last
    marks = {places[0]: BEST} | ({places[1]: SECOND} if len(competing) > 2 else {})
    return [Cell(text, marks.get(mean, '') if takes_part else '')
            for text, mean, takes_part in zip(printed, means, part, strict=True)]  # fmt: skip


def _p_text(label: str, p_values: Mapping[str, float], against: str) -> str:
    if label == against:
        return 'reference'
    if label not in p_values:
        return '-'
    return '<0.001' if p_values[label] < 0.001 else f'{p_values[label]:.3f}'
