"""Measure training steps and inference of a config's model on pictures of noise.

Run one config a call: on a CPU the peak memory is that of the process as a whole.
"""

import argparse
import json

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mtpeft.registry import MODELS
from mtpeft.utils.benchmark import measure, random_batch
from mtpeft.utils.tables import table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('--batch-size', type=_positive, default=1)
    parser.add_argument('--size', type=_positive, nargs=2, default=(448, 448), metavar=('H', 'W'))
    parser.add_argument('--steps', type=_positive, default=10, help='measured; the median counts')
    parser.add_argument('--warmup', type=int, default=3, help='steps before that')
    parser.add_argument('--device', default=get_device())
    parser.add_argument('--json', action='store_true', help='print JSON only')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config'
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a positive integer, got {text}')
    return int(text)


def main() -> None:
    args = parse_args()
    if args.json:
        MMLogger.get_instance('benchmark', log_level='ERROR')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'mtpeft'))
    device = torch.device(args.device)
    # pretrained weights change neither time nor memory, and may need a network
    model = MODELS.build(cfg.model).to(device)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    size = tuple(args.size)
    batch = random_batch(model.tasks, args.batch_size, size)
    result = measure(model, wrapper, batch, device, args.steps, args.warmup)
    result = dict(
        config=args.config, device=str(device), batch_size=args.batch_size, size=size,
        threads=torch.get_num_threads(), **result,
    )  # fmt: skip
    if args.json:
        print(json.dumps(result, indent=2))
        return
    rows = [[name, f'{result[name]["seconds"]:.4f}', f'{result[name]["pictures_per_second"]:.2f}']
            for name in ('train', 'inference')]  # fmt: skip
    print(table(['step', 'seconds (median)', 'pictures/s'], rows))
    print(f'Batch {args.batch_size} of {size[0]} x {size[1]} on {device}, '
          f'{args.steps} steps; peak memory {result["peak_memory_mb"]:.0f} MB')  # fmt: skip


if __name__ == '__main__':
    main()
