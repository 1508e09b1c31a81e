"""Files as released code saves them: read without its packages, converted, tested in one line."""

import json
import pickle
import sys
from pathlib import Path

import pytest
import timm
import torch
from helpers.adapter_grid import stir
from helpers.engine import call_tool
from helpers.released import released_state, save_released, written_with_yacs
from mmengine.config import Config

from mtpeft.apis import build_runner, init_model
from mtpeft.checkpoints.contents import digests
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.converters import ditask_to_mtpeft, mtlora_to_mtpeft, tadformer_to_mtpeft
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.registry import MODELS

ROOT = Path(__file__).parents[2]
TASKS = dict(semseg=dict(num_classes=21), depth=dict())
BLOCK = 'backbone.layers.0.blocks.1'
SETTINGS = dict(MODEL=dict(TYPE='swin', MTLORA=dict(SHARED_SCALE=[4.0, 4.0, 4.0, 4.0])), SEED=0)


def config(method='mtlora', tmp_path=None):
    cfg = Config.fromfile(ROOT / f'configs/{method}/{method}_swin-pico_scenes.py')
    # whoever reaches for the base fails
    cfg.model.backbone.backbone.pretrained = '/nowhere.pth'
    cfg.model.tasks = TASKS
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.dataset.update(length=2, size=(64, 64))
        loader.dataset.tasks = TASKS
        loader.update(num_workers=0, persistent_workers=False, batch_size=1)
    for split in ('val', 'test'):
        cfg[f'{split}_evaluator'].tasks = TASKS
        cfg[f'{split}_evaluator'].baselines = None
    del cfg.default_hooks.checkpoint['save_best'], cfg.default_hooks.checkpoint['rule']
    cfg.visualizer.vis_backends = []
    cfg.work_dir = str(tmp_path)
    return cfg


def trained(method='mtlora'):
    torch.manual_seed(0)
    model = MODELS.build(config(method).model)
    stir(model, 0.2)
    return model.eval()


@pytest.mark.parametrize('method', ['mtlora', 'ditask'])
def test_a_released_file_gives_its_outputs_and_metrics(tmp_path, method):
    model = trained(method)
    file = save_released(tmp_path / 'released.pth', released_state(model), SETTINGS)
    cfg = config(method, tmp_path / 'run')
    loaded = init_model(cfg, file)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = model(x), loaded(x)
    torch.testing.assert_close(found, expected)

    ours = tmp_path / 'ours.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), ours)
    metrics = [build_runner(cfg, checkpoint=str(path)).test() for path in (file, ours)]
    assert metrics[0] == metrics[1] and metrics[0]


def test_the_commands_give_the_same_metrics(tmp_path):
    """``tools/test.py CONFIG RELEASED`` and a converted file, each without the base."""
    file = save_released(tmp_path / 'released.pth', released_state(trained()), SETTINGS)
    cfg = tmp_path / 'config.py'
    config('mtlora', tmp_path / 'run').dump(cfg)
    out = tmp_path / 'out' / 'ours.pth'
    call_tool('tools/model_converters/mtlora_to_mtpeft.py', file, out)
    found = []
    for name in (file, out):
        call_tool('tools/test.py', cfg, name, '--out', tmp_path / 'metrics.json')
        found.append(json.loads((tmp_path / 'metrics.json').read_text()))
    assert found[0] == found[1] and found[0]
    saved = torch.load(out, weights_only=True)
    noted = saved['meta'].pop('digest')
    assert noted == digests(saved) and saved['meta']['converted_from'] == 'MTLoRA'


def test_settings_of_yacs_are_read_as_a_dict_without_yacs(tmp_path):
    assert 'yacs' not in sys.modules
    settings = dict(MODEL=dict(MTLORA=dict(R=[8, 8]), NAME='swin'), AUG=1.5, TAG=None)
    file = save_released(tmp_path / 'released.pth', dict(w=torch.ones(2)), settings)
    with pytest.raises(pickle.UnpicklingError, match='yacs.config.CfgNode'):
        torch.load(file, weights_only=True)
    read = safe_load(file)
    assert read['config'] == settings and isinstance(read['config']['MODEL'], dict)
    assert read['epoch'] == 3 and torch.equal(read['model']['w'], torch.ones(2))
    torch.save(dict(read), tmp_path / 'again.pth')  # needs nothing of ours to be read
    assert torch.load(tmp_path / 'again.pth', weights_only=True)['config'] == settings
    assert 'yacs' not in sys.modules


def test_pretrained_weights_may_lie_in_a_file_with_settings(tmp_path):
    """As the Swin code saves a trained classifier."""
    options = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    stock = timm.create_model('swin_tiny_patch4_window7_224', num_classes=3, **options)
    file = save_released(tmp_path / 'swin.pth', stock.state_dict(), SETTINGS)
    name = 'timm.swin_tiny_patch4_window7_224'
    backbone = AdapterBackbone(dict(type=name, pretrained=str(file), **options))
    backbone.init_weights()
    key = 'layers.2.blocks.0.attn.qkv.weight'
    assert torch.equal(backbone.network.state_dict()[key], stock.state_dict()[key])


@pytest.mark.parametrize(
    'reduce',
    [
        lambda node, mark: (open, (mark, 'w')),
        lambda node, mark: (node, (), dict(__class__=open)),
        lambda node, mark: (node, (open, (mark, 'w'))),
        lambda node, mark: (getattr, (node, '__init__')),
        lambda node, mark: (type, ('X', (node,), {})),
    ],
)
def test_a_hostile_file_runs_nothing(tmp_path, reduce):
    file, mark = tmp_path / 'evil.pth', tmp_path / 'ran'
    with written_with_yacs(__reduce__=lambda self: reduce(type(self), str(mark))) as node:
        torch.save(dict(model=dict(w=torch.ones(1)), config=node()), file)
    assert not mark.exists()
    try:
        safe_load(file)
    except CheckpointError as error:
        assert str(file) in str(error)
    assert not mark.exists()


# -- scales ----------------------------------------------------------------------------------------


def test_scales_other_than_4_go_into_the_weights():
    model = trained()
    ours = model.state_dict()
    state = released_state(model)
    state[f'{BLOCK}.mlp.fc1.lora_shared_scale'] = torch.tensor([2.0])
    state[f'{BLOCK}.mlp.fc1.lora_task_scale.depth'] = torch.tensor([0.5])
    options = dict(SHARED_SCALE=[4.0, 4.0, 1.0, 4.0], SCALE_PER_TASK=dict(semseg=[8.0] * 4))
    found = mtlora_to_mtpeft(state, dict(MODEL=dict(MTLORA=options)))
    fc1 = 'backbone.network.layers.0.blocks.1.mlp.fc1.adapter'
    later = 'backbone.network.layers.2.blocks.1.mlp.fc1.adapter'
    factors = {f'{fc1}.B': 0.5, f'{fc1}.task_B.depth': 0.125, f'{fc1}.task_B.semseg': 2.0,
               f'{fc1}.A': 1, f'{later}.B': 0.25, f'{later}.task_B.depth': 0.25}  # fmt: skip
    for key, factor in factors.items():
        torch.testing.assert_close(found[key], ours[key] * factor)
    assert not any('scale' in key for key in found)
    same = mtlora_to_mtpeft(released_state(model))
    assert all(torch.equal(same[key], ours[key]) for key in same)


# -- what cannot be converted ----------------------------------------------------------------------

B = torch.zeros(1)
MTLORA = {f'{BLOCK}.mlp.fc1.lora_shared_{x}': B for x in 'AB'}
DITASK = {f'{BLOCK}.mlp.fc1.lora_shared_A': B}
TADFORMER = {
    **MTLORA,
    'backbone.task_prompts': torch.zeros(2, 3),
    'downsampler.sal.downsample_0.weight': B,
}
STATIC = {**TADFORMER, f'{BLOCK}.attn.proj.lora_filter.semseg.weight': B}
CONVERTERS = {'MTLoRA': mtlora_to_mtpeft, 'DiTASK': ditask_to_mtpeft,
              'TADFormer': tadformer_to_mtpeft}  # fmt: skip
FILES = {'MTLoRA': MTLORA, 'DiTASK': DITASK, 'TADFormer': TADFORMER}


@pytest.mark.parametrize('theirs', FILES)
@pytest.mark.parametrize('name', CONVERTERS)
def test_a_converter_refuses_files_of_the_others_by_what_they_are(name, theirs):
    if name == theirs:
        assert CONVERTERS[name](FILES[name])
        return
    tool = f'{theirs.lower()}_to_mtpeft.py'
    with pytest.raises(ValueError, match=f'released {name} model, got one of {theirs}.*{tool}'):
        CONVERTERS[name](FILES[theirs])


@pytest.mark.parametrize('name', CONVERTERS)
def test_a_static_filter_is_refused_in_those_words(name, tmp_path):
    words = 'TADFormer with the static filter.*No file of that release can be converted'
    with pytest.raises(ValueError, match=words):
        CONVERTERS[name](STATIC)
    file = save_released(tmp_path / 'static.pth', STATIC)
    with pytest.raises(CheckpointError, match=words):
        init_model(config(), file)


def test_a_file_of_ours_is_refused():
    with pytest.raises(ValueError, match='got a file of mtpeft itself'):
        mtlora_to_mtpeft(trained().state_dict())


@pytest.mark.parametrize('name', ['INTERMEDIATE_SPECIALIZATION', 'SPLIT_QKV'])
def test_options_without_a_counterpart_are_refused_by_name(name):
    state = released_state(trained())
    with pytest.raises(ValueError, match=f'trained with {name}'):
        mtlora_to_mtpeft(state, dict(MODEL=dict(MTLORA={name: True})))
    more = dict(state)
    if name == 'SPLIT_QKV':
        more['backbone.layers.0.blocks.0.attn.qkv.q.lora_shared_A'] = B
    else:
        more['backbone.layers.0.blocks.0.mlp.fc1.lora_tasks_A.sal'] = B
    with pytest.raises(ValueError, match=f'trained with {name}'):
        mtlora_to_mtpeft(more)


def test_entries_of_adapters_that_are_not_known_are_refused_by_name():
    with pytest.raises(ValueError, match="'.*lora_magnitude' is of no known kind"):
        mtlora_to_mtpeft({**MTLORA, f'{BLOCK}.mlp.fc1.lora_magnitude': B})
