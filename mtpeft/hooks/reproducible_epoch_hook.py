"""Random numbers that do not depend on what came before."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.visits import VisitFetcher

_PENDING = 'accumulated_gradients'


@HOOKS.register_module()
class ReproducibleEpochHook(Hook):
    """Makes a resumed run the same, bit for bit on a CPU, as one that was never stopped.

    Before every epoch and every iteration Python, NumPy and torch are seeded from (seed, rank,
    epoch or iteration), so neither the evaluation between epochs, nor the draw with which a
    DataLoader starts its workers (persistent workers draw in their first epoch only), nor the
    start of the process moves a dropout mask. The epoch is passed to the sampler, and to data sets
    with ``set_epoch``, through wrappers. (In runs of ``build_runner`` the sampler tells the pass
    over the data, in a loop of iterations too: ``CountedSampler`` of :mod:`mtpeft.datasets`.)
    Where an epoch ends within an accumulation of gradients, these are saved with the checkpoint,
    those of every process, and put back.

    MMEngine restarts an epoch that was interrupted from its beginning. Data sets without
    ``set_epoch`` draw their augmentation in worker processes that MMEngine seeds by number: with
    ``persistent_workers=True`` a resumed run then sees other crops.

    Example:
        >>> import numpy as np
        >>> seed_all(0, 3); first = np.random.rand()
        >>> seed_all(0, 3); bool(np.random.rand() == first)
        True
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._pending: dict[str, torch.Tensor] = {}
        self._gathered: list[dict[str, torch.Tensor]] | None = None

    def before_train(self, runner: Runner) -> None:
        parameters = dict(unwrap(runner.model).named_parameters())
        for name, gradient in self._pending.items():
            parameters[name].grad = gradient.to(parameters[name])
        self._pending = {}
        _check_passes_are_counted(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        seed_all(runner.seed, get_rank(), 0, runner.epoch)
        sampler = _sampler(runner.train_dataloader)
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(runner.epoch)
        for dataset in _datasets(runner.train_dataloader.dataset):
            if hasattr(dataset, 'set_epoch'):
                dataset.set_epoch(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        seed_all(runner.seed, get_rank(), 1, runner.iter)

    def before_gathered_save(self, runner: Runner) -> None:
        """Bring gradients that wait for the next update to the process that saves.

        Called in every process; ``before_save_checkpoint`` is called in one.
        """
        if get_world_size() > 1 and _is_accumulating(runner):
            self._gathered = all_gather_object(_gradients(runner))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep gradients that wait for the next update; an epoch may end between two."""
        gathered, self._gathered = self._gathered, None
        if 'optimizer' not in checkpoint or not _is_accumulating(runner):
            return
        if get_world_size() == 1:
            checkpoint[_PENDING] = _gradients(runner)
        elif gathered is not None:
            checkpoint[_PENDING] = gathered
        else:
            runner.logger.warning(
                'The epoch ends within an accumulation of gradients, which each process holds for '
                'itself: a resumed run will differ slightly. AdapterCheckpointHook saves them all.'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        pending = checkpoint.get(_PENDING, {}) if runner._resume else {}
        if isinstance(pending, dict):
            self._pending = pending
        elif len(pending) == get_world_size():
            self._pending = pending[get_rank()]
        else:
            runner.logger.warning(
                f'The checkpoint ends within an accumulation of gradients by {len(pending)} '
                f'processes, and these are {get_world_size()}: each goes on from their mean.'
            )
            self._pending = {
                name: torch.stack([each[name] for each in pending]).mean(0)
                for name in pending[0] if all(name in each for each in pending)
            }  # fmt: skip


def _sampler(loader: Any) -> Any:
    batches = getattr(loader, 'batch_sampler', None)
    return getattr(batches, 'sampler', None) or getattr(loader, 'sampler', None)


def _check_passes_are_counted(runner: Runner) -> None:
    """A loop of iterations names one epoch only; without visits pictures stay as they are."""
    loader = runner.train_dataloader
    visits = isinstance(getattr(loader.dataset, '__getitems__', None), VisitFetcher)
    ours = any(hasattr(dataset, 'set_epoch') for dataset in _datasets(loader.dataset))
    if ours and not visits and isinstance(runner.train_loop, IterBasedTrainLoop):
        runner.logger.warning(
            'Nothing counts the passes over the data, so every picture is augmented once and then '
            'comes in the same way each time. Build the runner with mtpeft.apis.build_runner, or '
            "wrap the sampler: sampler=dict(type='mtpeft.CountedSampler', sampler=dict(...))."
        )


def _is_accumulating(runner: Runner) -> bool:
    wrapper = runner.optim_wrapper
    return hasattr(wrapper, 'should_update') and not wrapper.should_update()


def _gradients(runner: Runner) -> dict[str, torch.Tensor]:
    return {
        name: parameter.grad.detach().cpu()
        for name, parameter in unwrap(runner.model).named_parameters()
        if parameter.grad is not None
    }


def seed_all(*key: int) -> None:
    """Seed Python, NumPy and torch (every device) from non-negative integers."""
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.manual_seed(int(words[2]) << 31 | int(words[3]) >> 1)


def _datasets(dataset: Any) -> Iterator[Any]:
    """A data set and those it wraps."""
    yield dataset
    inner = list(getattr(dataset, 'datasets', []))
    if getattr(dataset, 'dataset', None) is not None:
        inner.append(dataset.dataset)
    for child in inner:
        yield from _datasets(child)
