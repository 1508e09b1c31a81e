"""get_flops.py: parts that add up, against counts of layers by their shapes."""

import contextlib
import io
import json
import math

import pytest
import timm
import torch
from helpers.engine import CONFIG, call_tool, tiny
from mmengine.config import Config
from torch import nn

from mtpeft.apis.segmentor import build_model
from mtpeft.benchmark import inference, multiply_adds, part_operations

TOOL = 'tools/analysis_tools/get_flops.py'


def by_shapes(model, x):
    """Multiply-adds of linear layers, convolutions and attention, from the shapes they see."""
    total = 0

    def layer(module, inputs, output):
        nonlocal total
        total += output.numel() * math.prod(module.weight.shape[1:])

    def attention(module, inputs, output):
        # q k^T and its product with v, of each window
        nonlocal total
        windows, tokens, channels = inputs[0].shape
        total += 2 * windows * tokens * tokens * channels

    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(layer)
        if type(module).__name__ == 'WindowAttention':
            module.register_forward_hook(attention)
    with torch.no_grad():
        model.forward_features(x)
    return total


def counted(*words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        call_tool(TOOL, *words, '--json')
    return json.loads(out.getvalue())


@pytest.fixture(scope='module')
def counts():
    return counted(CONFIG)


def test_parts_add_up_to_all(counts):
    model = build_model(tiny()).eval()
    whole = multiply_adds(inference(model, torch.zeros(1, 3, 32, 32)))
    assert counts['size'] == [32, 32] and sum(counts['parts'].values()) == whole
    assert {'stem', 'lane blocks', 'merging', 'necks', 'heads'} <= set(counts['parts'])


def test_merged_adapters_cost_nothing_where_all_tasks_share(counts):
    for part in ('stem', 'merging', 'necks', 'heads'):
        assert counts['merged'][part] == counts['parts'][part]
    assert sum(counts['merged'].values()) < sum(counts['parts'].values())


def test_the_bare_network_is_what_its_layers_say():
    # of a size that whole windows fill
    options = dict(tiny().model.backbone.backbone)
    name = options.pop('type').split('.', 1)[1]
    stock = timm.create_model(name, num_classes=0, img_size=224, **options).eval()
    found = counted(CONFIG, '--size', 224, 224)['frozen']
    assert found == by_shapes(stock, torch.zeros(1, 3, 224, 224))


def test_heads_cost_what_those_of_single_tasks_do(counts):
    def parts(*tasks):
        cfg = tiny()
        kept = {name: cfg.model.tasks[name] for name in tasks}
        cfg.model.tasks, cfg.model.backbone.tasks = kept, list(tasks)
        return part_operations(build_model(cfg).eval(), torch.zeros(1, 3, 32, 32))

    alone = [parts(task) for task in ('semseg', 'depth')]
    assert counts['parts']['heads'] == sum(one['heads'] for one in alone)
    assert all(one['stem'] == counts['parts']['stem'] for one in alone)
    assert all(one['lane blocks'] < counts['parts']['lane blocks'] for one in alone)


SEGMENTOR = """
default_scope = 'mmseg'
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor'),
    backbone=dict(type='ResNetV1c', depth=18, base_channels=4, stem_channels=4, norm_cfg=norm_cfg),
    decode_head=dict(type='FCNHead', in_channels=32, in_index=3, channels=8, num_classes=3,
                     norm_cfg=norm_cfg, num_convs=1),
    test_cfg=dict(mode='whole'),
)
"""


def test_a_segmentor_of_mmsegmentation(tmp_path):
    file = tmp_path / 'segmentor.py'
    file.write_text(SEGMENTOR)
    found = counted(file, '--size', 64, 32)
    assert list(found['parts']) == ['backbone', 'decode_head']
    assert found['merged'] is None and found['frozen'] is None and found['size'] == [64, 32]
    model = build_model(Config.fromfile(file)).eval()
    total = 0

    def count(module, inputs, output):
        nonlocal total
        total += output.numel() * math.prod(module.weight.shape[1:])

    for module in model.decode_head.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 32))
    assert found['parts']['decode_head'] == total


def test_the_table(capsys):
    call_tool(TOOL, CONFIG, '--size', 64, 64)
    out = capsys.readouterr().out
    assert 'with adapters' in out and 'merged' in out and '64 x 64' in out
    with pytest.raises(SystemExit):
        call_tool(TOOL, CONFIG, '--size', 0, 64)
    assert 'expected a height and a width' in capsys.readouterr().err
