"""The first and the last words of a run."""

import os
from collections.abc import Mapping

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mtpeft.hooks.labels_seen import LabelsSeen
from mtpeft.hooks.waiting import WaitingForData
from mtpeft.registry import HOOKS
from mtpeft.utils.details import DETAIL
from mtpeft.utils.dist import unwrap
from mtpeft.utils.tables import table


@HOOKS.register_module()
class SummaryHook(Hook):
    """Logs what is trained at the start, and the metrics and where the files are at the end.

    A task of which no picture has a label is warned of at the start, as is one of which the first
    epoch (in a loop of iterations: the first pass over the data) has shown none: labels may be
    there and say nothing. Once it is said where loading takes more than a fifth of the time
    (:class:`~mtpeft.hooks.waiting.WaitingForData`). Evaluators are told
    (:attr:`~mtpeft.evaluation.MultiTaskEvaluator.untrained`), and checkpoints keep the names.

    Example:
        >>> SummaryHook().priority
        'LOWEST'
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._table = ''
        self._shown = False
        self._labels = LabelsSeen()
        self._batches = 0
        self._waiting = WaitingForData()

    def before_train(self, runner: Runner) -> None:
        counts = parameter_table(unwrap(runner.model))
        runner.logger.info('Trainable parameters:\n' + counts, extra=DETAIL)
        self._labels.start(runner)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:  # fmt: skip
        self._batches += 1
        self._labels.look(data_batch)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:  # fmt: skip
        self._waiting.look(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        loop = runner._train_loop
        # a resumed loop of iterations has seen a part
        if not isinstance(loop, IterBasedTrainLoop) or self._batches >= len(loop.dataloader):
            self._labels.after_epoch(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        if isinstance(runner._train_loop, IterBasedTrainLoop):
            self.after_train_epoch(runner)  # all of it is one epoch
        self._labels.tell(runner.val_loop.evaluator)

    def before_test_epoch(self, runner: Runner) -> None:
        self._labels.tell(runner.test_loop.evaluator)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._labels.save(checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._labels.load(checkpoint)

    def after_val_epoch(self, runner: Runner, metrics: Mapping | None = None) -> None:
        self._keep(metrics, runner.val_loop.evaluator)

    def after_test_epoch(self, runner: Runner, metrics: Mapping | None = None) -> None:
        self._keep(metrics, runner.test_loop.evaluator)

    def _keep(self, metrics: Mapping | None, evaluator: Evaluator) -> None:
        from mtpeft.evaluation import MultiTaskEvaluator

        self._table = result_table(metrics, evaluator)
        # which has just logged it
        self._shown = isinstance(evaluator, MultiTaskEvaluator)

    def after_run(self, runner: Runner) -> None:
        if self._table:
            extra = DETAIL if self._shown else None
            runner.logger.info('Final metrics:\n' + self._table, extra=extra)
        for name in ('best_ckpt', 'last_ckpt'):
            if name in runner.message_hub.runtime_info:
                path = os.path.join(runner.work_dir, runner.message_hub.get_info(name))
                runner.logger.info(f'{name.split("_")[0].capitalize()} checkpoint: {path}')
        for hook in runner.hooks:
            if getattr(hook, 'last_grid', None):
                has_input = getattr(hook, 'draw_input', True)
                drawn = 'Input, ground truth' if has_input else 'Ground truth'
                runner.logger.info(f'{drawn} and prediction: {hook.last_grid}')


def parameter_table(model: nn.Module) -> str:
    """Parameters by component, with totals."""
    from mtpeft.models import parameter_components

    components = parameter_components(model)
    rows = [[name, count] for name, count in components.items()]
    total = sum(p.numel() for p in model.parameters())
    rows += [['trainable', sum(components.values())], ['total', total]]
    return table(['component', 'parameters'], rows)


def result_table(metrics: Mapping | None, evaluator: Evaluator) -> str:
    """The evaluator's own table where it is of several tasks, else names and values."""
    from mtpeft.evaluation import MultiTaskEvaluator

    if isinstance(evaluator, MultiTaskEvaluator):
        return evaluator.table(metrics)
    return table(['metric', 'value'], list((metrics or {}).items())) if metrics else ''
