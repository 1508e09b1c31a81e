"""Folder, tasks and picture size of a run, set in every place of a config that has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from mtpeft.apis.task_options import mappings, set_tasks
from mtpeft.utils.fits import ConfigError
from mtpeft.utils.type_names import type_name

_SPLITS = ('train', 'val', 'test')
#: options that hold (height, width), and MMCV's that hold (width, height)
_SIZES = ('size', 'crop_size')
_TURNED = 'scale'


@dataclass(frozen=True)
class RunData:
    """Options of a tool that say what a run is about; ``None``: as the config has it.

    Args:
        data_root: Folder of the data.
        tasks: Names of the tasks.
        size: Height and width of the pictures.

    Example:
        >>> RunData(tasks=('depth', 'edge'), size=(64, 96)).words()
        ['--tasks', 'depth', 'edge', '--size', '64', '96']
    """

    data_root: str | None = None
    tasks: tuple[str, ...] | None = None
    size: tuple[int, ...] | None = None

    def words(self) -> list[str]:
        """The words of a command line."""
        said = []
        if self.data_root is not None:
            said += ['--data-root', self.data_root]
        for name in ('tasks', 'size'):
            value = getattr(self, name)
            said += [] if value is None else [f'--{name}', *map(str, value)]
        return said


def set_data(
    cfg: Config,
    data_root: str | None = None,
    tasks: Sequence[str] | None = None,
    size: Sequence[int] | None = None,
) -> Config:
    """Set what a run is about, in data loaders, evaluators, model and hooks alike.

    Args:
        cfg: The config; it is changed.
        data_root: Folder of the data, of every data set.
        tasks: Names, in their order. What the config says of a task is kept; one that it does not
            have has the options of its type. Tables by task, such as baselines, lose the others;
            without a baseline for each task there is no Delta_m.
        size: Height and width of the pictures that the model gets, in pixels.

    Returns:
        ``cfg``.

    Raises:
        ConfigError: a data loader has no folder or no size that could be set, or a task is not
            known (the nearest names are given).

    Example:
        >>> loader = dict(dataset=dict(type='NYUDMT', data_root='a', tasks=['depth']))
        >>> set_data(Config(dict(val_dataloader=loader)), 'b').val_dataloader.dataset.data_root
        'b'
    """
    if tasks is not None:
        set_tasks(cfg, tasks)
    for split in _SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader is None:
            continue
        place = f'{split}_dataloader.dataset'
        if data_root is not None and not _set_root(loader, str(data_root)):
            kind = type_name(loader.get('dataset'))
            raise ConfigError(
                f'--data-root: {place} ({kind}) has no data_root, so it reads no folder. Take a '
                'config of data in files, such as configs/*/*_nyud.py.'
            )
        if size is not None and not _set_sizes(loader, tuple(size)):
            raise ConfigError(
                f'--size: nothing of {place} has a size. Put dict(type="MTResize", size=(H, W)) '
                'into its pipeline.'
            )
    if size is not None and isinstance(cfg.get('model'), Mapping):
        _set_model_size(cfg.model, tuple(size))
    # the variables that they came from, for whoever reads the config that a run writes
    given = dict(
        data_root=data_root, tasks=tasks and cfg.model.get('tasks'), size=size and tuple(size)
    )
    for name, value in given.items():
        if value is not None and name in cfg:
            cfg[name] = value
    return cfg


# -- folder and size -------------------------------------------------------------------------------


def _set_root(loader: Any, folder: str) -> bool:
    found = [spec for spec in mappings(loader) if 'data_root' in spec]
    for spec in found:
        spec['data_root'] = folder
    return bool(found)


def _set_sizes(loader: Any, size: tuple[int, ...]) -> bool:
    found = 0
    for spec in mappings(loader):
        for key in _SIZES:
            if 'type' in spec and spec.get(key) is not None:
                spec[key] = size
                found += 1
        if type_name(spec) == 'Resize' and spec.get(_TURNED) is not None:
            spec[_TURNED] = size[::-1]
            found += 1
    return found > 0


def _set_model_size(model: Any, size: tuple[int, ...]) -> None:
    for spec in mappings(model):
        if spec.get('img_size') is not None:
            spec['img_size'] = size
    preprocessor = model.get('data_preprocessor')
    if isinstance(preprocessor, Mapping) and preprocessor.get('size') is not None:
        preprocessor['size'] = size
