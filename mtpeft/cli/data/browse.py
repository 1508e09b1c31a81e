"""``mtpeft data browse``."""

import argparse
from pathlib import Path

from mmengine.registry import init_default_scope

from mtpeft.apis.read_config import read_config
from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.datasets import DataFileError, MultiTaskDataset
from mtpeft.registry import DATASETS
from mtpeft.visualization.comparison import TRUTH, draw_comparison
from mtpeft.visualization.panels import with_margin
from mtpeft.visualization.sheet import Sheet
from mtpeft.visualization.visualizer import array_of, photograph

DESCRIPTION = 'Draw samples of a data set after its transforms, one row a picture.'


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
        drawn, name = draw(dataset, index)
        path = folder / f'{index:04d}_{name}.png'
        drawn.save(path)
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


def draw(dataset: MultiTaskDataset, index: int) -> tuple[Sheet, str]:
    """The picture, its labels, and what their colours mean; and the picture's id."""
    packed = dataset[index]
    sample, image = packed['data_samples'], photograph(packed['inputs'])
    labels = {name: array_of(label) for name, label in sample.gt.items()}
    drawn = draw_comparison(dataset.tasks, image, {TRUTH: labels} if labels else {})
    return with_margin(drawn), str(sample.get('img_id', index)).replace('/', '_')
