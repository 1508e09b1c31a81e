"""What a recipe leaves out changes no figure; base schedules are validated several times."""

from pathlib import Path

import pytest
from helpers.engine import ROOT, tiny, train, write_base
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop

from mtpeft.apis.suite.recipe import resolved


def test_how_often_a_run_is_validated_changes_no_figure(tmp_path):
    base = write_base(tmp_path / 'base.pth')
    seldom, often = (
        dict(train_cfg__max_epochs=3, train_cfg__val_interval=interval, **more)
        for interval, more in ((3, {}), (2, dict(train_cfg__dynamic_intervals=[(2, 1)])))
    )
    named = [resolved(tiny(base, experiment_name='same', **options))
             for options in (seldom, often, dict(often, train_cfg__max_epochs=2))]  # fmt: skip
    assert named[0] == named[1] != named[2]
    figures = []
    for name, options in dict(seldom=seldom, often=often).items():
        runner = train(tiny(base, **options), tmp_path / name)
        scalars = runner.message_hub.log_scalars
        kept = {key: scalar.data[0] for key, scalar in scalars.items() if key.startswith('val/')}
        figures.append({key: values for key, values in kept.items() if 'time' not in key})
    last = [{key: values[-1] for key, values in run.items()} for run in figures]
    assert last[0] == last[1] and len(last[0]) >= 4
    assert [len(run['val/depth/rmse']) for run in figures] == [1, 3]


class Epochs(EpochBasedTrainLoop):
    """The loop's own decisions, without steps."""

    def __init__(self, max_epochs, val_interval, dynamic_intervals=None, **_):
        from mmengine.runner.utils import calc_dynamic_intervals

        self._epoch, self._max_epochs, self.val_interval = 0, max_epochs, val_interval
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(
            val_interval, dynamic_intervals
        )
        self._decide_current_val_interval()

    def validated(self):
        found = []
        while self._epoch < self._max_epochs:
            self._epoch += 1
            self._decide_current_val_interval()
            if self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs:
                found.append(self._epoch)
        return found


@pytest.mark.parametrize(
    'schedule', sorted((ROOT / 'configs/_base_/schedules').glob('*.py')), ids=lambda p: p.stem
)
def test_a_base_schedule_is_validated_at_least_four_times(schedule: Path):
    cfg = Config.fromfile(schedule)
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop'
    times = Epochs(**cfg.train_cfg).validated()
    assert len(times) >= 4 and times[-1] == cfg.train_cfg.max_epochs
    # and a short one not after each epoch, which would take longer
    assert len(times) <= 15 and len(times) < cfg.train_cfg.max_epochs
