"""What an allocator of ranks says of itself: records, a line of log, scalars."""

from collections.abc import Mapping

from mmengine.runner import Runner
from torch import nn

from mtpeft.adapters.ranks.low_rank import (
    BASE,
    COMMON,
    SHARED,
    low_rank_adapters,
    pruned_parameters,
    rank_pattern,
)
from mtpeft.adapters.ranks.patterns import idle_streams, mean_rank, streams_of, without_idle
from mtpeft.utils.dist import unwrap


def effective_parameters(model: nn.Module) -> int:
    """Trainable parameters without those of pruned components."""
    return _trainable(model) - pruned_parameters(model)


def _trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def record(runner: Runner, ranks: Mapping | None = None) -> dict:
    """Where the run is and what its ranks are: one entry of the history.

    Args:
        runner: The runner.
        ranks: Ranks in use, where components are masked without being pruned. Default: those of
            the model.
    """
    model = unwrap(runner.model)
    masked = 0 if ranks is None else _masked_parameters(model, ranks)
    return dict(
        epoch=runner.epoch, iter=runner.iter,
        ranks=rank_pattern(model) if ranks is None else ranks,
        effective=effective_parameters(model) - masked,
    )  # fmt: skip


def _masked_parameters(model: nn.Module, ranks: Mapping) -> int:
    """Numbers in active components that ``ranks`` does not count."""
    return sum(
        (active - ranks[layer][stream]) * group.parameters_per_component
        for layer, adapter in low_rank_adapters(model).items()
        for group in adapter.groups.values()
        for stream, active in zip(group.streams, group.active, strict=True)
    )


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
