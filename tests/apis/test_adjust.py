"""Options as people set them: no workers, hooks switched off, classes as types, --amp."""

import pytest
from helpers.engine import tiny, train
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch.utils.data import DataLoader

from mtpeft.apis import build_runner
from mtpeft.apis.adjust import OF_WORKERS, fit_loaders, use_amp, without_idle_options
from mtpeft.apis.preflight import check_config
from mtpeft.apis.read_config import load_config
from mtpeft.hooks import AdapterCheckpointHook
from mtpeft.models import AdapterBackbone, MultiTaskModel
from mtpeft.optim import AutocastOptimWrapper, FlatNoDecayConstructor
from mtpeft.utils.fits import ConfigError


@pytest.mark.parametrize(
    'options',
    [dict(persistent_workers=True), dict(prefetch_factor=2), dict(multiprocessing_context='fork')],
)
@pytest.mark.parametrize('number', [dict(num_workers=0), {}])
def test_torch_takes_what_is_left_without_workers(options, number):
    given = dict(batch_size=1, **number, **options)
    with pytest.raises(ValueError, match='num_workers'):
        DataLoader([0], **given)
    DataLoader([0], **without_idle_options(given))
    assert without_idle_options(dict(given, num_workers=2)) == dict(given, num_workers=2)


@pytest.mark.parametrize(('cores', 'processes', 'gpu', 'workers'), [
    (16, 1, True, 15), (64, 1, True, 16), (16, 4, True, 3), (16, 1, False, 2), (2, 1, False, 1),
    (1, 1, True, 0), (2, 4, False, 0),
])  # fmt: skip
def test_workers_by_the_cores(monkeypatch, cores, processes, gpu, workers):
    monkeypatch.setattr('os.sched_getaffinity', lambda of: set(range(cores)), raising=False)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', str(processes))
    monkeypatch.setattr('torch.cuda.is_available', lambda: gpu)
    cfg = tiny()
    cfg.train_dataloader.update(num_workers='auto', persistent_workers=True)
    cfg.val_dataloader.pin_memory = False  # what is stated stays
    check_config(cfg)
    fit_loaders(cfg)
    given = cfg.train_dataloader
    assert given['num_workers'] == workers and not cfg.val_dataloader.pin_memory
    assert given.get('prefetch_factor') == (4 if workers else None)
    assert ('persistent_workers' in given) == bool(workers)
    assert given.get('pin_memory', False) == gpu
    cfg.train_dataloader.num_workers = 'atuo'
    with pytest.raises(ConfigError, match='num_workers'):
        check_config(cfg)


@pytest.mark.parametrize('option', OF_WORKERS)
def test_a_run_without_workers(option, tmp_path):
    value = dict(persistent_workers=True, prefetch_factor=4, multiprocessing_context='fork')[option]
    cfg = tiny(train_cfg__max_epochs=1)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].update({'num_workers': 0, option: value})
    assert train(cfg, tmp_path).iter == 3


@pytest.mark.parametrize('name', ['visualization', 'timer', 'checkpoint', 'logger', 'my_own'])
def test_a_hook_is_switched_off_with_none(name, tmp_path):
    cfg = tiny(train_cfg__max_epochs=1)
    cfg.default_hooks[name] = None
    runner = train(cfg, tmp_path)
    before = dict(visualization='PredictionGridHook', timer='IterTimerHook', logger='LoggerHook',
                  checkpoint='AdapterCheckpointHook').get(name)  # fmt: skip
    assert before not in [type(hook).__name__ for hook in runner.hooks]


def test_a_schedule_that_nothing_would_step():
    cfg = tiny()
    cfg.param_scheduler = [dict(type='ConstantLR')]
    cfg.default_hooks.param_scheduler = None
    with pytest.raises(ConfigError, match='default_hooks.param_scheduler: None, so nothing'):
        check_config(cfg)


# -- classes as types ------------------------------------------------------------------------------

PURE = """
from mmengine.dataset import DefaultSampler
from mmengine.hooks import IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.optim import CosineAnnealingLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, LogProcessor, TestLoop, ValLoop
from mmseg.models.backbones import SwinTransformer
from torch.optim import AdamW

from mtpeft.adapters import MTLoRA
from mtpeft.datasets import ScenesMT
from mtpeft.evaluation import DepthMetric, MultiTaskEvaluator
from mtpeft.hooks import AdapterCheckpointHook, SummaryHook
from mtpeft.models import AdapterBackbone, MultiTaskModel
from mtpeft.models.data_preprocessor import MultiTaskDataPreprocessor
from mtpeft.models.decoders import MultiHeadDecoder
from mtpeft.models.heads import HRNetHead
from mtpeft.models.losses import MaskedL1Loss
from mtpeft.models.necks import ProjectionNeck
from mtpeft.optim import FlatNoDecayConstructor
from mtpeft.transforms import MTRandomFlip, PackMultiTaskInputs
from mtpeft.visualization import MultiTaskVisualizer

default_scope = 'mtpeft'
tasks = dict(semseg=dict(num_classes=21),
             depth=dict(loss=dict(type=MaskedL1Loss), metric=dict(type=DepthMetric)))
model = dict(
    type=MultiTaskModel, tasks=tasks, data_preprocessor=dict(type=MultiTaskDataPreprocessor),
    backbone=dict(
        type=AdapterBackbone,
        backbone=dict(type=SwinTransformer, embed_dims=8, depths=(1, 1, 1, 1),
                      num_heads=(1, 1, 2, 2)),
        plugins=[dict(cfg=dict(type=MTLoRA, rank=2, task_rank=2), targets=['fc1', 'fc2'],
                      lanes='task')],
    ),
    necks=[dict(type=ProjectionNeck, out_channels=(4, 4, 4, 4))],
    decoder=dict(type=MultiHeadDecoder, head=dict(type=HRNetHead, channels=8)),
)
pipeline = [dict(type=MTRandomFlip), dict(type=PackMultiTaskInputs)]
train_dataloader = val_dataloader = test_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(type=ScenesMT, tasks=tasks, size=(32, 32), length=2, pipeline=pipeline),
)
val_evaluator = test_evaluator = dict(type=MultiTaskEvaluator, metrics=[], tasks=tasks)
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
optim_wrapper = dict(type=OptimWrapper, constructor=FlatNoDecayConstructor,
                     optimizer=dict(type=AdamW, lr=1e-3))
param_scheduler = [dict(type=CosineAnnealingLR, T_max=2, by_epoch=True, convert_to_iter_based=True)]
default_hooks = dict(timer=dict(type=IterTimerHook), logger=dict(type=LoggerHook),
                     param_scheduler=dict(type=ParamSchedulerHook),
                     checkpoint=dict(type=AdapterCheckpointHook, interval=1))
custom_hooks = [dict(type=SummaryHook)]
visualizer = dict(type=MultiTaskVisualizer)
log_processor = dict(type=LogProcessor, by_epoch=True)
log_level = 'WARNING'
"""


@pytest.fixture
def pure(tmp_path):
    path = tmp_path / 'pure.py'
    path.write_text(PURE)
    return path


def test_a_pure_python_config_trains_and_is_guarded(pure, tmp_path):
    runner = build_runner(load_config(pure), work_dir=str(tmp_path / 'run'), amp=True)
    runner.train()
    assert isinstance(runner.optim_wrapper, AutocastOptimWrapper)
    assert 'CheckpointGuardHook' in [type(hook).__name__ for hook in runner.hooks]
    resumed = build_runner(load_config(pure), work_dir=str(tmp_path / 'run'), resume='auto')
    resumed.train()
    assert resumed.epoch == 1


def test_options_reach_a_pure_python_config(pure):
    cfg = load_config(pure, {'train_cfg.max_epochs': 3}, tasks=['depth'], size=(64, 32))
    check_config(cfg)
    assert list(cfg.model.tasks) == ['depth'] and cfg.val_dataloader.dataset.size == (64, 32)
    with pytest.raises(ConfigError, match="MTLoRA has no option 'rnk'. Did you mean 'rank'"):
        cfg = load_config(pure)
        cfg.model.backbone.plugins[0].cfg.rnk = 3
        check_config(cfg)


def test_classes_in_a_config_that_was_read_from_text(tmp_path):
    cfg = tiny(train_cfg__max_epochs=1)
    cfg.model.type, cfg.model.backbone.type = MultiTaskModel, AdapterBackbone
    cfg.optim_wrapper.update(type=OptimWrapper, constructor=FlatNoDecayConstructor)
    cfg.default_hooks.checkpoint.type = AdapterCheckpointHook
    runner = train(cfg, tmp_path)
    assert sum(type(hook).__name__ == 'CheckpointGuardHook' for hook in runner.hooks) == 1


# -- mixed precision -------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', [OptimWrapper, 'OptimWrapper', 'mmengine.OptimWrapper', None])
def test_amp_takes_over_the_plain_wrapper_however_it_is_named(kind):
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD'))))
    if kind is not None:
        cfg.optim_wrapper.type = kind
    use_amp(cfg)
    assert cfg.optim_wrapper.type == 'mtpeft.AutocastOptimWrapper'


def test_amp_reaches_each_of_several_wrappers():
    part = dict(type=OptimWrapper, optimizer=dict(type='SGD'))
    cfg = Config(dict(optim_wrapper=dict(constructor='Mine', a=part, b=part)))
    use_amp(cfg)
    kinds = [cfg.optim_wrapper[name].type for name in 'ab']
    assert kinds == ['mtpeft.AutocastOptimWrapper'] * 2


class Own(OptimWrapper):
    pass


@pytest.mark.parametrize('kind', [Own, 'OwnWrapper'])
def test_amp_with_a_wrapper_that_stays_in_float32_is_refused(kind):
    cfg = Config(dict(optim_wrapper=dict(type=kind, optimizer=dict(type='SGD'))))
    with pytest.raises(ConfigError, match='--amp: optim_wrapper.type is Own'):
        use_amp(cfg)


def test_amp_leaves_what_is_mixed_already():
    cfg = Config(dict(optim_wrapper=dict(type=AutocastOptimWrapper, optimizer=dict(type='SGD'))))
    use_amp(cfg)
    assert cfg.optim_wrapper.type is AutocastOptimWrapper
