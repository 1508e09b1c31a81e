"""Parts of the report that need no run."""

import json
import math
import re

import pytest

from mtpeft.report.adapters import frequencies
from mtpeft.report.html import Html, tag
from mtpeft.report.plot import Axis, line_chart, scatter
from mtpeft.report.run_files import RunFiles, read_run
from mtpeft.report.sections import components, results


def test_text_is_escaped_and_html_is_not():
    assert (
        tag('p', '<b>', tag('i', '&'), title='"') == '<p title="&quot;">&lt;b&gt;<i>&amp;</i></p>'
    )
    assert isinstance(tag('p'), Html)


@pytest.mark.parametrize('log', [True, False])
def test_points_are_where_their_values_are(log):
    ys = [10.0, 1.0, math.nan, 100.0]
    chart = line_chart('t', {'a': ([0, 1, 2, 3], ys)}, 'x', log=log)
    path = re.search(r' d="([^"]+)"', chart)[1]
    places = [tuple(map(float, p.split())) for p in re.findall(r'[ML]([\d.]+ [\d.]+)', path)]
    assert path.count('M') == 2 and len(places) == 3  # a gap at what is not finite
    scale = math.log10 if log else float
    heights = [scale(y) for y in ys if math.isfinite(y)]
    share = (heights[0] - heights[1]) / (heights[2] - heights[1])
    drawn = (places[0][1] - places[1][1]) / (places[2][1] - places[1][1])
    assert drawn == pytest.approx(share, abs=0.01)


def test_a_logarithmic_axis_needs_positive_values():
    assert not Axis.of([0.0, 1.0], log=True).log and Axis.of([0.1, 1.0], log=True).log
    assert Axis.of([]).ticks and Axis.of([3.0]).share(3.0) == pytest.approx(0.5)


def test_labels_of_points_do_not_cover_one_another():
    names = [f'method{i}' for i in range(6)]
    chart = scatter('t', {n: (1e6, 1.0, math.nan) for n in names}, 'x', 'y', {})
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="(?:start|end)">me', chart)]
    gaps = [abs(a - b) for i, a in enumerate(heights) for b in heights[:i]]
    assert len(heights) == 6 and min(gaps) >= 13


def test_frequencies_over_training():
    history = [
        dict(epoch=i, iter=9 * i, omegas=dict(clock=dict(sal=10 + i, edge=20.0)),
             effective_ranks=dict(a=dict(sal=2.0 + i, edge=3.0)))
        for i in range(3)
    ]  # fmt: skip
    run = RunFiles(None, checkpoint=dict(frequencies=dict(history=history)))
    text = frequencies(run).replace('&quot;', '"')
    assert '"sal": [[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]]' in text
    assert '"sal": [[0.0, 2.0], [1.0, 3.0], [2.0, 4.0]]' in text
    assert '+2.000' in text and frequencies(RunFiles(None)) is None


def test_a_resumed_run_counts_from_where_it_went_on(tmp_path):
    for start, steps in (('1', (10, 20, 30)), ('2', (21, 31))):
        folder = tmp_path / start / 'vis_data'
        folder.mkdir(parents=True)
        lines = [json.dumps(dict(iter=i, epoch=1, loss=int(start), step=i)) for i in steps]
        # what a kill cut off is left out
        (folder / 'scalars.json').write_text('\n'.join([*lines, '{"iter": 4']))
    train = read_run(tmp_path).train
    assert [(r['iter'], r['loss']) for r in train] == [(10, 1), (20, 1), (21, 2), (31, 2)]


def test_figures_of_other_metrics_are_shown(tmp_path):
    folder = tmp_path / '1' / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('{"mIoU": 31.25, "time": 0.5, "step": 3}')
    (folder / 'config.py').write_text('model = dict()')
    run = read_run(tmp_path)
    assert run.metrics == {'mIoU': 31.25}
    assert '31.25' in results(run, {}, {}) and not run.ranks


def test_parameters_are_read_from_the_log_where_no_result_is():
    lines = [
        'x',
        'component    parameters',
        '-----------  ----------',
        'heads             1,250',
        'trainable         1,250',
        'total             9,000',
        '2026/11/30 10 - shrunk 5\n',
    ]
    assert components(RunFiles(None, log='\n'.join(lines))) == ({'heads': 1250}, 9000)
