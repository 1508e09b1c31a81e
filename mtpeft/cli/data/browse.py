"""``mtpeft data browse``."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from mmengine.registry import init_default_scope

from mtpeft.apis.read_config import read_config
from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.datasets import DataFileError, MultiTaskDataset
from mtpeft.registry import DATASETS
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.visualizer import photograph

DESCRIPTION = 'Draw samples of a data set after its transforms, one row a picture.'

_CAPTION = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument('--out', default='browse', help='folder of the pictures')
    parser.add_argument('--number', type=int, default=8, help='how many pictures')
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train')
    parser.add_argument('--epoch', type=int, default=0, help='epoch of the augmentation')
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write ``DIR/NUMBER_ID.png``; 1 if the data set cannot be built."""
    try:
        dataset = build_dataset(args)
    except (DataFileError, OSError, KeyError, TypeError, ValueError) as error:
        print(f'ERROR {error}')
        return 1
    dataset.set_epoch(args.epoch)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(min(args.number, len(dataset))):
        grid, name = draw(dataset, index)
        path = folder / f'{index:04d}_{name}.png'
        if not cv2.imwrite(str(path), grid[..., ::-1]):
            raise OSError(f'{path}: cannot be written.')
        print(path)
    return 0


def build_dataset(args: argparse.Namespace) -> MultiTaskDataset:
    """The data set of a config's ``{split}_dataloader``."""
    config = read_config(args)
    init_default_scope(config.get('default_scope', 'mtpeft'))
    loader = config.get(f'{args.split}_dataloader')
    if loader is None:
        raise ValueError(f'The config has no {args.split}_dataloader.')
    return DATASETS.build(loader['dataset'])


def draw(dataset: MultiTaskDataset, index: int) -> tuple[np.ndarray, str]:
    """The picture and its labels side by side, ``(H, W, 3)`` RGB, and the picture's id."""
    packed = dataset[index]
    sample = packed['data_samples']
    img = photograph(packed['inputs'])
    cells = [_caption(img, 'input')]
    for name, task in dataset.tasks.items():
        label = sample.get_gt(name)
        if label is None:
            cells.append(_caption(np.zeros_like(img), f'{name}: no label'))
            continue
        drawn = colorize(task, label.numpy().transpose(1, 2, 0))
        if drawn.shape != img.shape:
            drawn = cv2.resize(drawn, img.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        cells.append(_caption(drawn, name))
    return np.concatenate(cells, 1), str(sample.get('img_id', index)).replace('/', '_')


def _caption(img: np.ndarray, text: str) -> np.ndarray:
    bar = np.full((_CAPTION, img.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([bar, np.ascontiguousarray(img)], 0)
