"""rank_report.py: the table says what is in the file, the picture shows it."""

import shutil
import statistics

import numpy as np
import pytest
import torch
from helpers.engine import call_tool, tiny, train, write_base
from helpers.shrunk import shrunk_run

from mtpeft.adapters.ranks.patterns import by_stage, streams_of
from mtpeft.checkpoints.files import safe_load
from mtpeft.visualization.rank_picture import Trajectory, draw_ranks, short_names

TOOL = 'tools/analysis_tools/rank_report.py'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report')
    return shrunk_run(write_base(folder / 'base.pth'), folder)


@pytest.fixture(scope='module')
def saved(run):
    return safe_load(f'{run.work_dir}/epoch_3.pth')


def report(source, folder, capsys):
    call_tool(TOOL, source, '--out', folder / 'new' / 'ranks.png')
    assert (folder / 'new' / 'ranks.png').read_bytes().startswith(b'\x89PNG')
    return capsys.readouterr().out


def test_the_table(run, saved, tmp_path, capsys):
    out = report(run.work_dir, tmp_path, capsys)
    assert out.startswith(f'{run.work_dir}/epoch_3.pth: mean rank ')
    rows = [line.split() for line in out.splitlines()]
    pattern = saved['meta']['rank_pattern']
    used = {'shared': [], 'semseg': [], 'depth': []}
    for layer, ranks in pattern.items():
        stage, leaf = layer.split('.')[3], layer.split('.')[-1]
        idle = stage == '3'  # the shared path of the last block, which nothing reads
        shown = [f'({r})' if idle and s == 'shared' else str(r) for s, r in ranks.items()]
        assert [f'layers.{stage}', '0', '·', leaf, *shown] in rows
        for stream, rank in ranks.items():
            used[stream] += [] if idle and stream == 'shared' else [rank]
    means = [statistics.mean(used[name]) for name in ('shared', 'semseg', 'depth')]
    means.append(sum(means[1:]) / 2)
    assert ['mean', *(f'{mean:.2f}' for mean in means)] in rows
    adapters = sum(v.numel() for k, v in saved['state_dict'].items() if '.adapter.' in k)
    assert f'Effective adapter parameters: {adapters:,}' in out
    assert 'Shrunk 3 times up to epoch 3, from mean rank 4.55.' in out  # (6 * 6 + 16 * 4) / 22


def test_a_moved_folder_and_one_without_a_note(run, tmp_path, capsys):
    moved = tmp_path / 'moved'
    shutil.copytree(run.work_dir, moved)
    assert report(moved, tmp_path, capsys).startswith(f'{moved}/epoch_3.pth')
    (moved / 'last_checkpoint').unlink()
    assert report(moved, tmp_path, capsys).startswith(f'{moved}/')


def test_a_published_file_has_no_trajectory(run, tmp_path, capsys):
    out = tmp_path / 'out.safetensors'
    call_tool('tools/model_converters/publish_model.py', f'{run.work_dir}/epoch_3.pth', out)
    capsys.readouterr()
    said = report(out, tmp_path, capsys)
    whole = report(f'{run.work_dir}/epoch_3.pth', tmp_path, capsys)
    assert 'does not say how ranks shrank' in said
    assert said.splitlines()[1:-2] == whole.splitlines()[1:-2]


def test_the_picture_shows_every_rank_and_the_way(saved):
    pattern = saved['meta']['rank_pattern']
    trajectory = Trajectory.of(saved['pdrs']['history'], epoch=3)
    assert (trajectory.unit, trajectory.times, trajectory.end) == ('epoch', [0, 1, 2, 3], 3)
    figure = draw_ranks(pattern, trajectory)
    cells, bar, way, stages, _ = figure.axes
    written = [t.get_text() for t in cells.texts if t.get_text().isdigit()]
    assert written == [str(r) for ranks in pattern.values() for r in ranks.values()]
    assert [t.get_text() for t in cells.get_xticklabels()] == ['shared', 'semseg', 'depth']
    assert [t.get_text() for t in cells.get_yticklabels()] == ['0.mlp.fc1', '0.mlp.fc2'] * 4
    assert bar.get_xlim() == pytest.approx((1, 6))
    lines = {line.get_label(): line.get_ydata() for line in way.lines}
    assert lines.keys() == {'all', 'shared', 'semseg', 'depth'}
    for index, record in enumerate(saved['pdrs']['history']):
        ranks = [r['depth'] for r in record['ranks'].values()]
        assert lines['depth'][index] == pytest.approx(sum(ranks) / len(ranks))
    assert len(stages.lines) == 3
    assert len(draw_ranks(pattern).axes) == 4


def test_streams_without_effect_are_grey_and_in_no_mean(saved):
    pattern, idle = saved['meta']['rank_pattern'], saved['meta']['idle_streams']
    assert list(idle.values()) == [['shared']] * 2
    figure = draw_ranks(pattern, Trajectory.of(saved['pdrs']['history']), idle=idle)
    cells, _, way, stages, _ = figure.axes
    assert [t.get_text() for t in cells.texts].count('(6)') == 2
    shared = {line.get_label(): line.get_ydata() for line in stages.lines}['shared']
    assert np.isnan(shared[3]) and not np.isnan(shared[:3]).any()
    means = {line.get_label(): line.get_ydata() for line in way.lines}['shared']
    used = [r['shared'] for layer, r in pattern.items() if layer not in idle]
    assert means[-1] == pytest.approx(statistics.mean(used))
    assert 'without effect' in cells.get_xlabel()


def test_shrinking_by_iterations_is_drawn_over_iterations():
    history = [dict(epoch=0, iter=i, ranks={'a.fc': {'shared': 4 - i}}) for i in (0, 2)]
    trajectory = Trajectory.of(history, epoch=0, iteration=5)
    assert (trajectory.unit, trajectory.times, trajectory.end) == ('iteration', [0, 2], 5)


@pytest.mark.parametrize(
    'layers, stages',
    [
        (['backbone.network.blocks.0.0.conv_dw', 'backbone.network.blocks.3.1.conv_pw'],
         {'blocks.0': ['0 · conv_dw'], 'blocks.3': ['1 · conv_pw']}),
        (['backbone.network.blocks.0.attn.qkv', 'backbone.network.blocks.11.mlp.fc1'],
         {'blocks.0': ['qkv'], 'blocks.11': ['fc1']}),
        (['backbone.stages.0.blocks.1.ffn.layers.0.0', 'backbone.stages.0.blocks.1.ffn.layers.1'],
         {'stages.0': ['1 · ffn.layers.0.0', '1 · ffn.layers.1']}),
        (['net.stages.0.blocks.0.a.proj', 'net.stages.0.blocks.0.b.proj', 'net.head'],
         {'stages.0': ['0 · a.proj', '0 · b.proj'], 'head': ['head']}),
        (['fc'], {'fc': ['fc']}),
    ],
)  # fmt: skip
def test_names_of_other_networks(layers, stages):
    pattern = {layer: {'shared': 1} for layer in layers}
    found = {stage: short_names(list(part)) for stage, part in by_stage(pattern).items()}
    assert found == stages
    assert streams_of(pattern) == ['shared']
    draw_ranks(pattern)


def test_tasks_without_a_shared_path_and_one_task():
    draw_ranks({'a.0.fc': {'depth': 3}, 'a.1.fc': {'depth': 1}})
    assert streams_of({'a': {'depth': 1, 'shared': 2}, 'b': {'edge': 1}}) == [
        'shared', 'depth', 'edge',
    ]  # fmt: skip


# -- bad input -------------------------------------------------------------------------------------


def refused(match, source):
    with pytest.raises(SystemExit, match=match):
        call_tool(TOOL, source)


def test_a_folder_without_checkpoints(tmp_path):
    refused('no checkpoint in .*expected last_checkpoint', tmp_path)
    refused('does not exist', tmp_path / 'none.pth')


def test_files_without_ranks(tmp_path):
    cfg = tiny(train_cfg__max_epochs=1, model__backbone__plugins=[])
    train(cfg, tmp_path)
    refused("epoch_1.pth says no ranks .*'rank_pattern'", tmp_path)
    torch.save({'a': torch.zeros(1)}, tmp_path / 'plain.pth')
    refused('plain.pth says no ranks', tmp_path / 'plain.pth')
