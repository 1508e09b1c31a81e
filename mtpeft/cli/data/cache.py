"""``mtpeft data cache``."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress
from torch.utils.data import DataLoader, Dataset

from mtpeft.apis.read_config import read_config
from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.datasets import DataFileError, PASCALContextMT
from mtpeft.datasets.folder import FolderDataset
from mtpeft.registry import DATASETS

DESCRIPTION = """Read slow labels once, and keep them as files that are quick to read.

    mtpeft data cache mtlora-r64_swin-t_pascal --workers 4
    mtpeft data cache data/PASCAL_MT

These are the .mat files of PASCAL-Context: parts of persons, and context maps, of which edges are
made. The labels are the same to the bit. A run uses the folder by the option that is printed at the
end; a source that changes is read again, a damaged entry is named and made again. Several of these
commands, and runs, may share the folder. A stopped command goes on where it was.
"""

_FOLDER = 'label_cache'
_SPLITS = ('train', 'val', 'test')


class _Entries(Dataset):
    """Fills the cache of a data set, picture by picture."""

    def __init__(self, dataset: FolderDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, list[str]]:
        """How many labels of a picture were kept, and what was wrong with others."""
        info = self.dataset.get_data_info(index)
        kept, wrong = 0, []
        for task in self.dataset.tasks.values():
            if self.dataset.has_label(info, task):
                try:
                    path = self.dataset.label_path(info, task)
                    if path.is_file() and self.dataset.uses_cache(path, task):
                        self.dataset.load_label(info, task)
                        kept += 1
                except (DataFileError, OSError) as error:
                    wrong.append(str(error))
        return kept, wrong


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='path or name of a config, or a folder like PASCAL_MT')
    parser.add_argument(
        '--cache-dir', type=Path, help=f'folder to write (default: {_FOLDER} in that of the data)'
    )
    parser.add_argument('--workers', type=int, default=0, help='processes that read (default: 0)')
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fill the cache of every split; 1 if a file cannot be read."""
    folder, kept, wrong = None, 0, []
    try:
        for dataset in _datasets(args):
            folder = args.cache_dir
            entries = DataLoader(
                _Entries(dataset), batch_size=None, num_workers=args.workers, collate_fn=_as_it_is
            )
            print(f'{dataset.split}: {len(dataset)} pictures')
            for number, errors in track_iter_progress((iter(entries), len(dataset))):
                kept, wrong = kept + number, wrong + errors
            print()
    except (DataFileError, OSError, KeyError, TypeError, ValueError) as error:
        print(f'ERROR {error}')
        return 1
    for error in wrong:
        print(f'ERROR {error}')
    if not kept:
        print('No label of these data sets is slow to read: nothing is kept.')
    else:
        print(f'{kept} labels are in {folder}. A run reads them with\n    {_options(args, folder)}')
    return 1 if wrong else 0


def _as_it_is(entry: tuple) -> tuple:
    return entry


def _options(args: argparse.Namespace, folder: Path) -> str:
    parts = [f'{split}_dataloader.dataset.cache_dir={folder}' for split in ('train', 'val')]
    return '--cfg-options ' + ' '.join(parts)


def _datasets(args: argparse.Namespace) -> Iterator[FolderDataset]:
    """The data sets of a config, each once, or of a folder in the layout of PASCAL-Context."""
    if Path(args.config).is_dir():
        root = Path(args.config)
        args.cache_dir = args.cache_dir or root / _FOLDER
        lists = sorted((root / 'ImageSets' / 'Context').glob('*.txt'))
        for split in [path.stem for path in lists] or ['train']:
            yield PASCALContextMT(
                tasks=['human_parts', 'edge'], split=split, data_root=str(root),
                check_files=False, cache_dir=args.cache_dir,
            )  # fmt: skip
        return
    config = read_config(args)
    init_default_scope(config.get('default_scope', 'mtpeft'))
    specs = []
    for split in _SPLITS:
        spec = _spec(config, split)
        if spec is not None and spec not in specs:
            specs.append(spec)
    if not specs:
        raise ValueError('The config has no data set of files in folders, so none is slow to read.')
    for spec in specs:
        args.cache_dir = args.cache_dir or Path(spec.get('data_root', '.')) / _FOLDER
        yield DATASETS.build({**spec, 'cache_dir': str(args.cache_dir)})


def _spec(config: Config, split: str) -> dict | None:
    dataset = (config.get(f'{split}_dataloader') or {}).get('dataset')
    target = DATASETS.get(dataset['type']) if dataset else None
    if not isinstance(target, type) or not issubclass(target, FolderDataset):
        return None
    whole = dict(check_files=False, pipeline=[], missing=0.0, indices=None, test_mode=False)
    return {**dataset, **whole}
