"""What of a backbone is trained, what of it nobody reads, and the components of reports."""

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from mtpeft.adapters import Adapter, AdapterLayer, AdapterModule, ClockNet
from mtpeft.adapters.base import matrix_shape
from mtpeft.models.backbones.families import COMMON_GROUPS, Family
from mtpeft.utils.suggest import hint

_COMPONENT = {
    'block_norms': 'norms',
    'out_norms': 'norms',
    'relative_position_bias_table': 'relative_position',
    'patch_embed': 'patch_embed',
    'stem': 'patch_embed',
    'reduction': 'patch_merging',
}


def set_trainable(
    network: nn.Module, family: Family, tap: str, train_also: Sequence[str], freeze: bool
) -> None:
    """Train what ``train_also`` names, or, with ``freeze=False``, all that has an effect.

    A final norm or a classifier has none.

    Raises:
        ValueError: a pattern hits nothing.
    """
    network.requires_grad_(False)
    unread = unread_prefixes(family, tap)
    read = {n: p for n, p in network.named_parameters() if not n.startswith(unread)}
    for parameter in read.values():
        parameter.requires_grad_(not freeze)
    train_named(read, train_also, family.groups, type(network).__name__)


def train_named(
    parameters: Mapping[str, nn.Parameter],
    patterns: Sequence[str],
    groups: Mapping[str, str],
    kind: str,
) -> None:
    """Train the parameters that patterns name.

    Args:
        parameters: By name.
        patterns: Groups, parts of names, or ``'re:<expression>'``.
        groups: Of the family: regular expressions over whole names.
        kind: Of the network, for messages.

    Raises:
        ValueError: a pattern hits nothing.
    """
    groups = {**COMMON_GROUPS, **groups}
    for pattern in patterns:
        hits = [name for name in parameters if _matches(name, pattern, groups)]
        if not hits:
            pieces = {piece for n in parameters for piece in n.split('.') if not piece.isdigit()}
            raise ValueError(
                f"train_also: '{pattern}' matches no parameter of {kind}. "
                + hint(pattern, [*groups, *pieces])
            )
        for name in hits:
            parameters[name].requires_grad_(True)


def unread_prefixes(family: Family, tap: str) -> tuple[str, ...]:
    """Prefixes of modules that no level passes; norms of un-merged outputs where merged."""
    norms = [f'{stage.out_norm}.' for stage in family.stages if stage.out_norm]
    return (*family.unread, *(norms if tap == 'post_merge' else ()))


def _matches(name: str, pattern: str, groups: Mapping[str, str]) -> bool:
    if pattern in groups:
        return re.fullmatch(groups[pattern], name) is not None
    if pattern.startswith('re:'):
        return re.fullmatch(pattern[3:], name) is not None
    return f'.{pattern}.' in f'.{name}.'


def unread_parameters(
    layers: Iterable[AdapterLayer],
    idle: Sequence[Adapter],
    commons: Mapping[str, nn.Module],
    clock: ClockNet | None,
) -> set[int]:
    """``id`` of the parameters of adapters, and of what they share, that nobody reads.

    Args:
        layers: The adapted layers.
        idle: Adapters whose shared path nobody reads.
        commons: Modules that layers share.
        clock: The ClockNet, ``None`` without.
    """
    unread = {
        id(adapter.get_parameter(name))
        for adapter in idle
        for names in adapter.shared_parameters.values()
        for name in names
    }
    reading = [layer.adapter for layer in layers if layer.adapter not in idle]
    kept = [adapter.common for adapter in reading if hasattr(adapter, '_common')]
    unread |= {id(p) for c in commons.values() if c not in kept for p in c.shared_only()}
    if clock is not None and not clock.sites:
        # nobody asks for a frequency; tokens count where they go through the network
        unread |= {id(p) for p in (clock.heads if clock.prepends else clock).parameters()}
    return unread


def components_of(backbone: nn.Module) -> dict[str, list[str]]:
    """Component -> names of parameters, a partition of all parameters of a backbone.

    Adapters name their own components. Parameters of the network fall into ``norms``,
    ``relative_position``, ``patch_embed``, ``patch_merging``, ``biases`` (the other biases of a
    frozen network) and ``backbone``; what trains without effect is ``unused``.
    """
    unused = set(backbone.unused_parameter_names())
    commons = {f'commons.{key}': common for key, common in backbone.commons.items()}
    if backbone.clock is not None:
        commons['clock'] = backbone.clock
    of_adapter = _of_adapters(backbone.adapter_layers(), commons)
    components: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        if name in unused:
            component = 'unused'
        elif name.startswith('token_stream.'):
            component = backbone.token_stream.component(name.removeprefix('token_stream.'))
        elif name in of_adapter:
            component = of_adapter[name]
        else:
            own = name.removeprefix('network.')
            component = _of_network(own, backbone.family, backbone.freeze)
        components.setdefault(component, []).append(name)
    return components


def _of_adapters(
    layers: Mapping[str, AdapterLayer], commons: Mapping[str, nn.Module]
) -> dict[str, str]:  # fmt: skip
    """Name of each parameter of an adapter, or of what adapters share -> its component."""
    found = {}
    for name, layer in layers.items():
        adapter = layer.adapter
        kinds = adapter.shared_parameters, adapter.base_parameters, adapter.task_parameters
        for groups in kinds:
            for component, names in groups.items():
                found.update({f'network.{name}.adapter.{n}': component for n in names})
    for prefix, common in commons.items():
        for component, names in common.parameter_components().items():
            found.update({f'{prefix}.{name}': component for name in names})
    return found


def _of_network(name: str, family: Family, freeze: bool) -> str:
    for group, pattern in family.groups.items():
        if re.fullmatch(pattern, name):
            return _COMPONENT.get(group, group)
    if freeze and re.fullmatch(COMMON_GROUPS['biases'], name):
        return 'biases'
    return 'backbone'


def adapter_table(
    layers: Mapping[str, AdapterLayer], commons: Mapping[str, nn.Module], tasks: Sequence[str] = ()
) -> str:
    """One line a layer: name, kind, method, ranks, parameters; ``tasks`` are those with lanes."""
    rows = [('layer', 'kind', 'adapter', 'ranks', 'parameters')]
    for name, layer in layers.items():
        adapter = layer.adapter
        own = isinstance(layer, AdapterModule)
        shape = ' x '.join(map(str, matrix_shape(layer) if own else layer.weight.shape))
        kind = type(layer).__name__.removeprefix('Adapter')
        ranks = ' '.join(f'{stream}:{rank}' for stream, rank in adapter.ranks().items()) or '-'
        number = sum(p.numel() for p in adapter.parameters())
        rows.append((name, f'{kind} {shape}', type(adapter).__name__, ranks, f'{number:,}'))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ['  '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    total = sum(p.numel() for la in layers.values() for p in la.adapter.parameters())
    shared = sum(p.numel() for common in commons.values() for p in common.parameters())
    common = f' and {shared:,} that layers share' if shared else ''
    lanes = f', lanes: {", ".join(tasks)}' if tasks else ''
    lines.append(f'{len(rows) - 1} layers adapted, {total:,} parameters{common}{lanes}')
    return 'Adapters\n' + '\n'.join(line.rstrip() for line in lines)
