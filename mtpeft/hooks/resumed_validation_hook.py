"""The evaluation that a run was killed before or in."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from mtpeft.registry import HOOKS


@HOOKS.register_module()
class ResumedValidationHook(Hook):
    """Evaluates the epoch, or iteration, that a resumed checkpoint ends, where one was due.

    MMEngine saves a checkpoint before it evaluates and, resumed, goes on with what comes next: a
    run that is killed in between never does that evaluation, might miss its best model, and at the
    end of the training has no result. The checkpoint cannot tell whether the evaluation took
    place, unless it became the best, so it is done (again); equal weights give equal figures.

    Example:
        >>> ResumedValidationHook().priority
        'LOWEST'
    """

    # after every hook has prepared itself for the training
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        if runner._resume and runner.val_loop is not None and _due(runner):
            by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
            what = f'epoch {runner.epoch}' if by_epoch else f'iteration {runner.iter}'
            runner.logger.info(f'Evaluating {what}, from which the run is resumed.')
            runner.val_loop.run()


def _due(runner: Runner) -> bool:
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        kind, now, end = 'epoch', runner.epoch, loop.max_epochs
    elif isinstance(loop, IterBasedTrainLoop):
        kind, now, end = 'iter', runner.iter, loop.max_iters
    else:
        return False
    best = str(runner.message_hub.runtime_info.get('best_ckpt', ''))
    if now == 0 or now < loop.val_begin or best.endswith(f'_{kind}_{now}.pth'):
        return False
    loop._decide_current_val_interval()
    return now % loop.val_interval == 0 or now == end
