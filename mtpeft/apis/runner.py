"""From a config to a Runner of MMEngine, with everything that ``mtpeft train`` promises."""

import copy
import os.path as osp
from collections.abc import Mapping

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mtpeft.apis.adjust import drop_hooks, fit_loaders, scale_rate, use_amp, use_task_keys
from mtpeft.apis.preflight import check_config
from mtpeft.apis.train_length import refuse_empty_training
from mtpeft.checkpoints.schemes import use_safe_loading
from mtpeft.checkpoints.work_dir import checkpoint_folder, last_checkpoint
from mtpeft.hooks.integrity_hook import ensure_integrity
from mtpeft.hooks.recipe_hook import ensure_recipe
from mtpeft.hooks.task_gradients_hook import ensure_task_gradients
from mtpeft.utils.compiling import compile_parts
from mtpeft.utils.dist import check_launcher, init_distributed, unwrap
from mtpeft.utils.type_names import type_name

_HOOK = 'AdapterCheckpointHook'
#: hooks that every run has (IntegrityHook too, which comes last)
_KEPT = (
    'CheckpointGuardHook', 'ReproducibleEpochHook', 'SyncNormStatsHook', 'SummaryHook',
    'ResumedValidationHook',
)  # fmt: skip
#: those that belong to our checkpoints
_OF_OURS = ('CheckpointGuardHook', 'ResumedValidationHook')


def build_runner(
    cfg: Config,
    *,
    work_dir: str | None = None,
    checkpoint: str | None = None,
    partial: bool = False,
    resume: str | bool = False,
    amp: bool = False,
    launcher: str = 'none',
    seed: int | None = None,
    deterministic: bool = False,
    compile: bool | str = False,
    auto_scale_lr: bool = False,
) -> Runner:
    """Build the Runner of a config.

    The Runner is MMEngine's own. Around it: several processes work on CPUs too; checkpoints are
    read without unpickling code (this replaces MMEngine's loaders in the whole process) and are
    checked before they are used; hooks that a right result hangs on are there whatever
    ``custom_hooks`` a config has; the sampler of the training loader counts the passes over the
    data.

    Args:
        cfg: The config; it is not changed.
        work_dir: Folder of logs and checkpoints. Default: ``cfg.work_dir``, else
            ``work_dirs/<name of the config>``.
        checkpoint: Weights to start from or to test, as ``load_from``.
        partial: Train on from a checkpoint of another model, as
            ``load_from=dict(checkpoint=..., partial=True)``: what fits is kept, what starts anew
            is listed in the log. (Other tasks and other classes need no such word.)
        resume: ``True`` or ``'auto'`` goes on from the last checkpoint in ``work_dir`` (from the
            start if there is none), a path from that one. (So does ``resume=True`` of a config
            without ``load_from``.)
        amp: Train in mixed precision: bfloat16 where the device can, float16 elsewhere.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        seed: Seed of the run, over that of the config.
        deterministic: Refuse algorithms whose result varies from run to run.
        compile: torch.compile backbone, necks and decoder; a name is that of the backend.
        auto_scale_lr: Scale the learning rate from the batch that the config is for
            (``auto_scale_lr.base_batch_size``) to that of all processes.

    Raises:
        ValueError: one of several processes of torchrun with ``launcher='none'``.
        KeyError, TypeError: the config names an unknown type or option (with the nearest names).
        FileNotFoundError: ``resume`` names a file that does not exist.
        CheckpointError: ``work_dir`` has checkpoints, but not the last one, or nothing says which.

    Example:
        >>> from mmengine.config import Config
        >>> cfg = Config.fromfile('configs/mtlora/mtlora_swin-pico_scenes.py')  # doctest: +SKIP
        >>> build_runner(cfg, resume='auto').train()  # doctest: +SKIP
    """
    check_launcher(launcher)
    check_config(cfg)
    use_safe_loading()
    cfg = copy.deepcopy(cfg)
    cfg.setdefault('default_scope', 'mtpeft')
    partial |= _set_files(cfg, work_dir, checkpoint, resume)
    _set_randomness(cfg, seed, deterministic)
    fit_loaders(cfg)
    drop_hooks(cfg)
    use_task_keys(cfg)
    if amp:
        use_amp(cfg)
    if auto_scale_lr:
        scale_rate(cfg)
    _keep_hooks(cfg, partial)
    _count_passes(cfg)
    _set_distributed(cfg, launcher)
    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    refuse_empty_training(runner)
    ensure_recipe(runner)
    ensure_task_gradients(runner)
    ensure_integrity(runner)
    unwrap(runner.model).cfg = runner.cfg  # save_pretrained asks for it
    if compile:
        compile_parts(runner.model, 'inductor' if compile is True else compile)
    return runner


def _set_files(
    cfg: Config, work_dir: str | None, checkpoint: str | None, resume: str | bool
) -> bool:  # fmt: skip
    """Set where a run reads and writes; whether ``load_from`` says ``partial``."""
    cfg.work_dir = work_dir or work_dir_of(cfg)
    source = cfg.get('load_from')
    if isinstance(source, Mapping):
        cfg.load_from = source['checkpoint']
    if checkpoint is not None:
        cfg.load_from = checkpoint
    _set_resume(cfg, resume)
    return isinstance(source, Mapping) and bool(source.get('partial'))


def work_dir_of(cfg: Config) -> str:
    """The folder of a run: what the config says, or ``work_dirs/`` and the name of its file."""
    if cfg.get('work_dir'):
        return cfg.work_dir
    name = osp.splitext(osp.basename(cfg.filename))[0] if cfg.filename else 'run'
    return osp.join('work_dirs', name)


def _set_randomness(cfg: Config, seed: int | None, deterministic: bool) -> None:
    if seed is not None or deterministic:
        cfg.randomness = dict(cfg.get('randomness') or {}, deterministic=deterministic)
        cfg.randomness['seed'] = seed if seed is not None else cfg.randomness.get('seed')


def _set_resume(cfg: Config, resume: str | bool) -> None:
    resume = resume or (cfg.get('resume', False) and not cfg.get('load_from'))
    if not resume:
        return
    if resume is True or resume == 'auto':
        last = last_checkpoint(cfg.work_dir, _checkpoint_folder(cfg))
        # without one the run starts, from the weights that the config names
        cfg.update(dict(resume=False) if last is None else dict(resume=True, load_from=last))
        return
    if not osp.isfile(resume):
        raise FileNotFoundError(f"--resume: checkpoint '{resume}' does not exist.")
    cfg.update(resume=True, load_from=resume)


def _checkpoint_folder(cfg: Config) -> str:
    """Where the checkpoint hook writes."""
    options = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    return checkpoint_folder(cfg.work_dir, options.get('out_dir'))


def _keep_hooks(cfg: Config, partial: bool = False) -> None:
    """Put back hooks on which a right result hangs: a list in a config replaces that of its base.

    The guard comes first, to check what is loaded before any other hook uses it; with ``partial``
    it is told so.
    """
    own = list(cfg.get('custom_hooks') or [])
    there = {type_name(hook) for hook in own}
    writes = type_name((cfg.get('default_hooks') or {}).get('checkpoint'))
    needed = [name for name in _KEPT if name not in there]
    if writes != _HOOK and not partial:
        needed = [name for name in needed if name not in _OF_OURS]
    if 'SyncBuffersHook' in there and 'SyncNormStatsHook' in needed:
        needed.remove('SyncNormStatsHook')
    put = {name: dict(type=f'mtpeft.{name}') for name in needed}
    guard = put.pop('CheckpointGuardHook', None)
    cfg.custom_hooks = [*([guard] if guard else []), *own, *put.values()]
    for hook in cfg.custom_hooks if partial else ():
        if type_name(hook) == 'CheckpointGuardHook':
            if isinstance(hook, Mapping):
                hook['partial'] = True
            else:
                hook.partial = True


def _count_passes(cfg: Config) -> None:
    """Let the sampler of the training loader say in which pass over the data it is."""
    loader = cfg.get('train_dataloader')
    if not isinstance(loader, Mapping) or loader.get('sampler') is None:
        return
    sampler = loader['sampler']
    if not isinstance(sampler, Mapping) or type_name(sampler) != 'CountedSampler':
        loader['sampler'] = dict(type='mtpeft.CountedSampler', sampler=sampler)


def _set_distributed(cfg: Config, launcher: str) -> None:
    cfg.launcher = launcher
    init_distributed(launcher, (cfg.get('env_cfg') or {}).get('dist_cfg') or {})
    if launcher == 'none' or torch.cuda.is_available():
        return
    # MMEngine's default names a GPU
    wrapper = dict(cfg.get('model_wrapper_cfg') or dict(type='MMDistributedDataParallel'))
    unused = cfg.get('find_unused_parameters', False)
    defaults = dict(device_ids=None, broadcast_buffers=False, find_unused_parameters=unused)
    cfg.model_wrapper_cfg = {**defaults, **wrapper}
