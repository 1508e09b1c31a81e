"""The ClockNet that the adapters of a backbone share."""

from collections.abc import Mapping, Sequence

from mtpeft.adapters import ClockNet
from mtpeft.models.backbones.families import Family
from mtpeft.models.build import accepts, build_module
from mtpeft.registry import ADAPTERS


def make_clock(
    cfg: Mapping | None, plugins: Sequence[Mapping], tasks: Sequence[str], family: Family
) -> ClockNet | None:
    """The clock of ``cfg``, a default one where a plugin needs it, or ``None``.

    Raises:
        ValueError: there are no tasks to give frequencies to.
    """
    if cfg is None and not any(_takes_clock(p) for p in plugins if p.get('lanes') == 'task'):
        return None
    if not tasks:
        raise ValueError('A clock gives each task a frequency: set tasks=[...] too.')
    known = {'type': 'ClockNet', 'tasks': list(tasks)}
    if family.stages:
        known['channels'] = family.stages[0].channels
    return build_module({**known, **(cfg or {})})


def with_clock(plugin: Mapping, clock: ClockNet | None) -> Mapping:
    """The plugin with ``clock`` among its adapter's options, where the adapter has such an one."""
    if clock is None or not _takes_clock(plugin):
        return plugin
    return {**plugin, 'cfg': {'clock': clock, **plugin['cfg']}}


def _takes_clock(plugin: Mapping) -> bool:
    kind = plugin.get('cfg', {}).get('type')
    return accepts(ADAPTERS.get(kind) if isinstance(kind, str) else kind, 'clock')
