"""A picture with truth and predictions of its tasks: a row each, columns of tasks."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mtpeft.tasks import DenseTask
from mtpeft.visualization.fitted import fitted, photograph_at, value_extremes
from mtpeft.visualization.key import draw_legend
from mtpeft.visualization.marks import Box
from mtpeft.visualization.panels import inner_box, panel_size, pixels_of
from mtpeft.visualization.sheet import GREY, Sheet

Maps = Mapping[str, np.ndarray]
GAP = 3
#: the row of labels: its lines were drawn by people or a renderer, and are not thinned
TRUTH = 'truth'
_RIM, _EMPTY = (205, 205, 205), (244, 244, 244)


def draw_comparison(
    tasks: Mapping[str, DenseTask],
    picture: np.ndarray,
    rows: Mapping[str, Maps],
    height: float = 192,
    draw_input: bool = True,
    header: bool = True,
    density: float = 1.0,
) -> Sheet:
    """A picture, its labels and what one or several methods predict, row below row.

    All rows of a task share their colours: those of depth run over the values of the truth, or of
    all rows where there is none. Below the picture stands what the colours mean, of the classes
    that occur. Class maps are laid over the photograph where it may be drawn.

    Args:
        tasks: The tasks by name, a column each where any row has a map.
        picture: ``(H, W, 3)`` uint8, RGB; only its shape counts where ``draw_input`` is False.
        rows: ``{row: {task: (H, W) or (H, W, C)}}``; the row ``'truth'`` has the labels.
        height: Height of one map.
        draw_input: Draw the photograph, also below class maps.
        header: Write the names of the columns.
        density: Pixels of the drawing a unit of ``height``, more for print.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> sal = dict(sal=np.ones((8, 8)))
        >>> sheet = draw_comparison(build_tasks(['sal']), np.zeros((8, 8, 3), np.uint8),
        ...                         {'truth': sal, 'LoRA': sal}, height=100)
        >>> [mark.text for mark in sheet.marks if hasattr(mark, 'text')][:4]
        ['input', 'truth', 'sal', 'LoRA']
    """
    names = [name for name in tasks if any(name in maps for maps in rows.values())]
    size = float(np.clip(height / 14, 7, 15))
    plan = _Plan.of(picture.shape, round(height), len(names), len(rows), draw_input, size, header)
    sheet = Sheet(plan.width, plan.height, density)
    if draw_input:
        box = inner_box(picture.shape, (0, plan.top, plan.wide, plan.high))
        _title(sheet, 'input', 0, plan.wide, size, header)
        sheet.picture(box, photograph_at(picture, pixels_of(box, density)))
    columns = {name: tasks[name] for name in names}
    ranges = {name: common_range(task, name, rows) for name, task in columns.items()}
    _draw_maps(sheet, columns, rows, ranges, plan, size, header, picture if draw_input else None)
    shown = {
        name: [_plain(task, maps[name]) for maps in rows.values() if name in maps]
        for name, task in columns.items()
    }
    if shown:
        draw_legend(sheet, plan.legend(size), tasks, shown, ranges, min(size, 12))
    return sheet


class _Plan(NamedTuple):
    """Where things are: maps of ``high`` and ``wide`` from (left, top) on, a legend beside them."""

    width: float
    height: float
    left: float
    top: float
    high: float
    wide: float
    below_input: bool
    legend_left: float

    @classmethod
    def of(
        cls, shape: tuple[int, ...], height: int, columns: int, rows: int, draw_input: bool,
        size: float, header: bool,
    ) -> '_Plan':  # fmt: skip
        high, wide = panel_size(shape, height)
        top = 1.8 * size if header else 0.0
        total = top + max(rows, 1) * (high + GAP) - GAP
        if not columns:
            return cls(wide, total, 0, top, high, wide, False, 0)
        legend_first = rows > 1
        left = (wide + GAP if draw_input or legend_first else 0) + 1.7 * size
        end = left + columns * (wide + GAP)
        if legend_first:
            return cls(end - GAP, total, left, top, high, wide, draw_input, 0)
        return cls(end + 2 * GAP + wide, total, left, top, high, wide, False, end + 2 * GAP)

    def legend(self, size: float) -> Box:
        top = self.top + (self.high + GAP + 0.5 * size if self.below_input else 0)
        return self.legend_left, top, self.wide - 2, self.height - top


def common_range(
    task: DenseTask, name: str, rows: Mapping[str, Maps]
) -> tuple[float, float] | None:  # fmt: skip
    """Ends of the colours of a task of values, of the truth if there is any, else of all rows."""
    if task.kind != 'values':
        return None
    maps = [rows[TRUTH][name]] if name in rows.get(TRUTH, {}) else [
        maps[name] for maps in rows.values() if name in maps
    ]  # fmt: skip
    ends = [value_extremes(task, _plain(task, array)) for array in maps]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _plain(task: DenseTask, array: np.ndarray) -> np.ndarray:
    return np.squeeze(array) if task.label_channels == 1 and array.ndim == 3 else array


def _draw_maps(
    sheet: Sheet, tasks: Mapping[str, DenseTask], rows: Mapping[str, Maps],
    ranges: Mapping[str, tuple[float, float] | None], plan: _Plan, size: float, header: bool,
    photo: np.ndarray | None,
) -> None:  # fmt: skip
    for row, (label, maps) in enumerate(rows.items()):
        y = plan.top + row * (plan.high + GAP)
        if tasks:
            sheet.text(plan.left - 0.85 * size, y + plan.high / 2, label, size, turned=True,
                       room=plan.high)  # fmt: skip
        for column, (name, task) in enumerate(tasks.items()):
            x = plan.left + column * (plan.wide + GAP)
            if row == 0:
                _title(sheet, name.replace('_', ' '), x, plan.wide, size, header)
            cell = (x, y, plan.wide, plan.high)
            if name not in maps:
                sheet.fill(cell, _EMPTY)
                words = 'no label' if label == TRUTH else 'not predicted'
                sheet.text(x + plan.wide / 2, y + plan.high / 2, words, size, align='center',
                           colour=GREY, room=plan.wide)  # fmt: skip
                continue
            array = _plain(task, maps[name])
            box = inner_box(array.shape, cell)
            pixels = pixels_of(box, sheet.density)
            sheet.picture(box, fitted(task, array, pixels, ranges[name], label != TRUTH, photo))
            sheet.frame(box, _RIM, 0.7)


def _title(
    sheet: Sheet, text: str, left: float, width: float, size: float, header: bool
) -> None:  # fmt: skip
    if header:
        sheet.text(left + width / 2, 1.15 * size, text, size, align='center', room=width)
