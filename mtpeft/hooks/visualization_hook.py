"""Pictures of what the model predicts, after every evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import Count, Size
from mtpeft.visualization.visualizer import MultiTaskVisualizer, photograph, write_picture


@HOOKS.register_module()
class PredictionGridHook(Hook):
    """Draws input, ground truth and prediction of the same few pictures after each evaluation.

    The grid is written to ``<work_dir>/vis/<val|test>_<epoch>.png`` (of a loop of
    iterations: the iteration) and passed to the backends
    of the run's visualizer (local files, TensorBoard, ...). In several processes it shows
    pictures that the first one evaluated. A model without ``tasks`` (a plain mmseg one) is left to
    mmseg's own hook.

    Args:
        num_pictures: How many pictures, spread evenly over the data set.
        height: Height of one picture in the grid, in pixels.
        draw_input: Draw the photograph too. ``False`` keeps it out of the grid, for data whose
            pictures must not be passed on.

    Raises:
        ValueError: ``num_pictures`` is not positive.

    Example:
        >>> PredictionGridHook(num_pictures=2).last_grid is None
        True
    """

    priority = 'LOW'

    def __init__(
        self, num_pictures: Count = 4, height: Size = 192, draw_input: bool = True
    ) -> None:
        if num_pictures < 1:
            raise ValueError(f'Expected num_pictures to be positive, got {num_pictures}.')
        self.num_pictures = num_pictures
        self.height = height
        self.draw_input = draw_input
        self.last_grid: str | None = None
        self._start(0)

    def before_val_epoch(self, runner: Runner) -> None:
        self._start(len(runner.val_dataloader.dataset))

    def before_test_epoch(self, runner: Runner) -> None:
        self._start(len(runner.test_dataloader.dataset))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        self._collect(runner, data_batch, outputs)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        self._collect(runner, data_batch, outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._draw(runner, 'val')

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._draw(runner, 'test')

    def _start(self, length: int) -> None:
        own = -(-length // get_world_size())
        self._wanted = set(np.linspace(0, max(own - 1, 0), self.num_pictures).round().astype(int))
        self._seen = 0
        self._images: list[np.ndarray] = []
        self._samples: list = []

    def _collect(self, runner: Runner, data_batch: Any, outputs: Any) -> None:
        if not is_main_process() or not hasattr(unwrap(runner.model), 'tasks'):
            return
        for picture, sample in zip(data_batch['inputs'], outputs, strict=True):
            if self._seen in self._wanted:
                self._images.append(photograph(picture))
                self._samples.append(sample.cpu())
            self._seen += 1

    def _draw(self, runner: Runner, mode: str) -> None:
        if not self._images:
            return
        visualizer = MultiTaskVisualizer(height=self.height, draw_input=self.draw_input)
        visualizer.tasks = unwrap(runner.model).tasks
        drawn = visualizer.draw_all(self._images, self._samples)
        step = _step(runner) if mode == 'val' else 0
        path = Path(runner.work_dir) / 'vis' / f'{mode}_{step}.png'
        write_picture(path, drawn)
        runner.visualizer.add_image(f'{mode}_predictions', drawn, step)
        self.last_grid = str(path)
        self._start(0)


def _step(runner: Runner) -> int:
    """What counts the evaluations: a loop of iterations is one epoch."""
    return runner.iter if isinstance(runner.train_loop, IterBasedTrainLoop) else runner.epoch
