"""Measure training steps and inference of a config's model on pictures of noise.

Run one config a call: on a CPU the peak memory is that of the process as a whole.
"""

import argparse
import json
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mtpeft.apis.read_config import read_config
from mtpeft.benchmark import (
    CLOCKS,
    SWEEPS,
    component_times,
    measure,
    measure_merged,
    profile_table,
    random_batch,
    runner_step,
    save_sweep,
    sweep,
    sweep_table,
)
from mtpeft.benchmark.batch import channels_of
from mtpeft.benchmark.variants import can_merge, with_size
from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.registry import MODELS
from mtpeft.utils.allocator import keep_freed_memory
from mtpeft.utils.compiling import compile_parts
from mtpeft.utils.tables import table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('--batch-size', type=_positive, default=1)
    parser.add_argument('--size', type=_positive, nargs=2, default=(448, 448), metavar=('H', 'W'))
    parser.add_argument('--steps', type=_positive, default=10, help='measured; the median counts')
    parser.add_argument('--warmup', type=int, default=3, help='steps before that')
    parser.add_argument('--device', default=get_device())
    parser.add_argument('--threads', type=_positive, help="of a CPU; default: PyTorch's")
    parser.add_argument(
        '--clock', choices=CLOCKS, default='wall', help="'cpu' with one thread only"
    )
    parser.add_argument('--merged', action='store_true', help='inference with merged adapters too')
    parser.add_argument(
        '--compile', nargs='?', const='inductor', metavar='BACKEND',
        help='torch.compile backbone, necks and decoder (default backend: inductor)',
    )  # fmt: skip
    parser.add_argument('--components', action='store_true', help='times of the parts of a step')
    parser.add_argument('--sweep', choices=SWEEPS, help='cost as tasks, rank or the picture grow')
    parser.add_argument('--values', type=_positive, nargs='+', help='of the sweep')
    parser.add_argument('--plot', metavar='PNG', help='picture of the sweep')
    parser.add_argument('--profile', action='store_true', help='largest operators of a step')
    parser.add_argument('--trace', metavar='FILE', help='with --profile: trace for a browser')
    parser.add_argument('--json', action='store_true', help='print JSON only')
    parser.add_argument('--json-file', metavar='FILE', help='write the JSON there as well')
    add_config_arguments(parser, leave_out=('size',))
    args = parser.parse_args()
    for option, needed in (('values', 'sweep'), ('plot', 'sweep'), ('trace', 'profile')):
        if getattr(args, option) and not getattr(args, needed):
            parser.error(f'--{option} needs --{needed}')
    if args.components and args.compile:
        parser.error('--components times parts one by one, which --compile makes one graph of')
    return args


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a positive integer, got {text}')
    return int(text)


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.json or args.sweep:
        MMLogger.get_instance('benchmark', log_level='ERROR')
    cfg = read_config(args)
    init_default_scope(cfg.get('default_scope', 'mtpeft'))
    device, size = torch.device(args.device), tuple(args.size)
    if device.type == 'cpu':
        keep_freed_memory()  # as tools/train.py does
    result = dict(
        config=args.config, device=str(device), batch_size=args.batch_size, size=size,
        threads=torch.get_num_threads(), compile=args.compile,
    )  # fmt: skip
    if args.sweep:
        result.update(
            sweep(cfg, args.sweep, args.values, args.batch_size, size, device, args.steps,
                  args.warmup, args.merged, args.clock, args.compile)
        )  # fmt: skip
        text = sweep_table(result)
    else:
        found, text = measure_config(args, cfg, device, size)
        result.update(found)
    if args.json_file:
        Path(args.json_file).write_text(json.dumps(result, indent=2), encoding='utf-8')
    if args.plot:
        save_sweep(result, args.plot, Path(args.config).stem)
    print(json.dumps(result, indent=2) if args.json else text)


def measure_config(
    args: argparse.Namespace, cfg: Config, device: torch.device, size: tuple[int, int]
) -> tuple[dict, str]:
    """Figures of the config as it is, and what they look like as text."""
    # pretrained weights change neither time nor memory, and may need a network
    model = MODELS.build(with_size(cfg, size).model).to(device)
    if args.merged and not can_merge(model):
        raise SystemExit(f'--merged: {type(model).__name__} has no merge_adapters()')
    if args.compile:
        compile_parts(model, args.compile)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    batch = random_batch(model.tasks, args.batch_size, size, channels_of(model))
    result = measure(model, wrapper, batch, device, args.steps, args.warmup, args.clock)
    texts = []
    if args.components:
        times = component_times(model, wrapper, batch, device, args.steps, args.warmup, args.clock)
        result['components'] = times
        texts += [_components(name, parts) for name, parts in times.items()]
    if args.profile:
        result['profile'] = profile_table(
            runner_step(model, wrapper, batch), device, trace=args.trace
        )
        texts.append(result['profile'])
    if args.merged:
        # last: a merged model does not train
        result['merged'] = measure_merged(model, batch, device, args.steps, args.warmup, args.clock)
    names = [name for name in ('train', 'inference', 'merged') if name in result]
    rows = [[name, f'{result[name]["seconds"]:.4f}', f'{result[name]["pictures_per_second"]:.2f}']
            for name in names]  # fmt: skip
    texts.insert(0, table(['step', 'seconds (median)', 'pictures/s'], rows) + (
        f'\nBatch {args.batch_size} of {size[0]} x {size[1]} on {device}, '
        f'{args.steps} steps; peak memory {result["peak_memory_mb"]:.0f} MB'))  # fmt: skip
    return result, '\n\n'.join(texts)


def _components(name: str, parts: dict[str, float]) -> str:
    total = sum(parts.values())
    rows = [[part, f'{seconds:.4f}', f'{seconds / total:.1%}'] for part, seconds in parts.items()]
    return table([f'{name}, in parts', 'seconds (median)', 'share'], rows)


if __name__ == '__main__':
    main()
