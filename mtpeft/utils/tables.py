"""Numbers as a table of text."""

from collections.abc import Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns of text; the first aligned left, the others right.

    Example:
        >>> print(table(['task', 'mIoU'], [['semseg', 61.5]]))
        task     mIoU
        ------  -----
        semseg  61.50
    """
    cells = [[_text(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        '  '.join(cell.rjust(width) if i else cell.ljust(width)
                  for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]  # fmt: skip
    return '\n'.join([lines[0], '  '.join('-' * width for width in widths), *lines[1:]])


def _text(cell: Any) -> str:
    if isinstance(cell, int):
        return f'{cell:,}'
    return f'{cell:.2f}' if isinstance(cell, float) else str(cell)
