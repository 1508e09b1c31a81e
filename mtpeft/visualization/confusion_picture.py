"""A confusion matrix as a heat map."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: up to so many classes the shares are written into the cells
_WRITTEN = 14


def draw_confusion(confusion: np.ndarray, classes: Sequence[str], title: str = '') -> Figure:
    """Draw the share of each true class's pixels that are predicted as each class, in percent.

    Classes that are in no label and no prediction are left out. A row without pixels in the labels
    stays empty.

    Args:
        confusion: ``(C, C)`` counts; rows are true classes.
        classes: Their names.
        title: Of the figure.
    """
    confusion = np.asarray(confusion, dtype=float)
    there = np.flatnonzero(confusion.sum(0) + confusion.sum(1))
    counts = confusion[np.ix_(there, there)]
    actual = counts.sum(1, keepdims=True)
    shares = np.where(actual > 0, 100 * counts / np.maximum(actual, 1), np.nan)
    names = [str(classes[index]) for index in there]
    side = max(3.2, 0.3 * len(names) + 1.6)
    figure = Figure(figsize=(side + 1.1, side), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap='Blues', vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel='predicted class', ylabel='true class', title=title)
    if len(names) <= _WRITTEN:
        for (row, column), share in np.ndenumerate(shares):
            if not np.isnan(share):
                axes.text(column, row, f'{share:.0f}', ha='center', va='center', fontsize=7,
                          color='white' if share > 55 else '0.2')  # fmt: skip
    bar = figure.colorbar(picture, ax=axes, shrink=0.8)
    bar.set_label("% of the true class's pixels")
    return figure
