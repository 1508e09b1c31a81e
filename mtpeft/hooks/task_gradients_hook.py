"""Puts in what takes the tasks' gradients one by one, where the model's weighting asks for it."""

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from mtpeft.optim.task_gradients import TaskGradients
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.torch_private import is_compiled


@HOOKS.register_module()
class TaskGradientsHook(Hook):
    """Lets a run step by what the model's ``loss_weighting`` makes of the tasks' gradients.

    ``build_runner`` registers it for a weighting that combines gradients (``TorchJD``, ``PCGrad``,
    ``GradNorm``); a config need not name it. See :class:`~mtpeft.optim.TaskGradients`.

    Raises:
        TypeError: the run has several optimizers.
        RuntimeError: parts of the model are compiled.

    Example:
        >>> TaskGradientsHook().priority
        'NORMAL'
    """

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        kind = type(model.loss_weighting).__name__
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise TypeError(
                f'{kind} combines the gradients of tasks for one optimizer, and this run has '
                f'{type(runner.optim_wrapper).__name__}. Give optim_wrapper one optimizer.'
            )
        if any(map(is_compiled, model.modules())):
            raise RuntimeError(
                f'{kind} passes a graph backwards once for each task, which compiled graphs do '
                'not allow. Train without --compile.'
            )
        if not model.loss_weighting.installed:
            TaskGradients(runner.optim_wrapper, model).install()


def ensure_task_gradients(runner: Runner) -> None:
    """Register a :class:`TaskGradientsHook` where the weighting combines gradients."""
    combines = hasattr(getattr(unwrap(runner.model), 'loss_weighting', None), 'combine')
    if combines and not any(isinstance(hook, TaskGradientsHook) for hook in runner.hooks):
        runner.register_hook(TaskGradientsHook())
