"""What was adapted, and what is trained, by component."""

import re
from typing import TYPE_CHECKING

from mtpeft.adapters import AdapterModule
from mtpeft.adapters.base import matrix_shape
from mtpeft.models.backbones.families import COMMON_GROUPS

if TYPE_CHECKING:
    from mtpeft.models.backbones.adapter_backbone import AdapterBackbone

_COMPONENT = {
    'block_norms': 'norms',
    'out_norms': 'norms',
    'relative_position_bias_table': 'relative_position',
    'patch_embed': 'patch_embed',
    'stem': 'patch_embed',
    'reduction': 'patch_merging',
}


def backbone_components(backbone: 'AdapterBackbone') -> dict[str, list[str]]:
    """Component -> names of parameters, a partition of all parameters of ``backbone``.

    Adapters name their own components. Parameters of the network fall into ``norms``,
    ``relative_position``, ``patch_embed``, ``patch_merging``, ``biases`` (the other biases of a
    frozen network) and ``backbone``; what trains without effect is ``unused``.
    """
    unused = set(backbone.unused_parameter_names())
    of_adapter = {}
    for name, layer in backbone.adapter_layers().items():
        adapter = layer.adapter
        kinds = adapter.shared_parameters, adapter.base_parameters, adapter.task_parameters
        for groups in kinds:
            for component, names in groups.items():
                of_adapter.update({f'network.{name}.adapter.{n}': component for n in names})
    for key, common in backbone.commons.items():
        for component, names in common.parameter_components().items():
            of_adapter.update({f'commons.{key}.{name}': component for name in names})
    components: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        if name in unused:
            component = 'unused'
        elif name.startswith('clock.heads.'):
            component = 'clock_net'
        elif name.startswith('clock.'):
            component = 'task_tokens'
        elif name.startswith('token_stream.'):
            component = backbone.token_stream.component(name.removeprefix('token_stream.'))
        elif name in of_adapter:
            component = of_adapter[name]
        else:
            component = _of_network(backbone, name.removeprefix('network.'))
        components.setdefault(component, []).append(name)
    return components


def _of_network(backbone: 'AdapterBackbone', name: str) -> str:
    for group, pattern in backbone.family.groups.items():
        if re.fullmatch(pattern, name):
            return _COMPONENT.get(group, group)
    if backbone.freeze and re.fullmatch(COMMON_GROUPS['biases'], name):
        return 'biases'
    return 'backbone'


def adapter_table(backbone: 'AdapterBackbone') -> str:
    """One line a layer: name, kind, method, ranks, parameters."""
    rows = [('layer', 'kind', 'adapter', 'ranks', 'parameters')]
    for name, layer in backbone.adapter_layers().items():
        adapter = layer.adapter
        own = isinstance(layer, AdapterModule)
        shape = ' x '.join(map(str, matrix_shape(layer) if own else layer.weight.shape))
        kind = type(layer).__name__.removeprefix('Adapter')
        ranks = ' '.join(f'{stream}:{rank}' for stream, rank in adapter.ranks().items()) or '-'
        number = sum(p.numel() for p in adapter.parameters())
        rows.append((name, f'{kind} {shape}', type(adapter).__name__, ranks, f'{number:,}'))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ['  '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    total = sum(
        p.numel() for la in backbone.adapter_layers().values() for p in la.adapter.parameters()
    )
    shared = sum(p.numel() for p in backbone.commons.parameters())
    common = f' and {shared:,} that layers share' if shared else ''
    lanes = f', lanes: {", ".join(backbone.tasks)}' if backbone.lanes else ''
    lines.append(f'{len(rows) - 1} layers adapted, {total:,} parameters{common}{lanes}')
    return 'Adapters\n' + '\n'.join(line.rstrip() for line in lines)
