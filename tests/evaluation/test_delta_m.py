"""Delta_m: every row of the published tables, recomputed, and its errors."""

import math

import pytest

from mtpeft.evaluation import delta_m
from mtpeft.evaluation.delta import delta_per_task

PASCAL = dict(semseg=67.21, human_parts=61.93, sal=62.35, normals=17.97)
NYUD = dict(semseg=42.65, depth=0.60, normals=22.83)

# name, figures, printed, recomputed where the print is wrong
ROWS = [
    ('Full fine-tuning', (67.56, 60.24, 65.21, 16.64), 2.23, 2.445),
    ('MTLoRA r64', (67.90, 59.84, 65.40, 16.60), 2.55, None),
    ('TADFormer r64', (70.82, 60.45, 65.88, 16.48), 4.24, None),
    ('FAAR', (72.02, 61.25, 66.11, 16.35), 5.28, None),
    ('FAAR: +DoRA', (67.55, 60.00, 64.70, 17.20), 1.36, None),
    ('FAAR: +PDRS on LoRA', (68.11, 59.93, 65.54, 16.50), 2.83, 2.852),
    ('FAAR: +PDRS on DoRA', (71.35, 61.02, 65.92, 16.42), 4.92, 4.760),
    ('FAAR: +TS-PD', (70.73, 60.95, 65.92, 16.40), 4.63, 4.529),
    ('Sinewich r64', (71.25, 61.38, 66.24, 16.14), 5.39, None),
    ('Sinewich r32', (71.02, 60.75, 65.94, 16.44), 4.51, None),
    ('Sinewich w/o LCN', (70.83, 61.37, 66.09, 16.17), 5.12, None),
    ('Sinewich w/o low-pass', (70.95, 61.33, 65.44, 16.22), 4.82, None),
    ('Sinewich w/o sine', (69.68, 60.69, 64.91, 16.37), 3.67, None),
    ('Sinewich independent base', (70.81, 61.56, 65.42, 16.09), 5.03, None),
    ('Sinewich independent decoder', (70.91, 61.57, 66.03, 16.10), 5.31, None),
    ('NYUD full fine-tuning', (38.85, 0.66, 24.33), -8.49, None),
    ('NYUD TADFormer', (40.85, 0.64, 27.48), -10.42, None),
    ('NYUD FAAR', (41.27, 0.63, 26.35), -7.88, -7.885),
]
RECOMPUTED = [
    2.445, 2.542, 4.234, 5.276, 1.361, 2.852, 4.760, 4.529, 5.386, 4.509,
    5.124, 4.823, 3.671, 5.036, 5.308, -8.493, -10.418, -7.885,
]  # fmt: skip


@pytest.mark.parametrize(
    'row, exact', zip(ROWS, RECOMPUTED, strict=True), ids=[row[0] for row in ROWS]
)
def test_rows_of_the_published_tables(row, exact):
    _, figures, printed, corrected = row
    baselines = PASCAL if len(figures) == 4 else NYUD
    metrics = dict(zip(baselines, figures, strict=True))
    value = delta_m(metrics, baselines, {'normals', 'depth'} & set(baselines))
    assert value == pytest.approx(exact, abs=0.00051)
    if corrected is None:
        assert value == pytest.approx(printed, abs=0.01)


def test_direction_by_hand():
    metrics, baselines = dict(a=110, b=0.9), dict(a=100, b=1.0)
    assert delta_m(metrics, baselines, {'b'}) == pytest.approx(10)
    assert delta_m(metrics, baselines, ['b']) == pytest.approx(10)
    assert delta_m(metrics, baselines, set()) == pytest.approx(0)
    assert delta_per_task(metrics, baselines, {'a', 'b'}) == pytest.approx(dict(a=-10, b=10))


def test_one_task():
    assert delta_m(dict(depth=0.5), dict(depth=1), {'depth'}) == 50


@pytest.mark.parametrize(
    'metrics, baselines, lower, error, match',
    [
        ({}, {}, set(), ValueError, 'at least one task'),
        (dict(a=1), {}, set(), ValueError, "No baseline for task 'a'"),
        (dict(depth=1), dict(depht=1), set(), ValueError, "'depht'. Did you mean 'depth'"),
        (dict(a=1), dict(a=0), set(), ValueError, "'a' is 0"),
        (dict(a=1), dict(a=math.nan), set(), ValueError, 'finite'),
        (dict(a=math.inf), dict(a=1), set(), ValueError, 'finite'),
        (dict(a=1), dict(a='1'), set(), TypeError, "number, got '1'"),
        (dict(a=1), dict(a=None), set(), TypeError, 'number, got None'),
        (dict(a=1), dict(a=1), {'b'}, ValueError, "unknown task 'b'"),
        (dict(a=1), dict(a=1), 'a', TypeError, 'string'),
    ],
)
def test_errors_name_the_task(metrics, baselines, lower, error, match):
    with pytest.raises(error, match=match):
        delta_m(metrics, baselines, lower)
