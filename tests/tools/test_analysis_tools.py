"""get_params.py and benchmark.py."""

import json

import pytest
from helpers.engine import CONFIG, call_tool, tiny

from mtpeft.registry import MODELS
from mtpeft.utils.benchmark import random_batch
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
