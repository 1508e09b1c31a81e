"""Draw samples of a data set after its transforms, one row a picture.

python tools/misc/browse_dataset.py CONFIG [--out DIR] [--number N] [--split train|val|test]
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from mmengine.registry import init_default_scope

from mtpeft.apis.read_config import add_config_arguments, read_config
from mtpeft.datasets import DataFileError, MultiTaskDataset
from mtpeft.registry import DATASETS
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.visualizer import photograph

_CAPTION = 20


def main(args: list[str] | None = None) -> int:
    """Write ``DIR/NUMBER_ID.png`` for the first pictures of the config's data set.

    Returns:
        The exit status: 1 if the data set cannot be built.
    """
    options = parse_args(args)
    try:
        dataset = build_dataset(options)
    except (DataFileError, OSError, KeyError, TypeError, ValueError) as error:
        print(f'ERROR {error}')
        return 1
    dataset.set_epoch(options.epoch)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(min(options.number, len(dataset))):
        grid, name = draw(dataset, index)
        path = folder / f'{index:04d}_{name}.png'
        if not cv2.imwrite(str(path), grid[..., ::-1]):
            raise OSError(f'{path}: cannot be written.')
        print(path)
    return 0


def build_dataset(options: argparse.Namespace) -> MultiTaskDataset:
    """The data set of a config's ``{split}_dataloader``."""
    config = read_config(options)
    init_default_scope(config.get('default_scope', 'mtpeft'))
    loader = config.get(f'{options.split}_dataloader')
    if loader is None:
        raise ValueError(f'The config has no {options.split}_dataloader.')
    return DATASETS.build(loader['dataset'])


def parse_args(args: list[str] | None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', default='browse', help='folder of the pictures')
    parser.add_argument('--number', type=int, default=8, help='how many pictures')
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train')
    parser.add_argument('--epoch', type=int, default=0, help='epoch of the augmentation')
    add_config_arguments(parser)
    return parser.parse_args(args)


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


if __name__ == '__main__':
    sys.exit(main())
