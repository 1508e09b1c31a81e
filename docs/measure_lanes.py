"""Measure the lane strategies on one backbone, in turns, as CPU time of one thread.

python docs/measure_lanes.py [SIZE] [BATCH]
"""

import statistics
import sys
import time

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mtpeft.adapters.lanes.block import LANE_STRATEGIES
from mtpeft.registry import MODELS

CONFIG = 'configs/mtlora/mtlora-r64_swin-t_pascal.py'
ROUNDS, WARM_UP = 9, 2


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


def main(size: int = 224, batch: int = 2) -> None:
    torch.set_num_threads(1)
    MMLogger.get_instance('lanes', log_level='ERROR')
    init_default_scope('mtpeft')
    config = Config.fromfile(CONFIG).model.backbone
    tasks = ['semseg', 'human_parts', 'sal', 'normals']
    backbones = {
        name: MODELS.build(dict(config, tasks=tasks, lane_strategy=name))
        for name in LANE_STRATEGIES
    }
    times = {name: ([], []) for name in backbones}
    x = torch.randn(batch, 3, size, size)
    for _ in range(ROUNDS):
        for name, backbone in backbones.items():
            times[name][0].append(seconds(lambda b=backbone: step(b, x)))
            backbone.eval()
            with torch.no_grad():
                times[name][1].append(seconds(lambda b=backbone: b(x)))
    for name, (train, inference) in times.items():
        medians = [statistics.median(values[WARM_UP:]) for values in (train, inference)]
        print(f'{name}: step {medians[0]:.2f} s, inference {medians[1]:.2f} s')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
