"""What a checkpoint must be before a run takes it."""

import re
from typing import Literal

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn

from mtpeft.checkpoints.files import CheckpointError, name_of
from mtpeft.checkpoints.model_state import (
    check_base,
    check_numbers,
    frozen_state_keys,
    lacks_base,
    load_checked,
)
from mtpeft.checkpoints.partial import (
    describe,
    from_segmentor,
    load_partly,
    of_some_tasks,
    of_tasks,
    tasks_of,
)
from mtpeft.checkpoints.work_dir import check_resumable
from mtpeft.converters.files import converted
from mtpeft.models.requested import check_untied
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap

_CHOICES = ('error', 'warn')


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Checks every checkpoint that is resumed, tested or loaded, and completes it.

    Every entry that is not declared frozen must be in the file and fit, and nothing else may be
    in it; MMEngine itself only warns. Where the frozen base is not in the file, the model's
    pretrained weights are loaded (MMEngine does not for a test), their identity is compared with
    the file's, and the checkpoint is completed with them: the EMA copy is made before pretrained
    weights are loaded and would otherwise keep random ones.

    Files of released code (:mod:`mtpeft.converters`) are converted.

    Args:
        partial: Train on from a checkpoint of another model: what fits is kept, what starts anew is
            listed in the log. It is what ``load_from=dict(checkpoint=..., partial=True)`` sets.
            Without it, other tasks and other classes of a head are all that may differ, in
            training, and are listed too.
        base_mismatch: What another base than the checkpoint's is: an ``'error'``, or a line of
            log with ``'warn'``.

    Attributes:
        part_of_base: Keys that are frozen here and that the last file has, though not the whole
            base: they were unfrozen in the run that wrote it.

    Raises:
        ValueError: an option has a value outside its choices.
        CheckpointError: the checkpoint does not fit the model or its base.

    Example:
        >>> CheckpointGuardHook(base_mismatch='warn').priority
        'VERY_HIGH'
    """

    priority = 'VERY_HIGH'

    def __init__(
        self, base_mismatch: Literal['error', 'warn'] = 'error', partial: bool = False
    ) -> None:
        if base_mismatch not in _CHOICES:
            raise ValueError(f'Expected base_mismatch in {_CHOICES}, got {base_mismatch!r}.')
        self.base_mismatch = base_mismatch
        self.partial = partial
        self.part_of_base: frozenset[str] = frozenset()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = unwrap(runner.model)
        what = name_of(checkpoint)
        ours = None if runner._resume else converted(checkpoint)
        if ours is not None:
            checkpoint.clear()
            checkpoint.update(ours)
        if 'merged' in (checkpoint.get('meta') or {}):
            raise CheckpointError(
                f'{what} is a merged model, for inference only (init_model, MultiTaskInferencer). '
                'A run needs the checkpoint of the training that it was made of.'
            )
        if runner._resume:
            check_resumable(checkpoint)
        state = checkpoint.get('state_dict', checkpoint)
        state = {re.sub(r'^module\.', '', key): value for key, value in state.items()}
        frozen = frozen_state_keys(model)
        absent, lacks = frozen - set(state), lacks_base(model, state)
        self.part_of_base = frozenset(frozen & set(state)) if lacks else frozenset()
        if lacks:
            if getattr(model, 'is_init', True) is False:
                model.init_weights()
            self._check_base(runner, checkpoint)
        if not runner._resume and isinstance(runner._train_loop, BaseLoop):
            if self._start_from(runner, model, state, checkpoint):
                return
        else:
            if not runner._resume:
                state = self._of_its_tasks(model, state, checkpoint)
            load_checked(model, state, what)
        if absent and 'state_dict' in checkpoint:
            own = model.state_dict()
            for key in absent:
                checkpoint['state_dict'][key] = own[key]
                if 'ema_state_dict' in checkpoint:
                    checkpoint['ema_state_dict'][f'module.{key}'] = own[key]

    @staticmethod
    def _of_its_tasks(
        model: nn.Module, state: dict[str, Tensor], checkpoint: dict
    ) -> dict[str, Tensor]:
        """``state`` for a test of some of its tasks; the checkpoint without the others."""
        kept = of_some_tasks(state, getattr(model, 'tasks', ()), tasks_of(checkpoint))
        if len(kept) < len(state):
            try:
                check_untied(model, name_of(checkpoint))
            except ValueError as error:
                raise CheckpointError(str(error)) from error
            checkpoint['state_dict'] = dict(kept)
        return kept

    def _start_from(
        self, runner: Runner, model: nn.Module, state: dict[str, Tensor], checkpoint: dict
    ) -> bool:
        """Load ``state`` to train on from it; whether some of the model starts anew."""
        what = name_of(checkpoint)
        check_numbers(model, state, what)
        try:
            load_checked(model, state, what)
            return False
        except CheckpointError as error:
            try:
                state = from_segmentor(state, model.state_dict())
                found = load_partly(model, state)
            except RuntimeError:
                raise error from None
            across = of_tasks(found, getattr(model, 'tasks', ()), tasks_of(checkpoint))
            if not self.partial and not across:
                raise CheckpointError(
                    f'{error}\nTo keep what fits and start the rest anew: '
                    f"load_from=dict(checkpoint='{getattr(checkpoint, 'source', 'FILE')}', "
                    'partial=True), or --partial of `mtpeft train`.'
                ) from None
        if len(found.gone) + len(found.other) == len(state):
            raise CheckpointError(
                f'{what}: no entry of it fits the model, so nothing would be kept. Use the '
                'checkpoint of a model of the same kind.'
            )
        runner.logger.warning(f'{what} was loaded in part.\n{describe(found)}')
        # MMEngine and an EMAHook load the whole of it once more
        checkpoint['state_dict'] = dict(model.state_dict())
        return True

    def _check_base(self, runner: Runner, checkpoint: dict) -> None:
        saved = checkpoint.get('meta', {}).get('base', {})
        if not saved:
            runner.logger.warning(
                f'{name_of(checkpoint)} does not hold the frozen base, nor say which one it was '
                "trained on. The model's own pretrained weights are used."
            )
        try:
            check_base(unwrap(runner.model), saved, name_of(checkpoint))
        except CheckpointError as error:
            if self.base_mismatch == 'error':
                raise
            runner.logger.warning(str(error))
