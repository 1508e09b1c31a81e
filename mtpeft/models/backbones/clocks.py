"""The ClockNet that the adapters of a backbone share."""

from collections.abc import Mapping, Sequence

from mtpeft.adapters import ClockNet
from mtpeft.adapters.plugins import Plugin
from mtpeft.models.backbones.families import Family
from mtpeft.models.build import build_module

#: option of adapters that share the clock of their backbone, whatever their plugin
CLOCK = 'clock'


def make_clock(
    cfg: Mapping | None, plugins: Sequence[Plugin], tasks: Sequence[str], family: Family
) -> ClockNet | None:
    """The clock of ``cfg``, a default one where a plugin needs it, or ``None``.

    Raises:
        ValueError: there are no tasks to give frequencies to.
    """
    if cfg is None and not any(p.shared_option == CLOCK and p.lanes == 'task' for p in plugins):
        return None
    if not tasks:
        raise ValueError('A clock gives each task a frequency: set tasks=[...] too.')
    known = {'type': 'ClockNet', 'tasks': list(tasks)}
    if family.stages:
        known['channels'] = family.stages[0].channels
    return build_module({**known, **(cfg or {})})
