"""Every config agrees with itself and builds; one of each folder runs a loss step."""

import copy
import functools
import json
import re
from pathlib import Path

import pytest
import timm
import torch
from helpers.config_digests import FILE, digest, leaves
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.apis.suite import load_suite
from mtpeft.evaluation import MultiTaskEvaluator
from mtpeft.models import parameter_components
from mtpeft.models.components import decoder_components
from mtpeft.registry import MODELS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks

ROOT = Path(__file__).parents[1]
LEAVES = leaves()
DIGESTS = json.loads(FILE.read_text())
# one data set for each model; those of the small Swin are built in tests/models/test_model.py
BUILT = sorted(
    {re.sub(r'_(pascal|nyud)\.py$', '', p): p for p in LEAVES if 'pico' not in p}.values()
)
# one of each folder, a small one where there is one
FOLDERS = {str(Path(p).parent): p for p in sorted(LEAVES, key=lambda p: 'pico' in p)}


@functools.cache
def read(path):
    return Config.fromfile(ROOT / path)


def load(path):
    cfg = copy.deepcopy(read(path))
    init_default_scope(cfg.default_scope)
    return cfg


def batch(model, size=64):
    """Two random pictures; the second lacks the first task's label."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for index in range(2):
        sample = MultiTaskDataSample(metainfo=dict(img_path=str(index), img_shape=(size, size)))
        for position, task in enumerate(model.tasks.values()):
            if index == 1 and position == 0 and len(model.tasks) > 1:
                continue
            shape = (task.label_channels, size, size)
            if task.kind in ('classes', 'binary'):
                classes = max(2, task.channels)
                label = torch.randint(0, classes, shape, generator=generator)
            else:
                label = torch.rand(shape, generator=generator) + 0.5
            sample.set_gt(task.name, label)
        samples.append(sample)
    return dict(inputs=torch.randn(2, 3, size, size, generator=generator), data_samples=samples)


def test_every_folder_has_configs():
    folders = {Path(f).name for f in FOLDERS}
    methods = {'single_task', 'full_finetune', 'decoders_only', 'lora', 'mtlora', 'faar'}
    single = {'sine-lora', 'adalora', 'dylora', 'autolora', 'bitfit', 'vpt', 'adapter', 'compacter'}
    several = {'tadformer', 'ditask', 'vl-adapter', 'hyperformer', 'polyhistor'}
    assert methods | {'sinewich', 'union'} | single | several <= folders


def test_every_config_has_a_digest():
    assert sorted(DIGESTS) == LEAVES


@pytest.mark.parametrize('path', LEAVES)
def test_a_config_resolves_to_what_it_did(path):
    """However it is written: with other bases, or with plugins by name.

    A change that is meant changes tests/data/config_digests.json:

        python tests/helpers/config_digests.py
    """
    assert digest(read(path)) == DIGESTS[path]


@pytest.mark.parametrize('suite', ['nyud', 'pascal', 'scenes'])
def test_a_suite_trains_all_methods_by_one_recipe(suite):
    entries = [e for e in load_suite(suite, ROOT / 'configs/suites').entries if e.role == 'method']
    parts = 'train_dataloader', 'val_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg'
    recipes = {}
    for entry in entries:
        cfg = load(Path(entry.config).resolve())
        recipes[entry.label] = {part: cfg[part] for part in parts}
    for label, recipe in recipes.items():
        assert recipe == recipes['decoders_only'], label


@pytest.mark.usefixtures('structure_only')
@pytest.mark.parametrize('path', BUILT)
def test_config_builds(path):
    cfg = load(path)
    model = MODELS.build(cfg.model)
    assert list(model.tasks) == list(cfg.model.tasks)
    assert sum(parameter_components(model).values()) == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )


@pytest.mark.parametrize('path', LEAVES)
def test_tasks_of_data_model_and_evaluator_are_the_same(path):
    cfg = load(path)
    if 'tasks' not in cfg.model:
        pytest.skip('a model without tasks')
    tasks = build_tasks(cfg.model.tasks)
    evaluator = {k: v for k, v in cfg.val_evaluator.items() if k != 'type'}
    built = MultiTaskEvaluator(**evaluator)
    assert list(built.tasks) == list(tasks)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert list(loader.dataset.tasks) == list(tasks)
    # what picks the best checkpoint is something the evaluator reports
    best = cfg.default_hooks.checkpoint.get('save_best')
    if best is not None:
        headlines = {f'{n}/{t.headline}' for n, t in tasks.items()}
        assert best in ({'mtl/delta_m'} if built.baselines is not None else headlines)


@pytest.mark.parametrize('folder', FOLDERS)
def test_one_loss_step_moves_what_is_trained_and_nothing_else(folder):
    cfg = load(FOLDERS[folder])
    model = MODELS.build(cfg.model).train()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-3, weight_decay=0)
    losses = model(**batch(model), mode='loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
    moved = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    assert moved


# MTLoRA's published counts (arXiv 2403.20320): 8.34, 6.08, 4.95, 7.05 and 4.66 M
@pytest.mark.usefixtures('structure_only')
@pytest.mark.parametrize(
    ('config', 'trainable', 'unused'),
    [
        ('mtlora/mtlora-r64_swin-t_pascal', 8_344_634, 245_760),
        ('mtlora/mtlora-r32_swin-t_pascal', 6_083_642, 122_880),
        ('mtlora/mtlora-r16_swin-t_pascal', 4_953_146, 61_440),
        ('mtlora/mtlora-plus-r64_swin-t_pascal', 7_054_394, 245_760),
        ('mtlora/mtlora-plus-r32_swin-t_pascal', 4_664_378, 122_880),
        ('mtlora/mtlora-r64_swin-t_nyud', 7_810_478, 245_760),
        ('full_finetune/full_finetune_swin-t_pascal', 27_517_818 + 1_946_624, 0),
        ('decoders_only/decoders_only_swin-t_pascal', 1_946_624, 0),
        # 2,349,946 + 143,808 r; with radial filters 2,093,050 + 143,808 r
        ('faar/faar_swin-t_pascal', 11_553_658, 594_432),
        ('faar/faar-released_swin-t_pascal', 2_093_050 + 143_808 * 32, 123_648),
    ],
)
def test_parameter_counts_of_the_papers(config, trainable, unused):
    components = parameter_components(MODELS.build(load(f'configs/{config}.py').model))
    assert sum(components.values()) == trainable
    assert components.get('unused', 0) == unused
    if config.endswith('pascal'):
        assert sum(components.get(k, 0) for k in decoder_components) == 1_946_624


@pytest.mark.parametrize('rank', [1, 8, 64])
def test_mtlora_count_follows_the_formula(rank):
    cfg = load('configs/mtlora/mtlora-r64_swin-t_pascal.py')
    for plugin in cfg.model.backbone.plugins.values():
        plugin.cfg.rank = rank
    components = parameter_components(MODELS.build(cfg.model))
    widths, depths = (96, 192, 384, 768), (2, 2, 6, 2)
    # qkv C -> 3C, proj C -> C, fc1 C -> 4C, fc2 4C -> C: 4 + 2 + 5 + 5 widths a rank
    shared = sum(16 * width * depth for width, depth in zip(widths, depths, strict=True)) * rank
    task = sum(12 * width for width in widths) * 4 * 4
    assert components['lora_shared'] + components['unused'] == shared
    assert components['lora_task'] == task
    assert components['unused'] == 5 * widths[-1] * rank


def faar_components(rank, channels):
    """FAAR's parameters on Swin-T with tasks that predict so many ``channels``, by component."""
    tasks, widths, depths, merged = len(channels), (96, 192, 384, 768), (2, 2, 6, 2), (96, 192, 384)
    blocks = sum(width * depth for width, depth in zip(widths, depths, strict=True))
    levels = {192: 18, 384: 36, 768: 72 + 144}  # two levels of width 768
    projections = sum(a * b for a, b in levels.items())
    # pictures of 448 at strides 8, 16, 32, 32
    frequencies = {18: 56 * 29, 36: 28 * 15, 72: 14 * 8, 144: 14 * 8}
    filters = sum(width * (count + 2) for width, count in frequencies.items())
    concatenated = 18 + 36 + 72 + 144
    hidden = 4 * concatenated
    head = concatenated * hidden + hidden + 2 * hidden
    # proj, fc1 and fc2 of the very last block: no task reads the shared stream behind them
    unused_widths = 768 * (2 + 5 + 5), 768 * (1 + 4 + 1)
    return dict(
        patch_embed=96 * 3 * 4 * 4 + 96,
        norms=4 * blocks + sum(2 * 4 * width for width in merged) + 2 * 96,
        relative_position=13 * 13 * sum(h * d for h, d in zip((3, 6, 12, 24), depths, strict=True)),
        # qkv C -> 3C, proj C -> C, fc1 C -> 4C, fc2 4C -> C, merging 4C -> 2C
        lora_shared=(16 * blocks + sum(6 * width for width in merged) - unused_widths[0]) * rank,
        magnitude_shared=9 * blocks + sum(2 * width for width in merged) - unused_widths[1],
        lora_task=12 * sum(widths) * tasks * rank,
        magnitude_task=6 * sum(widths) * tasks,
        unused=unused_widths[0] * rank + unused_widths[1],
        projections=projections * tasks,
        # a task and level: the frequencies, a scale and a shift a channel; alpha and XT-Cons' four
        ts_pd=(filters + 4 * (1 + 4)) * tasks,
        heads=head * tasks + sum((hidden + 1) * c for c in channels),
    )


PASCAL, NYUD = (21, 7, 1, 3), (40, 1, 3)


@pytest.mark.parametrize('rank', [1, 8, 64])
@pytest.mark.parametrize(('data', 'channels'), [('pascal', PASCAL), ('nyud', NYUD)])
def test_faar_count_follows_the_formula(data, channels, rank):
    cfg = load(f'configs/faar/faar_swin-t_{data}.py')
    for plugin in cfg.model.backbone.plugins.values():
        plugin.cfg.rank = rank
    components = parameter_components(MODELS.build(cfg.model))
    assert components == faar_components(rank, channels)
    if data == 'pascal':
        assert sum(components.values()) == 2_349_946 + 143_808 * rank
        assert sum(components[k] for k in decoder_components if k in components) == 1_946_624
        assert components['ts_pd'] == 4 * 69_104
        magnitudes = components['magnitude_shared'] + components['magnitude_task']
        assert magnitudes + (components['unused'] - 768 * 12 * rank) == 75_648


def test_faar_starts_with_the_features_of_the_frozen_backbone():
    """The levels are what stock timm gives behind each patch merging, for every task."""
    cfg = load('configs/faar/faar_swin-t_pascal.py')
    cfg.model.backbone.backbone.pretrained = False
    backbone = MODELS.build(cfg.model).backbone.eval()
    stock = timm.create_model('swin_tiny_patch4_window7_224', num_classes=0).eval()
    state = {k: v for k, v in backbone.network.state_dict().items() if '.adapter.' not in k}
    stock.load_state_dict(state)
    taps = [*(layer.downsample for layer in stock.layers[1:]), stock.layers[-1]]
    wanted = []
    for tap in taps:
        tap.register_forward_hook(lambda module, x, out: wanted.append(out.permute(0, 3, 1, 2)))
    picture = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        stock.forward_features(picture)
        levels = backbone(picture)
    assert list(levels) == ['semseg', 'human_parts', 'sal', 'normals']
    assert len(wanted) == 4
    for own in levels.values():
        for level, frozen in zip(own, wanted, strict=True):
            torch.testing.assert_close(level, frozen, rtol=1e-5, atol=1e-5)
