"""The evaluation that a run was killed before or in."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mtpeft.registry import HOOKS


@HOOKS.register_module()
class ResumedValidationHook(Hook):
    """Evaluates the epoch that a resumed checkpoint ends, where one was due.

    MMEngine saves an epoch's checkpoint before it evaluates the epoch and, resumed, goes on with
    the next one: a run that is killed in between never evaluates that epoch, might miss its best
    model, and at the last epoch ends without a result. The checkpoint cannot tell whether the
    evaluation took place, unless it became the best, so it is done (again); equal weights give
    equal figures.

    Example:
        >>> ResumedValidationHook().priority
        'LOWEST'
    """

    # after every hook has prepared itself for the training
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        if runner._resume and runner.epoch > 0 and runner.val_loop is not None and _due(runner):
            runner.logger.info(f'Evaluating epoch {runner.epoch}, from which the run is resumed.')
            runner.val_loop.run()


def _due(runner: Runner) -> bool:
    loop, epoch = runner.train_loop, runner.epoch
    if not isinstance(loop, EpochBasedTrainLoop) or epoch < loop.val_begin:
        return False
    best = str(runner.message_hub.runtime_info.get('best_ckpt', ''))
    if best.endswith(f'_epoch_{epoch}.pth'):
        return False
    loop._decide_current_val_interval()
    return epoch % loop.val_interval == 0 or epoch == loop.max_epochs
