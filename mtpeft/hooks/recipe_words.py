"""What a run says of its batch and of rates that a checkpoint brings."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import Runner

from mtpeft.utils.options import options_of

#: options of a scheduler that say nothing of its schedule
_NO_SCHEDULE = ('last_step', 'verbose')
_SHOWN = 4


def about_batch(runner: Runner) -> Iterator[str]:
    """A sentence where the batch of all processes is not the one that the rate is for."""
    options = runner.auto_scale_lr or {}
    base, size = (
        options.get('base_batch_size'),
        getattr(runner.train_dataloader, 'batch_size', None),
    )
    if not base or not size:
        return
    processes = get_world_size()
    steps = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    total = processes * size * steps
    made = ' x '.join(
        text for number, text in (
            (processes, f'{processes} processes'), (2, f'{size} pictures'),
            (steps, f'{steps} accumulated steps'),
        ) if number > 1
    )  # fmt: skip
    if options.get('enable'):
        if steps > 1:
            yield (
                f'auto_scale_lr scales the learning rate for {processes * size} pictures; '
                f'{steps} accumulated steps make an update of {total}.'
            )
        return
    if total == base:
        return
    made = f' ({made})' if processes * steps > 1 else ''
    each = base / (processes * steps)
    ways = f'scale it by {total / base:g} (--auto-scale-lr)'
    if each.is_integer():
        ways += f', or give each process train_dataloader.batch_size={each:.0f}'
    yield (
        f'An update sees {total} pictures{made}, and the learning rate of this config is for '
        f'{base} (auto_scale_lr.base_batch_size): {ways}. '
        f'Where the rate is meant for {total}, say so: auto_scale_lr.base_batch_size={total}.'
    )


def about_resumed(runner: Runner, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about rates and schedules of a checkpoint that the config does not say."""
    kept = [*_other_rates(runner, checkpoint), *_other_schedules(runner, checkpoint)]
    end = _beyond(runner, checkpoint)
    if not kept and not end:
        return
    text = ''
    if kept:
        more = f'; and {len(kept) - _SHOWN} more' if len(kept) > _SHOWN else ''
        text = (
            f'--resume keeps the rates of the checkpoint, not those of the config: '
            f'{"; ".join(kept[:_SHOWN])}{more}. '
        )
    yield (
        f'{text}{end}To train by the schedule of the config, start a new run from these weights: '
        f'--cfg-options load_from={runner._load_from} with another --work-dir and without --resume.'
    )


def _other_rates(runner: Runner, checkpoint: Mapping[str, Any]) -> list[str]:
    own = getattr(getattr(runner.optim_wrapper, 'optimizer', None), 'param_groups', None)
    saved = (checkpoint.get('optimizer') or {}).get('param_groups')
    found = []
    for mine, theirs in zip(own or (), saved or (), strict=False):
        for name in ('lr', 'weight_decay', 'betas', 'momentum'):
            key = f'initial_{name}' if f'initial_{name}' in theirs else name
            config, file = mine.get(key, mine.get(name)), theirs.get(key)
            if file is not None and _plain(file) != _plain(config):
                found.append(f'{name} {file} (config: {config})')
    return list(dict.fromkeys(found))


def _other_schedules(runner: Runner, checkpoint: Mapping[str, Any]) -> list[str]:
    own, saved = runner.param_schedulers or [], checkpoint.get('param_schedulers') or []
    if not isinstance(own, list) or not isinstance(saved, list):
        return []
    found = []
    if len(own) != len(saved):
        found.append(f'{len(saved)} schedulers (config: {len(own)})')
    for index, (scheduler, state) in enumerate(zip(own, saved, strict=False)):
        unit = '' if scheduler.by_epoch else ' in iterations'
        mine = scheduler.state_dict()
        for name in options_of(type(scheduler)).known:
            if name in mine and name in state and name not in _NO_SCHEDULE:
                file, config = _plain(state[name]), _plain(mine[name])
                if file != config:
                    found.append(f'param_scheduler.{index}.{name} {file}{unit} (config: {config})')
    return found


def _beyond(runner: Runner, checkpoint: Mapping[str, Any]) -> str:
    """Whether a longer run goes on behind the end of its schedule."""
    known = (checkpoint.get('message_hub') or {}).get('runtime_info') or {}
    saved = checkpoint.get('param_schedulers')
    if not isinstance(saved, list) or not saved:
        return ''
    by_epoch = all(state.get('by_epoch', True) for state in saved)
    unit, name = ('epochs', 'max_epochs') if by_epoch else ('iterations', 'max_iters')
    limit, before, end = getattr(runner, name), known.get(name), max(s['end'] for s in saved)
    if not before or limit <= before or end >= limit:
        return ''
    return (
        f'The run is {limit} {unit} long instead of {before}, and its schedule ends at {end}: from '
        'there on the rate stays as it is. '
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
