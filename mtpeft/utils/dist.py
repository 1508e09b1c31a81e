"""Several processes, on GPUs and on CPUs."""

import ctypes
import datetime
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.model import is_model_wrapper
from torch import nn

from mtpeft.utils.launchers import LAUNCHERS

_PR_SET_PDEATHSIG = 1
_PARENT = os.getppid()


def check_launcher(launcher: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a process that torchrun started as one of several but that would train alone.

    Raises:
        ValueError: the launcher is unknown, or ``'none'`` in a process group.
    """
    if launcher not in LAUNCHERS:
        raise ValueError(f"Expected --launcher to be one of {LAUNCHERS}, got '{launcher}'.")
    size = int(environ.get('WORLD_SIZE', 1))
    if launcher == 'none' and size > 1 and 'RANK' in environ:
        raise ValueError(
            f'This is one of {size} processes (WORLD_SIZE={size}), started by torchrun, but '
            "--launcher is 'none': they would train separate models and overwrite each other's "
            "files. Add '--launcher pytorch' (tools/dist_train.sh does), or start one process."
        )


def process_number(environ: Mapping[str, str] = os.environ) -> int:
    """Number of this process among those of its launcher, also before they have met.

    Example:
        >>> process_number({'RANK': '3'}), process_number({})
        (3, 0)
    """
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return next((int(environ[name]) for name in names if name in environ), 0)


def init_distributed(launcher: str, dist_cfg: Mapping[str, Any]) -> None:
    """Start the process group where MMEngine cannot: on CPUs, with gloo.

    MMEngine's ``init_dist`` sets the CUDA device whatever the backend. With a GPU the Runner
    starts the group itself. Processes of torchrun end with it, see :func:`end_with_parent`.

    Args:
        launcher: ``'pytorch'``, ``'slurm'`` or ``'mpi'``; ``'none'`` does nothing.
        dist_cfg: ``env_cfg.dist_cfg`` of the config; ``timeout`` in seconds is used.
    """
    if launcher == 'pytorch':
        end_with_parent()
    if launcher == 'none' or torch.cuda.is_available() or torch_dist.is_initialized():
        return
    if launcher == 'slurm':
        _slurm_environment(dist_cfg.get('port'))
    elif launcher == 'mpi':
        for name in ('RANK', 'SIZE', 'LOCAL_RANK'):
            target = 'WORLD_SIZE' if name == 'SIZE' else name
            os.environ[target] = os.environ[f'OMPI_COMM_WORLD_{name}']
        os.environ.setdefault('MASTER_PORT', '29500')
    timeout = datetime.timedelta(seconds=dist_cfg.get('timeout', 1800))
    torch_dist.init_process_group('gloo', timeout=timeout)


def end_distributed() -> None:
    """Leave the process group together, once every process is done; alone, nothing is done.

    A thread of gloo may still let go of tensors when the interpreter ends, which aborts the process
    (``terminate called without an active exception``); torchrun then ends the others, which may be
    writing results. Call it last, when nothing refers to the model any more (its wrapper keeps the
    group alive), and not on the way out of an error: the other processes would wait for one that
    has failed.
    """
    if torch_dist.is_initialized():
        gc.collect()
        torch_dist.barrier()
        torch_dist.destroy_process_group()


def end_with_parent() -> None:
    """Let this process be ended when its parent has died (on Linux; elsewhere nothing is done).

    torchrun starts its processes in sessions of their own. Where it is killed (by SIGKILL, or for
    memory) they would train on, and write into the folder from which the run was resumed.

    Raises:
        SystemExit: the parent died before, such as while this process was importing.
    """
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # the kernel tells of no death that came before
        if os.getppid() != _PARENT or _is_gone(os.environ.get('MTPEFT_LAUNCHER')):
            raise SystemExit('The process that started this one is gone, so it ends too.')


def _is_gone(launcher: str | None) -> bool:
    """Has the launcher died that says its number (tools/launch.py)?"""
    if not launcher or int(launcher) == os.getppid():
        return False
    try:
        stat = Path(f'/proc/{launcher}/stat').read_text()
    except OSError:
        return True
    # a dead process stays in the table until its own parent takes note
    return stat.rsplit(')', 1)[-1].split()[0] in 'ZX'


def _slurm_environment(port: int | None) -> None:
    environ = os.environ
    environ['RANK'] = environ['SLURM_PROCID']
    environ['WORLD_SIZE'] = environ['SLURM_NTASKS']
    environ['LOCAL_RANK'] = environ.get('SLURM_LOCALID', '0')
    environ.setdefault('MASTER_PORT', str(port or 29500))
    if 'MASTER_ADDR' not in environ:
        hosts = ['scontrol', 'show', 'hostname', environ['SLURM_NODELIST']]
        environ['MASTER_ADDR'] = subprocess.check_output(hosts, text=True).split()[0]


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel and its like."""
    return model.module if is_model_wrapper(model) else model
