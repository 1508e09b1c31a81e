"""Nothing that is not finite reaches the weights or a file, and files say what is in them."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mtpeft.checkpoints.digest import seal
from mtpeft.checkpoints.work_dir import LAST
from mtpeft.hooks.finite_steps import refuse_infinite_steps
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap

_ADVICE = (
    f'{LAST} names the checkpoint before, which is whole. Lower the learning rate or train without '
    'mixed precision, and go on from it with --resume.'
)


@HOOKS.register_module()
class IntegrityHook(Hook):
    """Refuses steps and checkpoints that are not finite, and adds digests to what is saved.

    ``build_runner`` registers it last, and ``AdapterCheckpointHook`` where nobody did: what other
    hooks put into a checkpoint counts as well.

    Raises:
        FloatingPointError: a gradient is not finite at a step, and no loss scaler is at work.
        CheckpointError: a checkpoint to be written has weights, averages or moments that are not.

    Example:
        >>> IntegrityHook().priority
        'LOWEST'
    """

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        refuse_infinite_steps(runner.optim_wrapper, unwrap(runner.model))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        seal(checkpoint, _ADVICE)


def ensure_integrity(runner: Runner) -> None:
    """Register an :class:`IntegrityHook` behind all others, unless there is one."""
    if not any(isinstance(hook, IntegrityHook) for hook in runner.hooks):
        runner.register_hook(IntegrityHook())
