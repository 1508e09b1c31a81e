"""analyze_logs.py: curves of all starts of a run, against records written by hand."""

import json

import pytest
from helpers.engine import call_tool

from mtpeft.utils.run_logs import find_logs, read_log
from mtpeft.visualization.curves import draw_curves, smoothed

TOOL = 'tools/analysis_tools/analyze_logs.py'


def write(folder, start, records):
    file = folder / start / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, records)) + '\n{"loss": 1.0, "it')


def trained(iterations, loss, per_epoch=4):
    return [dict(iter=i, epoch=-(-i // per_epoch), loss=loss(i), loss_depth=loss(i) / 2, time=0.5,
                 data_time=0.1, step=i) for i in iterations]  # fmt: skip


def evaluated(epoch, rmse):
    return {'depth/rmse': rmse, 'depth/abs_rel': 0.1, 'mtl/delta_m': -rmse, 'step': epoch}


@pytest.fixture
def run(tmp_path):
    """A run of 4 iterations an epoch that was killed in its third epoch and went on from there."""
    folder = tmp_path / 'suite' / 'lora' / 'seed0'
    first = trained(range(2, 12, 2), lambda i: 100.0)
    write(folder, '20260101_000000', [*first[:2], evaluated(1, 4.0), *first[2:4],
                                      evaluated(2, 3.0), first[4]])  # fmt: skip
    second = trained(range(10, 18, 2), lambda i: float(i))
    write(folder, '20260102_000000', [*second[:2], evaluated(3, 2.0), *second[2:],
                                      evaluated(4, float('nan'))])  # fmt: skip
    return folder


def test_starts_are_put_together(run):
    log = read_log(run)
    x, y = log.curve('loss')
    assert [round(4 * value) for value in x] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert y == [100.0] * 4 + [10.0, 12.0, 14.0, 16.0]
    # evaluations are counted in epochs, and so is training
    assert log.curve('depth/rmse') == ([1.0, 2.0, 3.0], [4.0, 3.0, 2.0])
    assert log.mean('time') == 0.5 and log.mean('nothing') is None
    assert 'iter' not in log.keys and 'loss_depth' in log.keys


def test_a_loop_of_iterations_is_counted_in_iterations(tmp_path):
    records = [dict(iter=i, loss=1.0, step=i) for i in (10, 20)]
    write(tmp_path, 'a', [*records, {'depth/rmse': 1.0, 'step': 20}])
    log = read_log(tmp_path)
    assert not log.by_epoch
    assert log.curve('loss')[0] == [10, 20] and log.curve('depth/rmse')[0] == [20]


def test_the_runs_of_a_suite_are_found(run, tmp_path):
    write(tmp_path / 'suite/lora/seed1', 'a', trained([4], float))
    write(tmp_path / 'suite/lora/seed1.old1', 'a', trained([4], float))
    suite = tmp_path / 'suite'
    assert find_logs(suite) == [suite / 'lora/seed0', suite / 'lora/seed1']
    assert find_logs(run) == [run]
    with pytest.raises(FileNotFoundError, match=r'(?s)LocalVisBackend.*runs in .*seed0'):
        read_log(suite / 'lora')


@pytest.mark.parametrize('kind', ['png', 'pdf', 'svg'])
def test_the_tool(run, tmp_path, capsys, kind):
    out = tmp_path / 'new' / f'curves.{kind}'
    words = (run, tmp_path / 'suite') if kind == 'svg' else (run,)
    call_tool(TOOL, *words, '--out', out)
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith('lora seed0'))
    # the last finite figure of each first metric, and Delta_m
    assert row.split()[2:] == ['16', '0.5000', '0.1000', '2', '-2']
    start = dict(png=b'\x89PNG', pdf=b'%PDF', svg=b'<?xml')[kind]
    assert out.read_bytes().startswith(start)
    if kind == 'svg':
        text = out.read_text()
        for title in ('loss', 'loss_depth', 'depth/rmse', 'mtl/delta_m', 'lora seed0'):
            assert f'<!-- {title} -->' in text
        assert '<!-- depth/abs_rel -->' not in text


def test_what_is_not_there_is_named(run, tmp_path, capsys):
    with pytest.raises(SystemExit, match="no run has 'los'. Did you mean 'loss'"):
        call_tool(TOOL, run, '--keys', 'los')
    with pytest.raises(SystemExit, match='expected the work dir'):
        call_tool(TOOL, tmp_path / 'nothing')
    for words, match in ((['--out', 'x.jpg'], '.png'), (['--names', 'a', 'b'], 'expected 1'),
                         (['--smooth', '0'], '1 or more')):  # fmt: skip
        with pytest.raises(SystemExit):
            call_tool(TOOL, run, *words)
        assert match in capsys.readouterr().err


def test_seeds_have_one_colour_and_panels_one_scale():
    points = ([1.0, 2.0], [3.0, 4.0])
    panels = {'loss': dict(a=[points, points], b=[points]), 'rmse': dict(a=[([9.0], [1.0])], b=[])}
    figure = draw_curves(panels, 'epoch')
    loss, rmse = (axes for axes in figure.axes if axes.get_visible())
    colours = [line.get_color() for line in loss.lines]
    assert colours[0] == colours[1] != colours[2] and rmse.lines[0].get_color() == colours[0]
    assert loss.get_xlim() == rmse.get_xlim() and rmse.get_xlim()[1] > 9
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['a', 'b']


def test_smoothing_keeps_straight_lines():
    x = list(range(20))
    for window in (1, 2, 5):
        at, y = smoothed((x, [3 * v + 1 for v in x]), window)
        assert y == pytest.approx([3 * v + 1 for v in at])
        assert len(at) == 20 - window + 1
    assert smoothed(([1, 2], [0, 5]), 5) == ([1, 2], [0, 5])
