"""Running statistics of BatchNorm that all processes share."""

from typing import Any

from mmengine.dist import all_reduce_params, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap


@HOOKS.register_module()
class SyncNormStatsHook(Hook):
    """Averages the running mean and variance of trained BatchNorm layers over the processes.

    Each process updates them from its own pictures, so without this the processes evaluate
    slightly different models, and the checkpoint is yet another. Done at the end of each epoch,
    and before an evaluation or a checkpoint within one. MMEngine's ``SyncBuffersHook`` averages
    every buffer, those of the frozen base included, which rounds them.

    Example:
        >>> SyncNormStatsHook().priority
        'ABOVE_NORMAL'
    """

    # before EMAHook, which copies the statistics
    priority = 'ABOVE_NORMAL'

    def __init__(self) -> None:
        self._changed = False

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._changed = True
        if self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._sync(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        self._sync(runner)

    def before_gathered_save(self, runner: Runner) -> None:
        """Called in every process before one of them saves."""
        self._sync(runner)

    def _sync(self, runner: Runner) -> None:
        if not self._changed or get_world_size() == 1:
            return
        statistics = [
            buffer
            for module in unwrap(runner.model).modules()
            if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
            for buffer in (module.running_mean, module.running_var)
        ]
        if statistics:
            all_reduce_params(statistics, op='mean')
        self._changed = False
