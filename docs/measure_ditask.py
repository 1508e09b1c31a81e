"""Measure what forming the weights of DiTASK costs beside MTLoRA, as CPU time of one thread.

python docs/measure_ditask.py [SIZE] [BATCH]
"""

import statistics
import sys
import time

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mtpeft.registry import MODELS

CONFIGS = dict(
    mtlora='configs/mtlora/mtlora-r64_swin-t_pascal.py',
    ditask='configs/ditask/ditask_swin-t_pascal.py',
)
ROUNDS, WARM_UP = 5, 1


def seconds(function) -> float:
    """CPU time of a call: another process that takes the core does not count."""
    start = time.process_time()
    function()
    return time.process_time() - start


def step(backbone: torch.nn.Module, x: torch.Tensor) -> None:
    """Forward and backward pass of all lanes."""
    levels = backbone.train()(x)
    sum(level.mean() for streams in levels.values() for level in streams).backward()
    backbone.zero_grad()


def inference(backbone: torch.nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        backbone(x)


def main(size: int = 224, batch: int = 2) -> None:
    torch.set_num_threads(1)
    MMLogger.get_instance('ditask', log_level='ERROR')
    init_default_scope('mtpeft')
    backbones = {}
    for name, path in CONFIGS.items():
        cfg = Config.fromfile(path).model
        backbones[name] = MODELS.build(dict(cfg.backbone, tasks=list(cfg.tasks)))
    layers = backbones['ditask'].adapter_layers().values()
    taken = seconds(lambda: [layer.adapter.decomposition(layer) for layer in layers])
    print(f'decomposition of {len(layers)} weights, once: {taken:.1f} s')
    times = {name: ([], []) for name in backbones}
    x = torch.randn(batch, 3, size, size)
    for _ in range(ROUNDS):
        for name, backbone in backbones.items():
            times[name][0].append(seconds(lambda b=backbone: step(b, x)))
            inference(backbone.eval(), x)  # forms what is kept
            times[name][1].append(seconds(lambda b=backbone: inference(b, x)))
    for name, pair in times.items():
        medians = [statistics.median(values[WARM_UP:]) for values in pair]
        print(f'{name}: step {medians[0]:.2f} s, inference {medians[1]:.2f} s')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
