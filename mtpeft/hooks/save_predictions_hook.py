"""A drawing of every tested picture."""

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import Size
from mtpeft.visualization.formats import suffix_of
from mtpeft.visualization.segmentor import as_multi_task, tasks_of
from mtpeft.visualization.visualizer import MultiTaskVisualizer, photograph


@HOOKS.register_module()
class SavePredictionsHook(Hook):
    """Writes input, ground truth and prediction of each picture of a test, one file a picture.

    Segmentors of mmsegmentation are drawn too.

    Args:
        out_dir: Folder of the drawings, which are named by ``img_id``, without one by the file.
        height: Height of one picture in a drawing, in pixels.
        draw_input: Draw the photograph too. ``False`` keeps it out, for data whose pictures must
            not be passed on.
        suffix: What files: ``'.png'``, ``'.jpg'``, or ``'.pdf'`` and ``'.svg'`` with text as
            vectors.

    Raises:
        ValueError: another suffix.

    Example:
        >>> SavePredictionsHook('out').out_dir
        PosixPath('out')
    """

    def __init__(
        self, out_dir: str, height: Size = 240, draw_input: bool = True, suffix: str = '.png'
    ) -> None:  # fmt: skip
        self.out_dir, self.suffix = Path(out_dir), suffix_of(f'drawing{suffix}')
        self.visualizer = MultiTaskVisualizer(height=height, draw_input=draw_input)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        metainfo = getattr(runner.test_dataloader.dataset, 'metainfo', None)
        self.visualizer.tasks = tasks_of(unwrap(runner.model), metainfo)
        for picture, sample in zip(data_batch['inputs'], outputs, strict=True):
            sheet = self.visualizer.sheet([photograph(picture)], [as_multi_task(sample.cpu())])
            name = str(sample.get('img_id', _stem(sample))).replace('/', '_')
            sheet.save(self.out_dir / f'{name}{self.suffix}')


def _stem(sample: Any) -> Any:
    path = sample.get('img_path')
    return Path(path).stem if path else sample.get('sample_idx')
