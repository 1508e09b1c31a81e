"""What a test says beside its figures: classes, single pictures, errors."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mtpeft.evaluation.details import class_table
from mtpeft.evaluation.details_json import as_json
from mtpeft.evaluation.metrics import DenseMetric
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import Size
from mtpeft.visualization.details_files import Predict, write_details
from mtpeft.visualization.visualizer import photograph


@HOOKS.register_module()
class DetailsHook(Hook):
    """Scores of single pictures, figures of classes, and pictures of errors, after a test.

    A picture's score is its task's headline metric of this picture alone. The table of classes is
    logged. With ``out_dir``, these files are written there, of each task:

    * ``<task>_classes.csv``: IoU, accuracy and precision of each class;
    * ``<task>_confusion.csv`` (pixels; rows are true classes), ``.png`` and ``.pdf``;
    * ``<task>_worst.png``, ``<task>_best.png``: the pictures of the worst and the best score with
      truth, prediction and error;

    and ``scores.csv``, a line a picture.

    Metrics of other packages than mtpeft have no details. The pictures that are drawn are predicted
    once more, by the first process.

    Args:
        out_dir: Folder of the files. ``None``: none are written.
        number: How many of the worst and of the best pictures are named and drawn.
        draw_input: Draw the photographs too. ``False`` keeps them out, for data whose pictures
            must not be passed on.

    Attributes:
        report: After a test, everything as plain numbers
            (:func:`~mtpeft.evaluation.details_json.as_json`); in the first of several processes.

    Example:
        >>> DetailsHook(number=3).report is None
        True
    """

    priority = 'LOWEST'

    def __init__(
        self, out_dir: str | None = None, number: Size = 5, draw_input: bool = True
    ) -> None:
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.number = number
        self.draw_input = draw_input
        self.report: dict | None = None

    def before_test_epoch(self, runner: Runner) -> None:
        self.report = None
        # results are known by their positions in the data set
        shuffled = getattr(runner.test_dataloader.sampler, 'shuffle', False)
        if shuffled:
            runner.logger.log(
                logging.WARNING,
                'The test loader shuffles its pictures, so there are no scores of single ones. '
                'Expected sampler=dict(shuffle=False).',
            )
        for metric in _metrics(runner):
            metric.keep_details, metric.details = not shuffled, None

    def after_test_epoch(self, runner: Runner, metrics: Mapping | None = None) -> None:
        found = {metric.task.name: metric for metric in _metrics(runner) if metric.details}
        if not is_main_process() or not found:
            return
        details = {name: metric.details for name, metric in found.items()}
        tasks = {name: metric.task for name, metric in found.items()}
        pictures = _names(runner, len(next(iter(details.values())).scores))
        self.report = as_json(details, tasks, pictures, self.number)
        for name, task in tasks.items():
            if details[name].confusion is not None:
                runner.logger.info('\n' + class_table(task, details[name].confusion))
        if self.out_dir is not None:
            predict = _predicting(runner)
            write_details(self.out_dir, details, tasks, self.report, predict, self.draw_input)
            runner.logger.info(f'Tables and pictures of the test are in {self.out_dir}.')


def _metrics(runner: Runner) -> list[DenseMetric]:
    return [m for m in runner.test_evaluator.metrics if isinstance(m, DenseMetric)]


def _names(runner: Runner, number: int) -> list[str]:
    """Of each picture in the order of the data set: ``img_id``, else the name of its file."""
    dataset = runner.test_dataloader.dataset
    infos = (dataset.get_data_info(index) for index in range(number))
    return [
        str(info.get('img_id') or Path(info.get('img_path') or str(index)).stem)
        for index, info in enumerate(infos)
    ]


def _predicting(runner: Runner) -> Predict:
    """Predicts pictures of the test set once more, each once."""
    dataset, model = runner.test_dataloader.dataset, unwrap(runner.model)
    known: dict[int, tuple] = {}

    def predict(index: int) -> tuple[np.ndarray, object]:
        if index not in known:
            data = dataset[index]
            with torch.no_grad():
                (sample,) = model.test_step({key: [value] for key, value in data.items()})
            known[index] = photograph(data['inputs']), sample.cpu()
        return known[index]

    return predict
