"""The grid that property tests run over: every registered adapter on every kind of layer."""

from collections.abc import Iterable

import torch
from timm.layers import Conv2dSame
from torch import nn

from mtpeft.adapters import LowRankAdapter
from mtpeft.registry import ADAPTERS

TASKS = ('semseg', 'depth', 'normals')

LAYERS = {
    'linear': (lambda: nn.Linear(12, 10), (2, 5, 12)),
    'linear on a map': (lambda: nn.Linear(12, 10), (2, 5, 4, 12)),
    'linear without bias': (lambda: nn.Linear(12, 10, bias=False), (3, 12)),
    'conv 1x1': (lambda: nn.Conv2d(6, 8, 1), (2, 6, 5, 4)),
    'conv 3x3 stride 2': (lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1), (2, 6, 9, 8)),
    'conv dilated, reflect': (
        lambda: nn.Conv2d(6, 8, 3, padding=2, dilation=2, padding_mode='reflect'),
        (2, 6, 9, 8),
    ),
    'conv same': (lambda: Conv2dSame(6, 8, 3, stride=2), (2, 6, 9, 8)),
}

# Options that make a method small; a method that is not listed runs with its defaults.
VARIANTS = {
    'AdaLoRA': [dict(rank=3, task_rank=2), dict(rank=3, frozen_input='shared')],
    'BottleneckAdapter': [
        dict(width=3),
        dict(reduction=2, activation='relu', bias=False, scale=0.5),
    ],
    'DiTASK': [
        dict(init='zero', cells=8),
        dict(init='zero', cells=8, warp='value'),
        dict(init='zero', cells=8, parts=2),
    ],
    'Compacter': [
        dict(n=2, width=4),
        dict(n=2, width=2, rank=2, activation='silu', bias=False),
    ],
    'DoRA': [
        dict(rank=3, task_rank=2),
        dict(rank=3, detach_norm=False),
        dict(rank=3, direction='rows', magnitude_rate=0.1),
        dict(rank=3, direction='rows', magnitude_rate=0.1, detach_norm=False, residual=True),
    ],
    'HyperFormer': [
        dict(width=3, embedding=4, hidden=24),
        dict(width=3, embedding=4, hidden=24, bias=False, generators='layer'),
    ],
    'LoRA': [dict(rank=3, task_rank=2), dict(rank=3, frozen_input='shared')],
    'MTLoRA': [dict(rank=3, task_rank=2, mode=mode) for mode in ('matrix', 'matrixv2', 'addition')],
    'Polyhistor': [
        dict(width=3, embedding=4, hidden=24, rank=2),
        dict(width=3, embedding=4, hidden=24, rank=2, generators='width'),
        dict(reduction=2, embedding=4, hidden=24, rank=2, lite=True),
    ],
    'SineAWB': [
        dict(rank=3, kernel_size=None, task_rank=2),
        dict(rank=3, kernel_size=None, base='independent'),
        dict(rank=3, kernel_size=None, sine=False),
        dict(rank=3, kernel_size=None, lowpass=False, reuse='A'),
    ],
    'SineLoRA': [
        dict(rank=3, task_rank=2, omega=3.0),
        dict(rank=3, omega=3.0, frozen_input='shared'),
    ],
    'TADFormer': [dict(rank=3, filter=kind) for kind in ('dynamic', 'static', 'none')],
    'VLAdapter': [dict(width=3), dict(width=3, share='up', bias=False)],
}


def methods() -> list[dict]:
    """Configs of every registered adapter."""
    return [
        dict(type=name, **options)
        for name in sorted(_registered())
        for options in VARIANTS.get(name, [{}])
    ]


def low_rank_methods() -> list[dict]:
    """Configs of the adapters whose lanes have components that can be pruned."""
    return [cfg for cfg in methods() if _has_components(cfg)]


def _has_components(cfg: dict) -> bool:
    adapter = ADAPTERS.get(cfg['type'])
    if not issubclass(adapter, LowRankAdapter):
        return False
    options = {key: value for key, value in cfg.items() if key != 'type'}
    return bool(set(adapter(nn.Linear(12, 10), TASKS, **options).groups) - {'shared'})


def _registered() -> list[str]:
    ADAPTERS.import_from_location()
    return list(ADAPTERS.module_dict)


def checkerboard(rows: Iterable, columns: Iterable, every: int = 2) -> list[tuple]:
    """Every other pair (or third, fourth): each row with half of the columns, and conversely."""
    columns = list(columns)
    pairs = ((i, r, j, c) for i, r in enumerate(rows) for j, c in enumerate(columns))
    return [(r, c) for i, r, j, c in pairs if (i + j) % every == 0]


def label(value: object) -> str:
    if isinstance(value, dict):
        return '-'.join(str(v) for v in value.values())
    return str(value)


def stir(module: nn.Module, std: float = 0.3, seed: int = 0) -> None:
    """Move every parameter of the adapters away from its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if 'adapter.' in name or 'commons.' in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * std)
