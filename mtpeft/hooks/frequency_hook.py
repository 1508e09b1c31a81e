"""Frequencies of tasks, followed over training (Free Sinewich, arXiv 2603.21111)."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mtpeft.adapters.frequencies import (
    Source,
    crossed_zero,
    no_frequencies,
    outside,
    sources_of,
    spread,
)  # fmt: skip
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import Count

_STATE = 'frequencies'
_RANKS_EVERY = 10

_ZERO = 'that crossed 0'
_BOUNDS = 'outside of the bounds of their clock'
_ADVICE = {
    _ZERO: (
        'Near 0 a lane adds next to nothing, and beyond it the sign of its weights is turned. '
        'Weight decay on s and c (theta, where frequencies are free) pulls frequencies to 0: set '
        "optim_wrapper.constructor='FlatNoDecayConstructor', which spares them. Otherwise use a "
        'larger shift in the clock, or a smaller learning rate.'
    ),
    _BOUNDS: (
        'Below them the sine is closer to linear: weights keep the rank of M, and those of two '
        'tasks differ in size alone. Above it turns over within small changes of M, which makes '
        'training rough. Where frequencies fall, see that s and c have no weight decay '
        "(optim_wrapper.constructor='FlatNoDecayConstructor'). Where training wants them there, "
        'start from there: scale and shift in the clock.'
    ),
}


@HOOKS.register_module()
class FrequencyHook(Hook):
    r"""Logs the frequency of each task, and how far the sine raises the rank of its weights.

    At the start, every ``interval`` and at the end of training it logs and writes as scalars

    * ``omega/<task>``, the frequency :math:`\omega_t`. Where there are several sets of them (a
      clock with ``per='layer'``, or several clocks), ``omega/<site>/<task>``, with the site of
      each, or the module whose clock several sites share;
    * ``omega/spread``, :math:`\max_t \omega_t - \min_t \omega_t`, the mean over sets. The log also
      has the standard deviation over tasks (of the T tasks, not T - 1);
    * ``omega/effective_rank/<site>/<task>``, less often: the effective rank
      :math:`\exp(-\sum_i p_i \log p_i)`, :math:`p_i = \sigma_i / \sum_j \sigma_j`, of
      :math:`\tilde M_t` as ``(out, in k k)``
      (:func:`~mtpeft.adapters.frequencies.effective_rank`), 0 where it is 0, as at the start.

    It warns of frequencies that crossed 0 or left their clock's bounds: once, and again only after
    they had recovered. Sites are all modules with ``frequencies()``, ``kernels()`` and
    ``matrix()``: :class:`~mtpeft.adapters.SineAWB` with lanes and
    :class:`~mtpeft.models.SharedBaseDecoder`. It reads the weights that are trained, not their
    average, with all active components; training is bit for bit the same with it and without.

    Checkpoints hold the ``history`` in ``frequencies``, a resumed run goes on with it, and
    tools/analysis_tools/omega_report.py draws it. The history is kept by the first process.

    Args:
        interval: Epochs from one record to the next.
        rank_interval: Epochs from one record of effective ranks to the next, beside those at the
            start and the end. Default: ten ``interval``; one takes 4 s on a core of a CPU for
            four tasks in proj, fc1 and fc2 of Swin-T.
        by_epoch: ``False`` counts both in iterations, as an iteration-based loop needs.

    Attributes:
        history: Of each record ``epoch``, ``iter``, ``omegas`` ``{site: {task: omega}}`` (one
            entry, of what holds the clock, where all sites share it) and ``effective_ranks``
            ``{site: {task: rank}}``, empty where they were not due.

    Raises:
        ValueError: an interval is out of its range, or the model has no frequencies.

    Example:
        >>> FrequencyHook(interval=2).rank_interval
        20
    """

    # after what prunes adapters, before what saves the history
    priority = 'LOW'

    def __init__(
        self, interval: Count = 1, rank_interval: Count | None = None, by_epoch: bool = True
    ) -> None:
        self.interval = interval
        self.rank_interval = _RANKS_EVERY * interval if rank_interval is None else rank_interval
        self.by_epoch = by_epoch
        for name in ('interval', 'rank_interval'):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f'Expected {name} to be an integer from 1 on, got {value!r}.')
        self.sources: dict[str, Source] = {}
        self.history: list[dict] = []
        self._resumed: list[dict] = []

    # -- start and resume ------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        self.sources = sources_of(unwrap(runner.model))
        if not self.sources:
            raise ValueError(
                no_frequencies(f'{type(self).__name__} follows frequencies, and the model')
            )
        self.history, self._resumed = self._resumed, []
        if not self.history:
            self._record(runner, runner.epoch, runner.iter, ranks=True)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        self._resumed = list(checkpoint.get(_STATE, {}).get('history', []))
        if not self._resumed:
            runner.logger.warning(
                f'The checkpoint has no state of {type(self).__name__}: the history of frequencies '
                'starts here.'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint[_STATE] = dict(history=self.history)

    # -- records ---------------------------------------------------------------------------------

    def after_train_epoch(self, runner: Runner) -> None:
        # the loop counts an epoch or iteration only after its hooks
        if self.by_epoch:
            last = self.is_last_train_epoch(runner)
            self._record_if_due(runner, runner.epoch + 1, runner.iter, last)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        if not self.by_epoch:
            last = self.is_last_train_iter(runner)
            self._record_if_due(runner, runner.epoch, runner.iter + 1, last)

    def after_train(self, runner: Runner) -> None:
        if self.history and self.history[-1]['iter'] != runner.iter:
            # stopped before the end
            self._record(runner, runner.epoch, runner.iter, ranks=True)

    def _record_if_due(self, runner: Runner, epoch: int, iteration: int, last: bool) -> None:
        time = epoch if self.by_epoch else iteration
        ranks = last or time % self.rank_interval == 0
        if ranks or time % self.interval == 0:
            self._record(runner, epoch, iteration, ranks)

    def _record(self, runner: Runner, epoch: int, iteration: int, ranks: bool) -> None:
        if not is_main_process():
            return
        sites = [site for source in self.sources.values() for site in source.sites if ranks]
        self.history.append(
            dict(
                epoch=epoch, iter=iteration,
                omegas={name: source.omegas() for name, source in self.sources.items()},
                effective_ranks={site.name: site.effective_ranks() for site in sites},
            )
        )  # fmt: skip
        report(runner, self.history[-1], epoch if self.by_epoch else iteration)
        self._warn(runner)

    # -- warnings --------------------------------------------------------------------------------

    def _warn(self, runner: Runner) -> None:
        """Once for each frequency: until it recovers, the record before has it too."""
        alarms = self._alarms(self.history[-1])
        known = self._alarms(self.history[-2]) if len(self.history) > 1 else {}
        for kind, who in alarms.items():
            new = [key for key in who if key not in known.get(kind, ())]
            if new:
                shown = '; '.join(self._describe(*key) for key in new)
                runner.logger.warning(f'Frequencies {kind}: {shown}. {_ADVICE[kind]}')

    def _alarms(self, record: Mapping) -> dict[str, list[tuple[str, str]]]:
        """Kind of warning -> (source, task) of the frequencies that it holds for."""
        alarms: dict[str, list] = {_ZERO: [], _BOUNDS: []}
        for name, omegas in record['omegas'].items():
            for task, omega in omegas.items():
                if crossed_zero(omega, self.history[0]['omegas'][name][task]):
                    alarms[_ZERO].append((name, task))
                if outside(omega, self.sources[name].bounds):
                    alarms[_BOUNDS].append((name, task))
        return alarms

    def _describe(self, source: str, task: str) -> str:
        first, now = (self.history[i]['omegas'][source][task] for i in (0, -1))
        where = f' in {source}' if len(self.sources) > 1 else ''
        low, high = self.sources[source].bounds
        return f'{task}{where} {now:.2f}, at first {first:.2f}, bounds {low:g} to {high:g}'


def report(runner: Runner, record: Mapping, step: int) -> None:
    """Log a record of the history and write its scalars, at epoch or iteration ``step``."""
    omegas, ranks = record['omegas'], record['effective_ranks']
    runner.logger.info(in_words(omegas))
    if ranks:
        runner.logger.info(ranks_in_words(ranks))
    several = len(omegas) > 1
    scalars = {
        f'omega/{name}/{task}' if several else f'omega/{task}': omega
        for name, tasks in omegas.items() for task, omega in tasks.items()
    }  # fmt: skip
    scalars['omega/spread'] = fmean(spread(tasks)[0] for tasks in omegas.values())
    for site, tasks in ranks.items():
        scalars |= {f'omega/effective_rank/{site}/{task}': rank for task, rank in tasks.items()}
    runner.visualizer.add_scalars(scalars, step=step)


def in_words(omegas: Mapping[str, Mapping[str, float]]) -> str:
    """Frequencies and their spread, on a line each where there are several sets.

    Example:
        >>> in_words({'backbone': dict(semseg=20.0, depth=50.0)})
        'Frequencies: semseg 20.00, depth 50.00; spread 30.00, standard deviation 15.00'
    """
    lines = []
    for name, tasks in omegas.items():
        shown = ', '.join(f'{task} {omega:.2f}' for task, omega in tasks.items())
        line = '{}; spread {:.2f}, standard deviation {:.2f}'.format(shown, *spread(tasks))
        lines.append(f'\n  {name}: {line}' if len(omegas) > 1 else f' {line}')
    return 'Frequencies:' + ''.join(lines)


def ranks_in_words(ranks: Mapping[str, Mapping[str, float]]) -> str:
    """Mean over layers of each task's effective rank.

    Example:
        >>> ranks_in_words({'fc1': dict(semseg=4.0, depth=5.0), 'fc2': dict(semseg=6.0)})
        'Effective rank of lanes, mean over layers: semseg 5.00, depth 5.00'
    """
    names = {task: None for tasks in ranks.values() for task in tasks}
    means = {name: fmean(t[name] for t in ranks.values() if name in t) for name in names}
    shown = ', '.join(f'{name} {mean:.2f}' for name, mean in means.items())
    return f'Effective rank of lanes, mean over layers: {shown}'
