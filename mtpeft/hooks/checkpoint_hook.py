"""Checkpoints of what was trained, written so that a crash loses nothing."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, Runner

from mtpeft.adapters.ranks.low_rank import rank_pattern
from mtpeft.adapters.ranks.patterns import idle_streams
from mtpeft.checkpoints.model_state import base_identities, drop_frozen, make_compact
from mtpeft.checkpoints.plain_config import noted_config
from mtpeft.checkpoints.work_dir import (
    LAST,
    OBSOLETE,
    checkpoint_folder,
    forget_others,
    is_inside,
    last_checkpoint,
    noted,
)  # fmt: skip
from mtpeft.hooks.checkpoint_guard_hook import CheckpointGuardHook
from mtpeft.hooks.integrity_hook import ensure_integrity
from mtpeft.registry import HOOKS
from mtpeft.utils.atomic import ATOMIC, remove_leftovers
from mtpeft.utils.dist import unwrap
from mtpeft.utils.lock import hold_together, release
from mtpeft.utils.signals import finished_first
from mtpeft.utils.suggest import hint


@HOOKS.register_module()
class AdapterCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` for a frozen base: saves only what training changes.

    A checkpoint holds the state dict (and its EMA copy) without the keys that modules declare
    frozen (``frozen_state_keys()``), and says in ``meta['base']`` which base it belongs to: per
    module with ``base_identity()``, the type, where its weights came from, and their sha256. A
    base with random weights exists nowhere else, so then everything is saved.

    Of low-rank adapters it holds the active components, with nothing of the pruned ones, and
    ``meta['rank_pattern']`` says how many there are: ``{layer: {'shared' or task: rank}}``. (The
    optimizer's moments keep their shapes, since a resumed run needs them.) ``meta`` also has the
    names of the ``tasks``, the config as JSON (``model_config``), and ``idle_streams``:
    ``{layer: [those whose adapter has no effect]}``.

    A file is written whole under a temporary name, then renamed; an older checkpoint is removed
    only after the new one is complete. What happens while saving (a full disk, a kill) leaves the
    previous checkpoint and ``last_checkpoint`` as they were.

    A run holds its work dir while it trains, and removes no file of another folder. The message hub
    and ``last_checkpoint`` name files relative to the work dir; a run that is resumed from the
    checkpoint of another folder keeps the score to beat, and leaves the files there alone.

    Args:
        full: Save the frozen base as well.
        backend_args: Storage, see MMEngine. Default: local files, written as above.
        **kwargs: Options of MMEngine's ``CheckpointHook``: ``interval``, ``save_best``,
            ``max_keep_ckpts``, ...

    Raises:
        OSError: a checkpoint could not be written; the message says what is left to go on from.
        KeyError: ``save_best`` names a metric that the evaluation does not give.
        WorkDirBusyError: another run works in the work dir.

    Example:
        >>> hook = AdapterCheckpointHook(interval=1, save_best='mtl/delta_m', max_keep_ckpts=2)
        >>> hook.rules, hook.full
        (['greater'], False)
    """

    _default_greater_keys = [*CheckpointHook._default_greater_keys, 'delta', 'odsF', 'maxF']
    _default_less_keys = [*CheckpointHook._default_less_keys, 'rmse', 'angle', 'abs_rel', 'log10']

    def __init__(
        self, *args: Any, full: bool = False, backend_args: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, backend_args=backend_args or dict(backend=ATOMIC), **kwargs)
        self.full = full
        self._identities: dict[str, dict] | None = None
        self._config: dict[str, Any] | None = None
        # of the base, what a run before unfroze and trained
        self._trained_before: frozenset[str] = frozenset()

    def before_run(self, runner: Runner) -> None:
        if not isinstance(runner._train_loop, BaseLoop):
            return  # a test, which writes no checkpoint
        ensure_integrity(runner)
        hold_together(runner.work_dir)
        folder = checkpoint_folder(runner.work_dir, self.out_dir)
        if is_main_process() and self.backend_args == dict(backend=ATOMIC):
            remove_leftovers(runner.work_dir, LAST, 'result.json')
            remove_leftovers(folder, '*.pth')
        if runner._resume and runner._load_from is None:
            # MMEngine takes what last_checkpoint says for a path from the current folder
            runner._load_from = last_checkpoint(runner.work_dir, folder)

    def before_train(self, runner: Runner) -> None:
        folder = checkpoint_folder(runner.work_dir, self.out_dir)
        known = runner.message_hub.runtime_info
        source = runner._load_from if runner._resume else None
        for name in forget_others(known, runner.work_dir, folder, source):
            runner.logger.info(f'The best so far is {name} beside {source}; it stays there.')
        super().before_train(runner)
        if self._identities is None:
            # of all that is frozen at first; hashing a large base takes a while, so once
            self._identities = base_identities(unwrap(runner.model))
        if source is not None and is_inside(source, self.out_dir):
            # it is saved again where its evaluation, done now, makes it the best
            own = self._of_step(runner.epoch if self.by_epoch else runner.iter)
            self.last_ckpt = own if own.endswith(os.path.basename(source)) else None
        for step in known.pop(OBSOLETE, ()):
            self._remove(self._of_step(step))  # killed before it was
        if self.save_best and len(self.key_indicators) == 1:
            self.best_ckpt_path = self._placed(self.best_ckpt_path)
        elif self.save_best:
            for key, path in self.best_ckpt_path_dict.items():
                self.best_ckpt_path_dict[key] = self._placed(path)

    def after_run(self, runner: Runner) -> None:
        release(runner.work_dir)

    def _placed(self, noted: str | None) -> str | None:
        """The path of a checkpoint that is called so; an absolute one is its own."""
        return None if noted is None else self.file_backend.join_path(self.out_dir, noted)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the checkpoint, unless a :class:`CheckpointGuardHook` of the run has done so.

        A base of which a part was trained is still known by what it was before.
        """
        guard = next((h for h in runner.hooks if isinstance(h, CheckpointGuardHook)), None)
        if guard is None:
            guard = CheckpointGuardHook()
            guard.after_load_checkpoint(runner, checkpoint)
        self._trained_before = guard.part_of_base
        if guard.part_of_base:
            self._identities = (checkpoint.get('meta') or {}).get('base')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = unwrap(runner.model)
        if self._identities is None:
            self._identities = base_identities(model)
        checkpoint['meta']['base'] = self._identities
        random = any(base.get('weights') == 'random' for base in self._identities.values())
        if not self.full and not random:
            drop_frozen(checkpoint, model, self._trained_before)
        tasks, pattern = getattr(model, 'tasks', None), rank_pattern(model)
        if tasks:
            checkpoint['meta']['tasks'] = list(tasks)
        if self._config is None:
            # (tasks of ours know their classes)
            classes = None if tasks else checkpoint['meta'].get('dataset_meta')
            self._config = noted_config(runner.cfg, classes)
        checkpoint['meta'].update(self._config)
        if pattern:
            checkpoint['meta'].update(rank_pattern=pattern, idle_streams=idle_streams(model))
        for name in ('state_dict', 'ema_state_dict'):
            make_compact(checkpoint.get(name, {}))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        obsolete = self._keep(runner, step)
        before, name = self.last_ckpt, self.filename_tmpl.format(step)
        path = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', noted(path, runner.work_dir))
        last = os.path.join(runner.work_dir, LAST)
        if is_main_process() and not os.path.exists(last):
            # killed between the first file and its name, the run starts again
            self.file_backend.put_text('', last)
        runner.call_hook('before_gathered_save')
        with self._explained(path, before), finished_first():
            runner.save_checkpoint(
                self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler, meta=meta,
                by_epoch=self.by_epoch, backend_args=self.backend_args, **self.args,
            )  # fmt: skip
            if is_main_process():
                self.file_backend.put_text(noted(path, runner.work_dir), last)
        self.last_ckpt = path
        for old in obsolete:
            self._remove(self._of_step(old))

    def _keep(self, runner: Runner, step: int) -> list[int]:
        """Note ``step`` as kept; the steps whose files are then to be removed."""
        obsolete: list[int] = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                obsolete.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
            runner.message_hub.update_info(OBSOLETE, obsolete)
        return obsolete

    def _of_step(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _save_best_checkpoint(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        time = runner.epoch if self.by_epoch else runner.iter
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        better = [self._save_if_better(runner, metrics, key, time, dict(meta))
                  for key in self.key_indicators]  # fmt: skip
        # the last checkpoint, saved before the evaluation, does not know of the new best one
        if any(better) and self.last_ckpt is not None:
            self._save_checkpoint_with_step(runner, time, meta)

    def _save_if_better(
        self, runner: Runner, metrics: Mapping[str, float], key: str, time: int, meta: dict
    ) -> bool:
        if key not in metrics:
            if not key.startswith('mtl/'):
                raise KeyError(
                    f"save_best='{key}' is no result of the evaluation. " + hint(key, metrics)
                )
            runner.logger.warning(
                f"No best checkpoint is kept: the evaluation gave no '{key}'. It needs baselines "
                'in val_evaluator, and a finite result of every task.'
            )
            return False
        single = len(self.key_indicators) == 1
        of_key = '' if single else f'_{key}'
        score_info, path_info = f'best_score{of_key}', f'best_ckpt{of_key}'
        score, known = metrics[key], runner.message_hub.runtime_info
        if score is None or score != score:
            return False
        if score_info in known and not self.is_better_than[key](score, known[score_info]):
            return False
        before = self.best_ckpt_path if single else self.best_ckpt_path_dict[key]
        name = f'best_{key}_{self.filename_tmpl.format(time)}'.replace('/', '_')
        path = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info(score_info, score)
        runner.message_hub.update_info(path_info, noted(path, runner.work_dir))
        with self._explained(path, self.last_ckpt):
            runner.save_checkpoint(
                self.out_dir, filename=name, file_client_args=self.file_client_args,
                save_optimizer=False, save_param_scheduler=False, meta=meta, by_epoch=False,
                backend_args=self.backend_args,
            )  # fmt: skip
        if single:
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict[key] = path
        if before and before != path:
            self._remove(before)
        runner.logger.info(f'{key} {score:.4f} is the best so far: {name}')
        return True

    @contextmanager
    def _explained(self, path: str, last: str | None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            left = f'The checkpoint before it is whole: {last}. ' if last else ''
            raise OSError(
                error.errno,
                f'Could not write checkpoint {path}: {error.strerror or error}. {left}Make room '
                'or choose another --work-dir, and go on with --resume.',
            ) from error

    def _remove(self, path: str) -> None:
        own = '://' in self.out_dir or is_inside(path, self.out_dir)
        if own and is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
