"""``mtpeft data bench``."""

import argparse
import math
import statistics
import time

import cv2
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mtpeft.apis.read_config import read_config
from mtpeft.benchmark import rate, runner_step, step_times, worker_rate
from mtpeft.cli.config_arguments import add_config_arguments, positive
from mtpeft.cli.data.check import dataset_spec
from mtpeft.datasets import DataFileError, MultiTaskDataset
from mtpeft.datasets.folder import FolderDataset
from mtpeft.registry import DATASETS, MODELS
from mtpeft.utils.allocator import keep_freed_memory
from mtpeft.utils.tables import table

DESCRIPTION = """Measure how fast the pictures of a config are loaded, and what takes the time.

    mtpeft data bench mtlora-r64_swin-t_pascal --data-root data/PASCAL_MT --samples 100

Prints milliseconds of each step of the pipeline and pictures a second of one worker (CPU time, one
thread, files read once before), and how many workers a training step of the config's model on this
machine needs. Labels and pictures are real, weights random.
"""

_STEPS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train')
    parser.add_argument('--samples', type=positive, default=64, help='pictures (default: 64)')
    parser.add_argument(
        '--workers', type=positive, help='measure a loader with so many processes too (wall time)'
    )
    parser.add_argument('--cache-dir', help='cache_dir of the data set, filled on the way')
    parser.add_argument('--batch-size', type=positive, help="of the step; default: the config's")
    parser.add_argument('--no-step', action='store_true', help='leave the training step out')
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print tables; 1 if the data cannot be read."""
    try:
        config = read_config(args)
        init_default_scope(config.get('default_scope', 'mtpeft'))
        dataset = _dataset(config, args)
        picture = _measure(dataset, args)
    except (DataFileError, OSError, KeyError, TypeError, ValueError) as error:
        print(f'ERROR {error}')
        return 1
    if not args.no_step:
        _say_share(config, dataset, args, picture)
    return 0


def _dataset(config: Config, args: argparse.Namespace) -> MultiTaskDataset:
    spec, target = dataset_spec(config, args.split)
    if args.cache_dir is not None:
        if not issubclass(target, FolderDataset):
            raise ValueError(f'--cache-dir: {spec["type"]} reads no files of labels.')
        spec['cache_dir'] = args.cache_dir
    return DATASETS.build(spec)


def _measure(dataset: MultiTaskDataset, args: argparse.Namespace) -> float:
    """Print the table of steps; seconds of CPU time that a picture takes."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    keep_freed_memory()  # as workers do
    batch_size = args.batch_size or 8
    try:
        rate(dataset, min(args.samples, len(dataset)))  # files are read, caches filled
        picture = 1 / rate(dataset, args.samples)
        spent = step_times(dataset, args.samples, batch_size)
        wall = args.workers and worker_rate(dataset, args.samples, args.workers, batch_size)
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    whole = sum(spent.values())
    rows = [[name, f'{s * 1000:.2f}', f'{s / whole:.0%}'] for name, s in spent.items()]
    print(table(['step', 'ms a picture', 'share'], rows))
    print(
        f'{type(dataset).__name__}, {args.samples} pictures: {1 / picture:.1f} a second a worker '
        '(CPU time, one thread)'
    )
    if wall:
        print(f'{args.workers} workers give {wall:.1f} pictures a second (wall time)')
    return picture


def _say_share(
    config: Config, dataset: MultiTaskDataset, args: argparse.Namespace, picture: float
) -> None:
    """Print what a step takes, and what of it the loader needs."""
    device = torch.device(get_device())
    number = args.batch_size or config.train_dataloader.get('batch_size', 1)
    samples = [dataset[index % len(dataset)] for index in range(number)]
    batch = {key: [sample[key] for sample in samples] for key in samples[0]}
    model = MODELS.build(config.model).to(device)  # pretrained weights change no time
    step = runner_step(model, build_optim_wrapper(model, config.optim_wrapper), batch)
    taken = [_seconds(step, device) for _ in range(_STEPS + 1)][1:]  # the first warms up
    seconds = statistics.median(taken) / number
    workers = math.ceil(picture / seconds)
    print(
        f'A training step takes {seconds * 1000:.1f} ms a picture on {device} (batches of '
        f'{number}); loading is {picture / seconds:.0%} of that. {workers} '
        f'{"worker keeps" if workers == 1 else "workers keep"} up, with a core each; the config '
        f'has {config.train_dataloader.get("num_workers", 0)}.'
    )


def _seconds(step: object, device: torch.device) -> float:
    start = time.perf_counter()
    step()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
