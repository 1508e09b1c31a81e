"""``mtpeft data check``."""

import argparse
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.apis.read_config import read_config
from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.datasets import DataFileError, MultiTaskDataset
from mtpeft.datasets.folder import FolderDataset
from mtpeft.registry import DATASETS
from mtpeft.tasks import DenseTask

DESCRIPTION = """Walk a data set and report what is missing or broken.

Goes on after every error, then prints for every task how many pictures have a label, the share of
valid pixels, the histogram of classes or the range of values. Exit status 1 if anything is wrong.
"""

_SHOWN = 20


class TaskStatistics:
    """What the labels of one task hold, summed over pictures."""

    def __init__(self, task: DenseTask) -> None:
        self.task = task
        self.pictures = self.valid = self.pixels = 0
        self.histogram = np.zeros(65536, np.int64)
        self.low, self.high = np.inf, -np.inf
        self.facing_away = 0

    def add(self, label: np.ndarray) -> None:
        """Count one label ``(H, W)`` or ``(H, W, C)``."""
        valid = self.task.valid(label, -1 if label.ndim == 3 else None)
        self.pictures += 1
        self.valid += int(valid.sum())
        self.pixels += valid.size
        if self.task.kind in ('classes', 'binary'):
            self.histogram += np.bincount(label[valid], minlength=65536)
        elif valid.any():
            self.low = min(self.low, float(label[valid].min()))
            self.high = max(self.high, float(label[valid].max()))
            if self.task.kind == 'vectors':
                self.facing_away += int((label[valid][:, 2] > 0).sum())

    def report(self, pictures: int) -> str:
        """A few lines of text."""
        text = f'{self.task.name}: {self.pictures} of {pictures} pictures have a label'
        if not self.pictures:
            return f'{text}\n    WARNING: nothing is learnt of this task'
        text += f', {self.valid / self.pixels:.1%} of their pixels are valid'
        if not self.valid:
            return (
                f'{text}\n    WARNING: every pixel is {self.task.ignore_value:g}, an ignored one, '
                'so nothing is learnt of this task'
            )
        if self.task.kind in ('classes', 'binary'):
            shares = self.histogram / self.valid
            number = 2 if self.task.kind == 'binary' else self.task.channels
            names = self.task.classes or [str(i) for i in range(number)]
            bars = [f'{name} {share:.2%}' for name, share in zip(names, shares, strict=False)]
            text += ''.join(f'\n    {"  ".join(bars[i : i + 8])}' for i in range(0, number, 8))
            absent = [str(names[i]) for i in range(number) if not self.histogram[i]]
            if absent:
                text += (
                    f'\n    WARNING: {len(absent)} of {number} classes never occur: '
                    f'{", ".join(absent[:12])}{", ..." * (len(absent) > 12)}'
                )
        else:
            unit = '' if self.task.kind == 'vectors' else f' {self.task.unit}'
            text += f'\n    values from {self.low:.3f} to {self.high:.3f}{unit}'
        if self.facing_away > self.valid / 2:
            text += (
                f'\n    WARNING: {self.facing_away / self.valid:.0%} of the normals point away '
                'from the camera (z > 0): set normals_signs of the data set'
            )
        return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train')
    parser.add_argument('--limit', type=int, help='look at the first N pictures only')
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    try:
        config = read_config(args)
        init_default_scope(config.get('default_scope', 'mtpeft'))
        dataset = build_dataset(config, args.split)
    except (DataFileError, OSError, KeyError, TypeError, ValueError) as error:
        print(f'ERROR {error}')
        return 1
    return check(dataset, args.limit)


def build_dataset(config: Config, split: str) -> MultiTaskDataset:
    """The data set of a config's ``{split}_dataloader``, with no file checked yet."""
    spec, target = dataset_spec(config, split)
    if issubclass(target, FolderDataset):
        spec['check_files'] = False
    return DATASETS.build(spec)


def dataset_spec(config: Config, split: str) -> tuple[dict, type[MultiTaskDataset]]:
    """What a ``{split}_dataloader`` loads: a copy of its config, and its class.

    Raises:
        ValueError: there is no such loader, or its data set is none of mtpeft.
    """
    loader = config.get(f'{split}_dataloader')
    if loader is None:
        raise ValueError(f'The config has no {split}_dataloader.')
    spec = dict(loader['dataset'])
    target = DATASETS.get(spec['type'])
    if not isinstance(target, type) or not issubclass(target, MultiTaskDataset):
        raise ValueError(f"Expected a data set of mtpeft, got type='{spec['type']}'.")
    return spec, target


def check(dataset: MultiTaskDataset, limit: int | None = None) -> int:
    """Load every picture and label, print what was found; returns the exit status."""
    number = len(dataset) if limit is None else min(limit, len(dataset))
    statistics = {name: TaskStatistics(task) for name, task in dataset.tasks.items()}
    errors: list[str] = []
    readable, sizes = 0, set()
    for index in range(number):
        info = dataset.get_data_info(index)
        try:
            img = dataset.load_image(info)
        except (DataFileError, OSError) as error:
            errors.append(str(error))
            continue
        readable += 1
        sizes.add(img.shape[:2])
        for name, task in dataset.tasks.items():
            try:
                label = dataset.load_checked_label(info, task, img.shape[:2])
            except (DataFileError, OSError) as error:
                errors.append(str(error))
                continue
            if label is not None:
                statistics[name].add(label)
    print(f'{type(dataset).__name__} {dataset.data_root}: {readable} of {number} pictures readable')
    if sizes:
        print(f'sizes (height, width): {min(sizes)} to {max(sizes)}')
    for entry in statistics.values():
        print(entry.report(readable))
    for error in errors[:_SHOWN]:
        print(f'ERROR {error}')
    if len(errors) > _SHOWN:
        rest = Path(f'check_dataset_{type(dataset).__name__}.txt')
        rest.write_text('\n'.join(errors) + '\n')
        print(f'... {len(errors)} errors in all, listed in {rest}')
    print('nothing is missing or broken' if not errors else f'{len(errors)} errors')
    return 1 if errors else 0
