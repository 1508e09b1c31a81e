"""Where a run is not what its config seems to say."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from mtpeft.checkpoints.files import CheckpointError
from mtpeft.hooks.recipe_words import about_batch, about_resumed
from mtpeft.optim.late_parameters import add_parameters, missing_from
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.suggest import nearest

_KEY = 'late_parameters'


@HOOKS.register_module()
class RecipeHook(Hook):
    """Warns where a run departs from its recipe, and lets late parameters be trained.

    * The batch of all processes is another than the one that the learning rate is for
      (``auto_scale_lr.base_batch_size``).
    * Tasks of the model are left out by the evaluator.
    * A resumed run keeps rates of its checkpoint that the config does not say.
    * Parameters were unfrozen after the optimizer was built (:class:`UnfreezeHook`, or code of
      one's own): they would get gradients and no update. They are added to the optimizer before
      the next iteration, and named once. A resumed run has them again.

    ``build_runner`` registers it.

    Raises:
        ValueError: parameters were unfrozen, and there are several optimizers.
        CheckpointError: the checkpoint has late parameters that the model has not.

    Example:
        >>> RecipeHook().priority
        'VERY_LOW'
    """

    # behind hooks that unfreeze, before the one that seals checkpoints
    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._parameters: list[nn.Parameter] = []
        self._trained = -1
        self._added: list[list[str]] = []

    def before_train(self, runner: Runner) -> None:
        for text in about_batch(runner):
            runner.logger.warning(text)
        if runner.val_loop is not None:
            self._say_unjudged(runner, runner.val_loop.evaluator)
        self._parameters = list(unwrap(runner.model).parameters())
        self._look(runner)

    def before_test(self, runner: Runner) -> None:
        self._say_unjudged(runner, runner.test_loop.evaluator)

    def _say_unjudged(self, runner: Runner, evaluator: Any) -> None:
        """Some of the tasks may be judged, and then it is said."""
        judged, tasks = (
            getattr(evaluator, 'tasks', None),
            getattr(unwrap(runner.model), 'tasks', ()),
        )
        left = [name for name in tasks if name not in judged] if judged else []
        if left:
            runner.logger.warning(
                f'The evaluator judges {", ".join(judged)}; {", ".join(left)} of the model '
                f'{"is" if len(left) == 1 else "are"} not judged.'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # (counting takes some microseconds)
        if sum(p.requires_grad for p in self._parameters) != self._trained:
            self._look(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._added and 'optimizer' in checkpoint:
            checkpoint[_KEY] = self._added

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Before the optimizer's state is loaded, it gets the groups that the state is of."""
        if not runner._resume:
            return
        for text in about_resumed(runner, checkpoint):
            runner.logger.warning(text)
        parameters = dict(unwrap(runner.model).named_parameters())
        for names in checkpoint.get(_KEY, ()):
            for name in names:
                if name not in parameters:
                    close = ', '.join(nearest(name, parameters)) or 'none'
                    raise CheckpointError(
                        f'The checkpoint trains {name}, which was unfrozen in its run, and which '
                        f'this model has not (nearest: {close}).'
                    )
                parameters[name].requires_grad_(True)
            self._add(runner, names)

    def _look(self, runner: Runner) -> None:
        self._trained = sum(p.requires_grad for p in self._parameters)
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            return  # of another kind, which knows its parameters itself
        names = missing_from(runner.optim_wrapper, unwrap(runner.model))
        if names:
            self._add(runner, names)
            more = f' and {len(names) - 3} more' if len(names) > 3 else ''
            runner.logger.warning(
                'Unfrozen since the optimizer was built, and added to it now at the rates of '
                f'optim_wrapper: {", ".join(names[:3])}{more}.'
            )

    def _add(self, runner: Runner, names: list[str]) -> None:
        schedulers = runner.param_schedulers
        built = isinstance(schedulers, list) and all(hasattr(s, 'base_values') for s in schedulers)
        self._added += add_parameters(
            runner.optim_wrapper, unwrap(runner.model), names, runner.cfg.get('optim_wrapper'),
            schedulers if built else (),
        )  # fmt: skip


def ensure_recipe(runner: Runner) -> None:
    """Register a :class:`RecipeHook`, unless there is one."""
    if not any(isinstance(hook, RecipeHook) for hook in runner.hooks):
        runner.register_hook(RecipeHook())
