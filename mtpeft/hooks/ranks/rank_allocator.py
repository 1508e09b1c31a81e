"""What all allocators of rank have in common: what they see, decide, write and resume."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from mmengine.dist import broadcast, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mtpeft.adapters.ranks.low_rank import (
    LowRankAdapter,
    RankGroup,
    low_rank_adapters,
    rank_pattern,
)
from mtpeft.hooks.checkpoint_hook import make_compact
from mtpeft.hooks.ranks.rank_records import record, report
from mtpeft.hooks.ranks.rank_state import Tracked, averaged_copies, refresh_averages, sorted_alike
from mtpeft.registry import ADAPTERS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.torch_private import overflows


class RankAllocatorHook(Hook):
    """Base of the hooks that decide which components low-rank adapters use and keep.

    It finds the :class:`~mtpeft.adapters.ranks.low_rank.RankGroup` of every adapter, calls
    :meth:`observe` once an optimizer step when the gradients are ready (reduced over processes,
    without loss scale, of all accumulated batches, not clipped yet), lets the first process decide
    for all, prunes in the model, its optimizer and its averaged copies alike, and writes and
    resumes the state. A method is a subclass that overrides what it needs of :meth:`track`,
    :meth:`start`, :meth:`observe`, :meth:`state` and :meth:`restore`; see
    docs/methods/rank_allocators.md.

    A checkpoint holds the ranks in ``meta['rank_pattern']``, and below :attr:`state_key` the
    ``history``, a list of ``dict(epoch, iter, ranks, effective)``, the number of ``skipped`` steps
    and what :meth:`state` gives.

    Attributes:
        tracked: One entry for each group of components.
        history: The ranks at the start and after every change.
        skipped: Steps whose gradients were not finite.
    """

    # after an EMA hook, whose copy goes into the checkpoint, and before what saves it
    priority = 'BELOW_NORMAL'

    #: entry of a checkpoint that holds the state
    state_key = ''
    #: whether changes happen between epochs, or between iterations
    by_epoch = True

    def __init__(self) -> None:
        self.tracked: list[Tracked] = []
        self.history: list[dict] = []
        self.skipped = torch.zeros((), dtype=torch.long)
        self._pending: dict | None = None
        self._seed = 0
        self._wrapper: OptimWrapper | None = None

    # -- what a method says ----------------------------------------------------------------------

    def track(self, layer: str, group: RankGroup) -> Tracked:
        """The entry of :attr:`tracked` for the components ``group`` of ``layer``."""
        return Tracked(layer, group)

    def check_model(self, runner: Runner) -> None:
        """Check that the hook's options fit the model and the run."""

    def start(self, runner: Runner) -> None:
        """Called before training, and before the state of a resumed run is put back."""

    def observe(self) -> None:
        """Called when the gradients of an optimizer step are ready."""

    def state(self) -> dict:
        """What a checkpoint has to hold for :meth:`restore`: tensors, numbers, containers."""
        return {}

    def restore(self, state: Mapping) -> None:
        """Put back what :meth:`state` gave."""

    def groups(self) -> Iterator[tuple[str, RankGroup]]:
        """The components of :attr:`tracked`, each with the name of its layer."""
        return ((tracked.layer, tracked.group) for tracked in self.tracked)

    # -- start and resume ------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        self.tracked = [
            self.track(layer, group)
            for layer, adapter in low_rank_adapters(model).items()
            for group in adapter.groups.values()
        ]
        if not self.tracked:
            raise ValueError(
                f'{type(self).__name__} decides on the rank of low-rank adapters, and the model '
                f'has none. Adapters with a rank: {", ".join(_low_rank())}.'
            )
        self.check_model(runner)
        self.skipped = torch.zeros((), dtype=torch.long, device=self._device)
        seed = torch.tensor([runner.seed or 0], dtype=torch.long, device=self._device)
        broadcast(seed)
        self._seed = int(seed)
        self.history = [record(runner)]
        self.start(runner)
        if self._pending is not None:
            self.restore(self._pending)
            self.skipped.fill_(self._pending['skipped'])
            self.history = list(self._pending['history'])
            self._pending = None
        refresh_averages(runner)
        self._watch(runner.optim_wrapper)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.tracked[0].group.parameters.values())).device

    def _watch(self, wrapper: OptimWrapper) -> None:
        """Observe the gradients of every step: reduced, without loss scale, not clipped."""
        if not isinstance(wrapper, OptimWrapper):
            raise ValueError(
                f'{type(self).__name__} reads the gradients of one optimizer, got '
                f'{type(wrapper).__name__}. Use one optim_wrapper for the whole model.'
            )
        self._wrapper = wrapper
        if wrapper.clip_grad_kwargs:
            wrapper.clip_func = _after(self.observe, wrapper.clip_func)
        elif hasattr(wrapper, 'loss_scaler'):
            # it leaves out the optimizer's step, and with it the hook, where gradients overflow
            wrapper.step = _after(lambda: self._observe_unscaled(wrapper), wrapper.step)
        else:
            wrapper.optimizer.register_step_pre_hook(lambda *_: self.observe())

    def _observe_unscaled(self, wrapper: OptimWrapper) -> None:
        wrapper.loss_scaler.unscale_(wrapper.optimizer)
        self.observe()

    @property
    def overflow(self) -> Tensor:
        """Will a loss scaler leave out this step, since some parameter's gradient is not finite?"""
        found = torch.zeros((), dtype=torch.bool, device=self._device)
        scaler = getattr(self._wrapper, 'loss_scaler', None)
        if scaler is not None:
            for number in overflows(scaler, self._wrapper.optimizer):
                found |= (number > 0).to(found.device).any()
        return found

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        self._pending = checkpoint.get(self.state_key)
        if self._pending is None:
            runner.logger.warning(
                f'The checkpoint has no state of {type(self).__name__}: it starts anew.'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['rank_pattern'] = rank_pattern(unwrap(runner.model))
        for name in ('state_dict', 'ema_state_dict'):
            make_compact(checkpoint.get(name, {}))
        common = dict(skipped=int(self.skipped), history=self.history)
        checkpoint[self.state_key] = {**self.state(), **common}

    def misfit(self, layer: str, expected: Any, got: Any) -> ValueError:
        """The error of a state that is of another model."""
        return ValueError(
            f"The checkpoint's state of {type(self).__name__} does not fit layer '{layer}': "
            f'expected {expected}, got {got}. Resume with the config of the run, or start a new '
            'one with load_from.'
        )

    # -- decisions -------------------------------------------------------------------------------

    def prune(
        self, runner: Runner, decide: Callable[[], Iterable[Iterable[Tensor]]]
    ) -> None:  # fmt: skip
        """Keep what the first process decides, prune the rest for ever, and report it.

        Args:
            runner: The runner.
            decide: Gives for each group, for each stream, the components to keep ``(k,)``, the
                best first. It is called in the first process.
        """
        decisions = self.from_first_process(lambda: [[o.cpu() for o in os] for os in decide()])
        tensors, copies = sorted_alike(runner), averaged_copies(runner)
        for tracked, orders in zip(self.tracked, decisions, strict=True):
            for index, order in enumerate(orders):
                tracked.keep(index, order.to(self._device), tensors, copies)
            tracked.group.prefix = None
        refresh_averages(runner)
        self.report(runner)

    @staticmethod
    def from_first_process(function: Callable[[], Any]) -> Any:
        """What ``function`` gives in the first process, in all of them."""
        # arithmetic may differ between machines, and decisions with it
        values = [function() if is_main_process() else None]
        broadcast_object_list(values)
        return values[0]

    def report(self, runner: Runner, ranks: Mapping | None = None) -> None:
        """Log a change of ranks and add it to the history.

        Args:
            runner: The runner.
            ranks: The ranks to record. Default: those of the model.
        """
        after, unit = record(runner, ranks), 'epoch' if self.by_epoch else 'iter'
        # the loop counts an epoch or iteration only after its hooks
        after[unit] += 1
        report(runner, self.history[-1], after, after[unit], int(self.skipped))
        self.history.append(after)


def _low_rank() -> list[str]:
    ADAPTERS.import_from_location()
    return sorted(n for n, c in ADAPTERS.module_dict.items() if issubclass(c, LowRankAdapter))


def _after(first: Callable[[], None], function: Callable) -> Callable:
    def both(*args: Any, **kwargs: Any) -> Any:
        first()
        return function(*args, **kwargs)

    return both
