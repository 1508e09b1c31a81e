"""The state after the last whole epoch, for a run that is told to end between checkpoints."""

import os

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mtpeft.checkpoints.work_dir import LAST, is_inside
from mtpeft.registry import HOOKS
from mtpeft.utils.atomic import write_atomically

_MEMORY = 'mtpeft.memory'
_kept: dict[str, bytes] = {}


@HOOKS.register_module()
class SpareCheckpointHook(Hook):
    """Keeps in memory the checkpoint of an epoch after which none is written.

    With ``interval=10`` of the checkpoint hook, a run that ends by SIGTERM in epoch 19 would lose
    nine epochs; :meth:`write` saves the state after epoch 18 then. (``mtpeft train`` does so.) It
    takes the memory of one checkpoint, and the time to make it.

    Example:
        >>> SpareCheckpointHook().priority
        'LOWEST'
    """

    # behind the checkpoint hook
    priority = 'LOWEST'

    def after_train_epoch(self, runner: Runner) -> None:
        hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
        _kept.clear()
        if hook is None or not hook.by_epoch or '://' in hook.out_dir or not hook.save_optimizer:
            return
        path = os.path.join(hook.out_dir, hook.filename_tmpl.format(runner.epoch + 1))
        if hook.last_ckpt == path:
            return
        runner.call_hook('before_gathered_save')
        runner.save_checkpoint(
            hook.out_dir, os.path.basename(path), save_optimizer=True,
            save_param_scheduler=hook.save_param_scheduler, by_epoch=True,
            backend_args=dict(backend=_MEMORY),
        )  # fmt: skip

    def write(self, runner: Runner) -> None:
        """Write what is kept, if anything, and name it as the last checkpoint."""
        for path, data in _kept.items() if is_main_process() else ():
            write_atomically(data, path)
            said = os.path.basename(path) if is_inside(path, runner.work_dir) else path
            write_atomically(said.encode(), os.path.join(runner.work_dir, LAST))
        _kept.clear()


class _MemoryBackend(LocalBackend):
    """Keeps what is put."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        _kept[str(filepath)] = obj


register_backend(_MEMORY, _MemoryBackend, force=True)
