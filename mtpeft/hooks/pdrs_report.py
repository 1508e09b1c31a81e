"""What rank shrinking says of itself: records, a line of log, scalars."""

from collections.abc import Mapping

from mmengine.runner import Runner
from torch import nn

from mtpeft.adapters.ranks import BASE, COMMON, SHARED, pruned_parameters, rank_pattern
from mtpeft.utils.model_state import unwrap
from mtpeft.utils.rank_patterns import idle_streams, mean_rank, streams_of, without_idle


def effective_parameters(model: nn.Module) -> int:
    """Trainable parameters without those of pruned components."""
    return _trainable(model) - pruned_parameters(model)


def _trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def record(runner: Runner) -> dict:
    """Where the run is and what its ranks are: one entry of the history."""
    model = unwrap(runner.model)
    return dict(
        epoch=runner.epoch, iter=runner.iter, ranks=rank_pattern(model),
        effective=effective_parameters(model),
    )  # fmt: skip


def report(runner: Runner, before: Mapping, after: Mapping, step: int, skipped: int) -> None:
    """Log a shrinking and write its scalars.

    Args:
        runner: The runner.
        before: The last entry of the history.
        after: The new one.
        step: Epoch or iteration of the scalars.
        skipped: Steps that were not scored.
    """
    # adapters without effect keep the rank they were made with, which says nothing
    idle = idle_streams(unwrap(runner.model))
    ranks = without_idle(after['ranks'], idle)
    tasks = [stream for stream in streams_of(ranks) if stream not in COMMON]
    means = dict(
        mean=mean_rank(ranks),
        mean_shared=mean_rank(ranks, SHARED),
        mean_base=mean_rank(ranks, BASE),
        mean_task=mean_rank(ranks, *tasks) if tasks else None,
    )
    means = {name: value for name, value in means.items() if value is not None}
    shown = ', '.join(f'{n.removeprefix("mean_")} {v:.2f}' for n, v in means.items() if n != 'mean')
    old = mean_rank(without_idle(before['ranks'], idle)) or 0
    runner.logger.info(
        f'Ranks shrunk: mean {old:.2f} -> {means.get("mean", 0):.2f} ({shown}); '
        f'effective trainable parameters {after["effective"]:,} of '
        f'{_trainable(unwrap(runner.model)):,}; steps not scored, their gradients not being '
        f'finite: {skipped}'
    )
    scalars = {f'rank/{name}': value for name, value in means.items()}
    scalars['rank/effective_parameters'] = after['effective']
    for layer, streams in ranks.items():
        scalars |= {f'rank/{layer}/{stream}': rank for stream, rank in streams.items()}
    runner.visualizer.add_scalars(scalars, step=step)
