"""get_params.py and benchmark.py."""

import json

import pytest
import torch
from helpers.engine import CONFIG, call_tool, tiny, write_base
from helpers.shrunk import shrunk_run

from mtpeft.adapters.ranks.low_rank import pruned_parameters
from mtpeft.benchmark import random_batch
from mtpeft.checkpoints.files import safe_load
from mtpeft.registry import MODELS
from mtpeft.utils.tables import table


def test_get_params_json(capsys):
    call_tool('tools/analysis_tools/get_params.py', CONFIG, '--json')
    counts = json.loads(capsys.readouterr().out)
    model = MODELS.build(tiny().model)
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert counts['trainable'] == sum(sizes.values()) == sum(counts['components'].values())
    assert counts['total'] == sum(p.numel() for p in model.parameters())
    off_backbone = {k: v for k, v in sizes.items() if not k.startswith('backbone.')}
    assert counts['decoder'] == sum(off_backbone.values())


def test_get_params_of_changed_options(capsys):
    call_tool('tools/analysis_tools/get_params.py', CONFIG, '--cfg-options',
              'model.backbone.train_also=[]')  # fmt: skip
    out = capsys.readouterr().out
    assert 'norms' not in out and 'trainable' in out


def test_pretrained_weights_are_not_needed(capsys):
    call_tool('tools/analysis_tools/get_params.py', CONFIG, '--json', '--cfg-options',
              'model.backbone.backbone.pretrained=/no/such/file.pth')  # fmt: skip
    assert json.loads(capsys.readouterr().out)['trainable'] > 0


def test_benchmark_json(capsys):
    call_tool('tools/analysis_tools/benchmark.py', CONFIG, '--json', '--batch-size', 2, '--size',
              32, 48, '--steps', 2, '--warmup', 1, '--device', 'cpu')  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    assert result['batch_size'] == 2 and result['size'] == [32, 48]
    for step in ('train', 'inference'):
        seconds = result[step]['seconds']
        assert seconds > 0
        assert result[step]['pictures_per_second'] == pytest.approx(2 / seconds)
    assert result['peak_memory_mb'] > 10


def test_benchmark_of_parts_and_operators(tmp_path, capsys):
    file, trace = tmp_path / 'result.json', tmp_path / 'trace.json'
    call_tool('tools/analysis_tools/benchmark.py', CONFIG, '--size', 32, 32, '--steps', 1,
              '--warmup', 0, '--device', 'cpu', '--components', '--profile', '--trace', trace,
              '--json-file', file, '--merged')  # fmt: skip
    result, out = json.loads(file.read_text()), capsys.readouterr().out
    assert {'stem', 'lane blocks', 'backward pass'} < set(result['components']['train'])
    assert 'lane blocks' in out and 'aten::' in result['profile'] and result['profile'] in out
    assert json.loads(trace.read_text())['traceEvents']
    seconds = result['merged']['seconds']
    assert result['merged']['pictures_per_second'] == pytest.approx(1 / seconds)
    assert f'merged {seconds:.4f}' in ' '.join(out.split())


def test_benchmark_sweep(tmp_path, capsys):
    plot = tmp_path / 'plot.png'
    call_tool('tools/analysis_tools/benchmark.py', CONFIG, '--size', 32, 32, '--steps', 1,
              '--warmup', 0, '--device', 'cpu', '--sweep', 'tasks', '--values', 1, 2, '--json',
              '--merged', '--plot', plot)  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    assert result['size'] == [32, 32] and [row['value'] for row in result['rows']] == [1, 2]
    assert all('further' in result['rows'][1][part] for part in ('train', 'inference', 'merged'))
    assert plot.stat().st_size > 1000


@pytest.mark.parametrize('kind', [(), ('--sweep', 'tasks', '--values', 1)], ids=['one', 'sweep'])
def test_benchmark_compiles_its_models(kind):
    """With a backend that there is not: tracing takes long."""
    with pytest.raises(torch._dynamo.exc.InvalidBackend, match='no_such_backend'):
        call_tool(
            'tools/analysis_tools/benchmark.py', CONFIG, '--size', 32, 32, '--steps', 1, '--warmup',
            0, '--device', 'cpu', '--compile', 'no_such_backend', *kind,
        )  # fmt: skip


def test_benchmark_has_no_parts_in_a_graph(capsys):
    with pytest.raises(SystemExit):
        call_tool('tools/analysis_tools/benchmark.py', CONFIG, '--components', '--compile')
    assert '--components times parts' in capsys.readouterr().err


@pytest.mark.parametrize(('option', 'value'), [('--plot', 'x.png'), ('--trace', 'x.json')])
def test_benchmark_options_that_need_another(option, value, capsys):
    with pytest.raises(SystemExit):
        call_tool('tools/analysis_tools/benchmark.py', CONFIG, option, value)
    assert f'{option} needs --' in capsys.readouterr().err


def test_benchmark_refuses_nonsense(capsys):
    with pytest.raises(SystemExit):
        call_tool('tools/analysis_tools/benchmark.py', CONFIG, '--batch-size', 0)
    assert 'positive integer' in capsys.readouterr().err


def test_labels_of_noise_fit_their_tasks():
    from mtpeft.tasks import build_tasks

    tasks = build_tasks(['semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge'])
    sample = random_batch(tasks, 1, (8, 6))['data_samples'][0]
    for name, task in tasks.items():
        label = sample.get_gt(name)
        assert label.shape == (task.label_channels, 8, 6)
        assert task.valid(label, channel_axis=0).all()
        if task.kind == 'classes':
            assert label.min() >= 0 and label.max() < task.channels


def test_tables_line_up():
    lines = table(['a', 'b'], [['x', 1000], ['longer', 2]]).splitlines()
    assert lines[2].endswith(' 1,000') and len({len(line) for line in lines}) == 1


@pytest.fixture(scope='module')
def shrunk(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shrunk')
    return folder, shrunk_run(write_base(folder / 'base.pth'), folder)


def test_get_params_after_shrinking(shrunk, capsys):
    """Recounted from the file, which holds active components only; without the base."""
    folder, runner = shrunk
    words = ('tools/analysis_tools/get_params.py', folder / 'config.py')
    base = 'model.backbone.backbone.pretrained=/no/such/file.pth'
    call_tool(*words, folder / 'run/epoch_3.pth', '--json', '--cfg-options', base)
    counts = json.loads(capsys.readouterr().out)
    call_tool(*words, '--json')
    fresh = json.loads(capsys.readouterr().out)
    assert fresh['effective'] == fresh['trainable'] == counts['trainable']
    assert fresh['effective_components'] == fresh['components'] == counts['components']
    # 8 layers with a shared path and two lanes, less the shared paths without effect
    names = runner.model.backbone.unused_parameter_names()
    without = sum(name.endswith('.A') for name in names)
    mean = (8 * (6 + 4 + 4) - 6 * without) / (8 * 3 - without)
    assert without and fresh['mean_rank'] == pytest.approx(mean)
    state = safe_load(folder / 'run/epoch_3.pth')['state_dict']
    size = {'A': 0, 'B': 0, 'task_A': 0, 'task_B': 0}
    for key, value in state.items():
        name = key.split('.adapter.')[-1].split('.')[0]
        if name in size:
            size[name] += value.numel()
    effective = counts['effective_components']
    # the shared path of the last block serves no later stage
    unused = runner.model.backbone.unused_parameter_names()
    idle = sum(state[f'backbone.{name}'].numel() for name in unused)
    assert effective['unused'] == idle
    assert effective['lora_task'] == size['task_A'] + size['task_B']
    idle_factors = sum(state[f'backbone.{n}'].numel() for n in unused if n[-2:] in ('.A', '.B'))
    assert effective['lora_shared'] == size['A'] + size['B'] - idle_factors
    assert sum(effective.values()) == counts['effective']
    assert counts['effective'] == counts['trainable'] - pruned_parameters(runner.model)
    assert counts['effective'] < counts['trainable']


def test_get_params_as_a_table_after_shrinking(shrunk, capsys):
    folder, _ = shrunk
    words = ('tools/analysis_tools/get_params.py', folder / 'config.py')
    call_tool(*words, folder / 'run/epoch_3.pth')
    out = capsys.readouterr().out
    lines = {cells[0]: cells[1:] for line in out.splitlines() if (cells := line.split())}
    number = {name: int(lines[name][-1].replace(',', '')) for name in ('lora_task', 'trainable')}
    whole = {name: int(lines[name][0].replace(',', '')) for name in number}
    assert lines['component'] == ['parameters', 'effective'] and 'mean rank of adapters' in out
    assert all(number[name] < whole[name] for name in number)
    call_tool(*words)
    assert 'effective' not in capsys.readouterr().out
