"""What MMEngine's Runner reads of a config, and what signatures of MMEngine and torch leave open.

The rest is in the signatures themselves, which :mod:`mtpeft.apis.preflight` reads.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

from mmengine.runner import Runner

from mtpeft.utils.kinds import (
    Count,
    Index,
    NotNegative,
    Positive,
    Range,
    Size,
    Transform,
    built,
)

_Never = Annotated[int, Range(1, also=(-1,))]

Dataset = built('DATASETS')
Hook = built('HOOKS', trial=True, extra=(('priority', int | str),))
Scheduler = built(
    'PARAM_SCHEDULERS', 'optimizer', trial=True, extra=(('convert_to_iter_based', bool),)
)
Schedulers = Sequence[Scheduler] | Scheduler
Optimizer = built('OPTIMIZERS', 'params', trial=True)
Evaluator = (
    built('EVALUATOR', default='Evaluator', trial=True)
    | Sequence[built('METRICS', trial=True)]
)  # fmt: skip
VisBackend = built('VISBACKENDS', 'save_dir')


class ClipGrad(TypedDict, total=False):
    """``optim_wrapper.clip_grad``: of ``torch.nn.utils.clip_grad_norm_``, or of ``_value_``."""

    type: Literal['norm', 'value']
    max_norm: Positive
    norm_type: Annotated[float, Range(0, infinite=True)]
    error_if_nonfinite: bool
    foreach: bool | None
    clip_value: Positive


class Paramwise(TypedDict, total=False):
    """``optim_wrapper.paramwise_cfg`` of MMEngine's constructor and of ours."""

    custom_keys: Mapping[str, Mapping]
    bias_lr_mult: NotNegative
    bias_decay_mult: NotNegative
    norm_decay_mult: NotNegative
    dwconv_decay_mult: NotNegative
    flat_decay_mult: NotNegative
    dcn_offset_lr_mult: NotNegative
    bypass_duplicate: bool


class AutoScaleLR(TypedDict, total=False):
    """``auto_scale_lr``."""

    enable: bool
    base_batch_size: Count


class _File(TypedDict):
    checkpoint: str


class LoadFrom(_File, total=False):
    """``load_from`` of a run that starts from another model's checkpoint."""

    partial: bool


class Processes(TypedDict, total=False):
    """``env_cfg.mp_cfg``."""

    mp_start_method: Literal['fork', 'spawn', 'forkserver']
    opencv_num_threads: int
    omp_num_threads: Index | None
    mkl_num_threads: Index | None


class Distributed(TypedDict, total=False):
    """``env_cfg.dist_cfg``."""

    backend: Literal['nccl', 'gloo', 'mpi', 'mccl', 'hccl', 'cncl', 'smddp', 'ucc']
    timeout: Positive
    init_method: str
    init_backend: str
    rank: Index
    world_size: Count
    port: Index
    local_rank: Index


class Environment(TypedDict, total=False):
    """``env_cfg``."""

    cudnn_benchmark: bool
    mp_cfg: Processes
    dist_cfg: Distributed
    resource_limit: Count


class Randomness(TypedDict, total=False):
    """``randomness``, the options of ``Runner.set_randomness``."""

    seed: Index | None
    diff_rank_seed: bool
    deterministic: bool


#: a data loader: the Runner takes the ``extra`` off, the rest goes to torch's ``DataLoader``
Loader = built(
    'LOADER',
    needs=('dataset', 'sampler'),
    extra=(('num_batch_per_epoch', Count | None), ('disable_subprocess_warning', bool)),
    trial=True,
)

#: how the Runner looks at each top-level name
RUN: dict[str, Any] = dict(
    model=built('MODELS'),
    train_dataloader=Loader | None,
    val_dataloader=Loader | None,
    test_dataloader=Loader | None,
    train_cfg=built('LOOPS', 'runner', 'dataloader', default='train') | None,
    val_cfg=built('LOOPS', 'runner', 'dataloader', 'evaluator', default='ValLoop') | None,
    test_cfg=built('LOOPS', 'runner', 'dataloader', 'evaluator', default='TestLoop') | None,
    auto_scale_lr=AutoScaleLR | None,
    optim_wrapper=built('OPTIM_WRAPPERS', 'optimizer', default='OptimWrapper') | None,
    param_scheduler=Schedulers | Mapping[str, Schedulers] | None,
    val_evaluator=Evaluator | None,
    test_evaluator=Evaluator | None,
    default_hooks=Mapping[str, Hook | None] | None,
    custom_hooks=Sequence[Hook] | None,
    data_preprocessor=built('MODELS', 'tasks') | None,
    load_from=str | LoadFrom | None,
    resume=bool,
    launcher=Literal['none', 'pytorch', 'slurm', 'mpi'],
    env_cfg=Environment,
    log_processor=built('LOG_PROCESSORS', default='LogProcessor', trial=True) | None,
    log_level=Literal['NOTSET', 'DEBUG', 'INFO', 'WARNING', 'WARN', 'ERROR', 'CRITICAL', 'FATAL'],
    visualizer=built('VISUALIZERS', 'name', 'save_dir', default='Visualizer') | None,
    default_scope=str | None,
    randomness=Randomness,
    experiment_name=str | None,
    work_dir=str | None,
    runner_type=str,
    find_unused_parameters=bool,
    model_wrapper_cfg=built('MODEL_WRAPPERS', 'module', default='MMDistributedDataParallel') | None,
)

#: all names at the top of a config that are read; the last ones the Runner looks up by itself
READ = (*RUN, 'activation_checkpointing', 'efficient_conv_bn_eval', 'compile')

_share = Annotated[float, Range(0, 1)]
_Blocks = Annotated[int, Range(1, 1000)]
_interval = {
    'val_interval': Count,
    'val_begin': Index,
    'dynamic_intervals': Sequence[tuple[Index, Count]] | None,
}
_end = {'begin': Index, 'end': Count}

#: options of classes of MMEngine and torch whose bounds, or parts, their signatures do not tell
REFINED: dict[str, dict[str, Any]] = {
    'DataLoader': {
        'dataset': Dataset,
        'sampler': built('DATA_SAMPLERS', 'dataset', 'seed'),
        'batch_sampler': built('DATA_SAMPLERS', 'sampler', 'batch_size') | None,
        'collate_fn': built('FUNCTIONS', 'data_batch') | Callable,
        'worker_init_fn': built('FUNCTIONS', 'worker_id'),
        'batch_size': Count,
        'num_workers': Literal['auto'] | Annotated[int, Range(0, 1024)],
        'timeout': NotNegative,
        'prefetch_factor': Size | None,
    },
    'EpochBasedTrainLoop': {'max_epochs': Count, **_interval},
    'IterBasedTrainLoop': {'max_iters': Count, **_interval},
    'OptimWrapper': {'clip_grad': ClipGrad | None, 'accumulative_counts': Count},
    '_ParamScheduler': _end,
    'CosineAnnealingParamScheduler': {**_end, 'T_max': Count | None, 'eta_min_ratio': _share | None,
                                      'eta_min': NotNegative | None},
    'LinearParamScheduler': {**_end, 'start_factor': Annotated[float, Range(0, 1)],
                             'end_factor': Annotated[float, Range(0, 1)]},
    'PolyParamScheduler': {**_end, 'power': Positive, 'eta_min': NotNegative},
    'StepParamScheduler': {**_end, 'step_size': Count},
    'MultiStepParamScheduler': {**_end, 'milestones': Sequence[Index]},
    'ConstantParamScheduler': _end,
    'ExponentialParamScheduler': {**_end, 'gamma': Positive},
    'CheckpointHook': {'interval': _Never, 'max_keep_ckpts': _Never, 'save_begin': Index,
                       'rule': Literal['greater', 'less'] | Sequence[Literal['greater', 'less']]
                       | None},
    'LoggerHook': {'interval': Count},
    'LogProcessor': {'window_size': Count},
    'SwinTransformer': {'depths': Sequence[_Blocks], 'embed_dim': Size,
                        'num_heads': Sequence[Size], 'window_size': Size | Sequence[Size]},
    'BaseDataset': {'pipeline': Sequence[Transform | Callable]},
    'ConcatDataset': {'datasets': Sequence[Dataset]},
    'RepeatDataset': {'dataset': Dataset, 'times': Count},
    'ClassBalancedDataset': {'dataset': Dataset},
    'Evaluator': {'metrics': built('METRICS', trial=True) | Sequence[built('METRICS', trial=True)]},
    'Visualizer': {'vis_backends': Sequence[VisBackend] | None},
}  # fmt: skip

#: hooks that MMEngine adds where a config does not name them
DEFAULT_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')

#: what becomes of keywords that a class of MMEngine keeps
KEPT: dict[str, Callable] = {'CheckpointHook': Runner.save_checkpoint}

#: options of any optimizer
OPTIMIZER = {'lr': Positive, 'weight_decay': NotNegative, 'eps': Positive, 'momentum': NotNegative,
             'betas': tuple[Annotated[float, Range(0, 1)], Annotated[float, Range(0, 1)]]
             }  # fmt: skip
