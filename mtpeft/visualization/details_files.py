"""The details of a test as files: tables of classes, confusion matrices, pictures of errors."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mtpeft.evaluation.details import Details, class_names, class_rows
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask
from mtpeft.utils.atomic import write_atomically
from mtpeft.visualization.confusion_picture import draw_confusion
from mtpeft.visualization.error_picture import Judged, draw_errors

#: position in the data set -> photograph (RGB), and the sample with labels and predictions
Predict = Callable[[int], tuple[np.ndarray, MultiTaskDataSample]]


def write_details(
    folder: Path,
    details: Mapping[str, Details],
    tasks: Mapping[str, DenseTask],
    report: Mapping,
    predict: Predict,
    draw_input: bool = True,
) -> None:
    """Write the files that :class:`mtpeft.hooks.DetailsHook` names.

    Args:
        folder: Where; it need not exist.
        details: By task.
        tasks: The tasks of ``details``.
        report: Of them, see :func:`~mtpeft.evaluation.details_json.as_json`.
        predict: Gives a picture of the data set with its predictions.
        draw_input: Draw the photographs too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scores = zip(report['pictures'], *(details[name].scores for name in tasks), strict=True)
    header = ['picture', *(f'{name}/{task.headline}' for name, task in tasks.items())]
    _write_csv(folder / 'scores.csv', header, list(scores))
    for name, task in tasks.items():
        if details[name].confusion is not None:
            _write_classes(folder, task, details[name])
        for kind in ('worst', 'best'):
            listed = report['tasks'][name][kind]
            if listed:
                unit = report['tasks'][name]['unit']
                judged = [_judged(predict, row, task.headline, unit) for row in listed]
                title = f'{name}: {kind} pictures of the test set'
                figure = draw_errors(task, judged, title, draw_input)
                figure.savefig(folder / f'{name}_{kind}.png')


def _judged(predict: Predict, row: Mapping, metric: str, unit: str) -> Judged:
    image, sample = predict(row['index'])
    return Judged(image, sample, f'{row["picture"]}: {metric} {row["score"]:.4g} {unit}'.strip())


def _write_classes(folder: Path, task: DenseTask, details: Details) -> None:
    rows, names = class_rows(task, details.confusion), class_names(task)
    _write_csv(
        folder / f'{task.name}_classes.csv', ['class', *list(rows[0])[1:]],
        [list(row.values()) for row in rows],
    )  # fmt: skip
    matrix = details.confusion.tolist()
    _write_csv(
        folder / f'{task.name}_confusion.csv', ['true class / predicted', *names],
        [[name, *row] for name, row in zip(names, matrix, strict=True)],
    )  # fmt: skip
    figure = draw_confusion(np.asarray(matrix), names, f'{task.name}: confusion')
    for kind in ('png', 'pdf'):
        figure.savefig(folder / f'{task.name}_confusion.{kind}')


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(header)
    writer.writerows([['' if value is None else value for value in row] for row in rows])
    write_atomically(buffer.getvalue().encode(), path)
