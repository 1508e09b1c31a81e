"""The printed table."""

from mtpeft.evaluation import metrics_table
from mtpeft.tasks import build_tasks

TASKS = build_tasks(['semseg', 'depth', 'normals'])
METRICS = {
    'semseg/mIoU': 70.0, 'semseg/aAcc': 91.0, 'semseg/IoU/cat': 50.0, 'depth/rmse': 0.54,
    'depth/abs_rel': 0.1, 'loss': 3.0, 'mtl/delta/semseg': 0.0, 'mtl/delta_m': 12.345,
}  # fmt: skip


def _cells(text):
    return [line.split() for line in text.splitlines()]


def test_rows_carry_unit_direction_baseline_and_delta():
    baselines = dict(semseg=dict(mIoU=80.0), depth=dict(rmse=0.6))
    rows = _cells(metrics_table(METRICS, TASKS, baselines))
    assert ['semseg', 'mIoU*', '70.00', '%', '↑', '80.00', '-12.50'] in rows
    assert ['semseg', 'IoU/cat', '50.00', '%', '↑'] in rows
    assert ['depth', 'rmse*', '0.540', 'm', '↓', '0.600', '+10.00'] in rows
    assert ['depth', 'abs_rel', '0.100', '↓'] in rows
    assert ['normals', '(no', 'labels)'] in rows
    assert rows[-1] == ['all', 'delta_m', '↑', '+12.35'] or rows[-1][-1] == '+12.34'
    assert 'loss' not in str(rows)


def test_columns_line_up_and_baselines_are_optional():
    lines = metrics_table(METRICS, TASKS).splitlines()
    assert 'baseline' not in lines[0]
    unit = lines[0].index('unit')
    assert [line[unit] for line in lines if 'mIoU' in line or 'rmse' in line] == ['%', 'm']
