"""What a model costs as tasks, rank or the picture grow, beside what its operations would cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from mtpeft.benchmark.batch import channels_of, random_batch
from mtpeft.benchmark.measure import runner_inference, runner_step
from mtpeft.benchmark.operations import multiply_adds
from mtpeft.benchmark.rounds import Call, spread, time_in_turns
from mtpeft.benchmark.variants import has_rank, merge, with_copies, with_rank, with_size
from mtpeft.models.backbones.families.base import channels_in
from mtpeft.registry import MODELS
from mtpeft.utils.compiling import compile_parts
from mtpeft.utils.tables import table

#: Kinds of sweeps and their values.
SWEEPS = {
    'tasks': (1, 2, 3, 4, 5, 6, 7, 8),
    'rank': (64, 32, 16, 8, 4),
    'size': (224, 448, 672, 896, 1024),
}

#: seconds of each round, and multiply-adds
Measured = tuple[Sequence[float], int]


def sweep(
    cfg: Config,
    kind: str,
    values: Sequence[int] | None = None,
    batch_size: int = 1,
    size: tuple[int, int] = (448, 448),
    device: torch.device | str = 'cpu',
    rounds: int = 5,
    warmup: int = 1,
    merged: bool = False,
    clock: str = 'wall',
    backend: str | None = None,
) -> dict[str, Any]:
    """Time a config's training step and inference at each value, all in turns.

    ``tasks``: so many copies of the task ``normals`` (three channels); ``rank``: of every adapter
    that has one; ``size``: sides of the picture. The plain frozen backbone runs in the same rounds
    (at each size). Its multiply-adds a second are what the machine is held to have: the **floor**
    of anything is its own multiply-adds at that rate, and the **distance** its time over the floor.
    For ``tasks`` the same is said of each *further* task: what it adds to time and multiply-adds.

    Args:
        cfg: The config.
        kind: One of :data:`SWEEPS`.
        values: The values, in the order of the rows. Default: those of :data:`SWEEPS`.
        batch_size: Pictures.
        size: (H, W), for ``kind='tasks'`` and ``'rank'``.
        device: Where.
        rounds: Rounds that count.
        warmup: Rounds before them.
        merged: Time inference with merged adapters too.
        clock: ``'wall'`` or ``'cpu'``, see :func:`~mtpeft.benchmark.time_in_turns`.
        backend: Of torch.compile, under which every model runs; the frozen backbone, which the
            floor is made of, runs as it is.

    Returns:
        ``sweep``, ``values``, ``frozen_backbone`` and ``rows``: for each value ``train``,
        ``inference`` and, with ``merged``, ``merged``, each with ``seconds`` (median and
        quartiles), ``multiply_adds``, ``floor_seconds``, ``distance`` and maybe ``further``.

    Raises:
        ValueError: ``kind='rank'`` and no adapter has one; ``merged`` and the model cannot.
    """
    values = tuple(dict.fromkeys(values or SWEEPS[kind]))
    if kind == 'rank' and not has_rank(cfg):
        raise ValueError(
            "A sweep over ranks needs a config whose adapters have the option 'rank'; the plugins "
            'of this one have none.'
        )
    sides = {value: (value, value) if kind == 'size' else size for value in values}
    calls = {
        ('frozen', side): _frozen(cfg, batch_size, side, device)
        for side in dict.fromkeys(sides.values())
    }
    models: list[nn.Module] = []
    for value, side in sides.items():
        varied = with_size(_varied(cfg, kind, value), side)
        models += [MODELS.build(varied.model).to(device) for _ in range(1 + merged)]
        calls |= _calls(varied, models[-1 - merged :], value, batch_size, side)
    counts = {name: multiply_adds(call) for name, call in calls.items()}
    for model in models if backend else ():  # under which nothing can be counted
        compile_parts(model, backend)
    times = time_in_turns(calls, rounds, warmup, device, clock)
    measured = {name: (times[name], counts[name]) for name in calls}
    return dict(sweep=kind, values=values, frozen_backbone=_rates(measured),
                rows=_rows(measured, sides, further=kind == 'tasks'))  # fmt: skip


def _rates(measured: Mapping[tuple, Measured]) -> list[dict[str, Any]]:
    """What the frozen backbone says the machine has, at each size."""
    rates = []
    for (owner, part), (seconds, count) in measured.items():
        if owner == 'frozen':
            taken = spread(seconds)
            rates.append(dict(size=part, seconds=taken, multiply_adds=count,
                              multiply_adds_per_second=count / taken['median']))  # fmt: skip
    return rates


def _rows(
    measured: Mapping[tuple, Measured], sides: Mapping[int, tuple[int, int]], further: bool
) -> list[dict[str, Any]]:  # fmt: skip
    """The costs of each value; with ``further``, of each step from the value before too."""
    rows, before = [], None
    for value, side in sides.items():
        plain = measured['frozen', side]
        parts = [part for owner, part in measured if owner == value]
        row = {part: _cost(*measured[value, part], *plain) for part in parts}
        for part in parts if further and before is not None else ():
            step = value - before, measured[value, part], measured[before, part]
            row[part]['further'] = _further(*step, plain)
        rows.append(dict(value=value, **row))
        before = value
    return rows


def _varied(cfg: Config, kind: str, value: int) -> Config:
    change = dict(tasks=with_copies, rank=with_rank).get(kind)
    return cfg if change is None else change(cfg, value)


def _calls(
    cfg: Config, models: Sequence[nn.Module], value: int, batch_size: int, size: tuple[int, int]
) -> dict[tuple, Call]:
    """Of a model and, where there is a second one, of that merged."""
    model, *others = models
    batch = random_batch(model.tasks, batch_size, size, channels_of(model))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    calls = {
        (value, 'train'): runner_step(model, wrapper, batch),
        (value, 'inference'): runner_inference(model, batch),
    }
    for other in others:
        calls[value, 'merged'] = runner_inference(merge(other), batch)
    return calls


def _frozen(cfg: Config, batch_size: int, size: tuple[int, int], device: Any) -> Call:
    """The network alone: without adapters, tasks or decoder."""
    backbone = MODELS.build(
        dict(type='AdapterBackbone', backbone=cfg.model.backbone.backbone, tap='post_merge')
    ).to(device)
    x = torch.randn(batch_size, channels_in(backbone.network), *size, device=device)

    def infer() -> None:
        with torch.no_grad():
            backbone(x)

    return Call(infer, prepare=backbone.eval)


def _cost(
    times: Sequence[float], count: int, plain: Sequence[float], plain_count: int
) -> dict[str, Any]:
    floors = [count * seconds / plain_count for seconds in plain]
    distance = spread([t / floor for t, floor in zip(times, floors, strict=True)])
    return dict(seconds=spread(times), multiply_adds=count,
                floor_seconds=spread(floors)['median'], distance=distance)  # fmt: skip


def _further(number: int, now: Measured, before: Measured, plain: Measured) -> dict[str, Any]:
    """Of one of the ``number`` tasks that were added: differences within each round."""
    added = [(a - b) / number for a, b in zip(now[0], before[0], strict=True)]
    return _cost(added, (now[1] - before[1]) // number, *plain)


def sweep_table(result: Mapping) -> str:
    """The rows as text."""
    kind = result['sweep']
    further = ['further task: seconds', 'floor', 'distance'] if kind == 'tasks' else []
    lines = []
    for row in result['rows']:
        for part in (key for key in row if key != 'value'):
            lines.append([f'{row["value"]} {part}', *_cells(row[part])])
            if kind == 'tasks':
                more = row[part].get('further')
                lines[-1] += _cells(more)[:1] + _cells(more)[2:] if more else ['-'] * 3
    return table([kind, 'seconds', 'G multiply-adds', 'floor', 'distance', *further], lines)


def _cells(cost: Mapping) -> list[str]:
    return [f'{cost["seconds"]["median"]:.4f}', f'{cost["multiply_adds"] / 1e9:.2f}',
            f'{cost["floor_seconds"]:.4f}', f'{cost["distance"]["median"]:.2f}']  # fmt: skip
