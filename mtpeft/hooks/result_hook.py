"""What a run came to, in one file."""

import datetime
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mtpeft.adapters.ranks.patterns import mean_rank_in_use
from mtpeft.registry import HOOKS
from mtpeft.utils.atomic import write_atomically
from mtpeft.utils.dist import unwrap

RESULT_FILE = 'result.json'


@HOOKS.register_module()
class ResultHook(Hook):
    """Writes ``<work_dir>/result.json`` when training is done; the file says that it is.

    It holds the metrics of the last epoch's evaluation (done now if the run was stopped between
    the last checkpoint and its evaluation), each task's headline, the trainable parameters (those
    at the start, and ``effective``: at the end, without pruned components of adapters), the mean
    rank of adapters, the median time of a training step with its loading of data and the sum of
    all, the peak memory, and what the run was made with. Memory is the most that tensors took on a
    GPU, else that of the main process (without the workers that load data), since the start or the
    last resume.

    Args:
        recipe: Fingerprint of the run's options, copied into the file.

    Raises:
        ValueError: the run has no evaluation.

    Example:
        >>> ResultHook(recipe='sha256-12ab').priority
        'LOWEST'
    """

    priority = 'LOWEST'

    def __init__(self, recipe: str = '') -> None:
        self.recipe = recipe
        self._metrics: dict | None = None
        self._epoch = -1
        self._parameters: dict = {}

    def before_train(self, runner: Runner) -> None:
        if runner.val_loop is None:
            raise ValueError(
                'ResultHook needs an evaluation; the config has no val_dataloader, val_cfg and '
                'val_evaluator.'
            )
        self._parameters = count_parameters(unwrap(runner.model))

    def after_val_epoch(self, runner: Runner, metrics: Mapping | None = None) -> None:
        self._metrics, self._epoch = dict(metrics or {}), runner.epoch

    def after_train(self, runner: Runner) -> None:
        if self._metrics is None or self._epoch != runner.epoch:
            # sets them, through after_val_epoch
            runner.val_loop.run()
        self._parameters |= count_effective(unwrap(runner.model))
        self._write(runner)

    @master_only
    def _write(self, runner: Runner) -> None:
        times = runner.message_hub.log_scalars.get('train/time')
        metrics = {name: _finite(value) for name, value in self._metrics.items()}
        result = dict(
            recipe=self.recipe, config=runner.cfg.filename, seed=runner.seed, epochs=runner.epoch,
            iterations=runner.iter, metrics=metrics,
            headline=headlines(metrics, getattr(runner.val_loop.evaluator, 'tasks', {})),
            parameters=self._parameters,
            seconds_per_step=statistics.median(times.data[0].tolist()) if times else None,
            training_seconds=float(times.data[0].sum()) if times else None,
            **peak_memory(), commit=git_commit(),
            host=dict(
                cpus=os.cpu_count(), processor=processor_name(), threads=torch.get_num_threads(),
                torch=torch.__version__,
                device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
            ),
            date=datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
        )  # fmt: skip
        data = json.dumps(result, indent=2, allow_nan=False).encode()
        write_atomically(data, Path(runner.work_dir) / RESULT_FILE)


def headlines(metrics: Mapping[str, float | None], tasks: Mapping) -> dict[str, dict]:
    """Of each task: ``metric``, ``value`` (``None`` without labels), ``unit``, direction."""
    from mtpeft.evaluation.describe import describe

    return {
        name: dict(
            metric=task.headline, value=metrics.get(f'{name}/{task.headline}'),
            lower_is_better=task.lower_is_better, unit=describe(task, task.headline).unit or '',
        )
        for name, task in tasks.items()
    }  # fmt: skip


def count_parameters(model: torch.nn.Module) -> dict:
    """Trainable parameters: all, without the decoder, also without the unused, by component."""
    from mtpeft.models import decoder_components, parameter_components

    components = parameter_components(model)
    trainable = sum(components.values())
    without_decoder = trainable - sum(components.get(name, 0) for name in decoder_components)
    return dict(
        trainable=trainable, without_decoder=without_decoder,
        without_decoder_and_unused=without_decoder - components.get('unused', 0),
        components=components,
    )  # fmt: skip


def count_effective(model: torch.nn.Module) -> dict:
    """Trainable parameters without pruned components, and the mean rank of what has an effect.

    Returns:
        ``effective``, ``effective_without_decoder``, and ``mean_rank``, which is ``None`` without
        low-rank adapters.
    """
    from mtpeft.models import decoder_components, effective_components

    components = effective_components(model)
    effective = sum(components.values())
    decoder = sum(components.get(name, 0) for name in decoder_components)
    return dict(
        effective=effective, effective_without_decoder=effective - decoder,
        mean_rank=mean_rank_in_use(model),
    )  # fmt: skip


def peak_memory() -> dict:
    """``peak_memory_mb`` and ``peak_memory_of``: ``'gpu'`` or ``'process'``."""
    if torch.cuda.is_available():
        return dict(
            peak_memory_mb=torch.cuda.max_memory_allocated() / 2**20, peak_memory_of='gpu'
        )  # fmt: skip
    status = Path('/proc/self/status')
    if status.is_file():
        # ru_maxrss of Linux starts at what the process that started this one took
        for line in status.read_text().splitlines():
            if line.startswith('VmHWM:'):
                return dict(peak_memory_mb=int(line.split()[1]) / 1024, peak_memory_of='process')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 2**20 if sys.platform == 'darwin' else 1024
    return dict(peak_memory_mb=peak / unit, peak_memory_of='process')


def processor_name() -> str:
    """Name of the processor, such as ``'AMD EPYC 7B13'``; its architecture where none is known."""
    file = Path('/proc/cpuinfo')
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return next(filter(None, names), '') or platform.processor() or platform.machine()


def git_commit() -> str | None:
    """The commit of this code, with ``-dirty`` where tracked files differ from it."""
    try:
        done = subprocess.run(
            ['git', 'describe', '--always', '--dirty', '--exclude=*', '--abbrev=12'],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _finite(value: object) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
