"""How every tool gets its config: from a file, with the options of the command line."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from mtpeft.apis.data_options import set_data
from mtpeft.apis.unread import check_options
from mtpeft.utils.fits import ConfigError, ConfigKeyError
from mtpeft.utils.suggest import nearest


def add_config_arguments(
    parser: argparse.ArgumentParser, leave_out: Iterable[str] = (), example: str = ''
) -> None:
    """Add ``--data-root``, ``--tasks``, ``--size`` and ``--cfg-options``.

    Args:
        parser: Of the tool.
        leave_out: Names of options that the tool has in a sense of its own, such as ``'size'``.
        example: Of ``--cfg-options``, for the help.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_config_arguments(parser)
        >>> parser.parse_args(['--tasks', 'depth', 'edge', '--size', '64', '96']).tasks
        ['depth', 'edge']
    """
    group = parser.add_argument_group('the config')
    add = {
        'data_root': dict(metavar='DIR', help='folder of the data, for every data set'),
        'tasks': dict(nargs='+', metavar='NAME', help='tasks of data, model and evaluation'),
        'size': dict(nargs=2, type=_positive, metavar=('H', 'W'),
                     help='height and width of the pictures, for data and model'),
    }  # fmt: skip
    for name, options in add.items():
        if name not in leave_out:
            group.add_argument(f'--{name.replace("_", "-")}', **options)
    group.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='change any entry by its dotted name' + (f', e.g. {example}' if example else ''),
    )  # fmt: skip


def read_config(args: argparse.Namespace) -> Config:
    """The config that the options of :func:`add_config_arguments` and ``args.config`` say.

    Raises:
        SystemExit: there is no such file, or an option names what is not there or changes nothing;
            the nearest names are given.
    """
    names = ('data_root', 'tasks', 'size')
    try:
        return load_config(
            args.config, args.cfg_options, **{n: getattr(args, n, None) for n in names}
        )
    except (ConfigError, FileNotFoundError) as error:
        raise SystemExit(str(error)) from error


def load_config(
    path: str | Path,
    options: Mapping[str, Any] | None = None,
    data_root: str | None = None,
    tasks: Sequence[str] | None = None,
    size: Sequence[int] | None = None,
) -> Config:
    """Read a config, set folder, tasks and size, then single options.

    Args:
        path: Of the file.
        options: Values by dotted name, as of ``--cfg-options``.
        data_root: See :func:`~mtpeft.apis.data_options.set_data`.
        tasks: See there.
        size: See there.

    Raises:
        FileNotFoundError: there is no such file; the nearest names are given.
        ConfigError: an option cannot be set, or nothing reads it.

    Example:
        >>> load_config('configs/lora/lora_swin-pico_scenes.py', size=(64, 64))  # doctest: +SKIP
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: no such config. {_nearest_files(Path(path))}')
    cfg = Config.fromfile(str(path))
    if data_root is not None or tasks is not None or size is not None:
        set_data(cfg, data_root, tasks, size)
    check_options(cfg, options or {})
    _merge(cfg, options or {})
    return cfg


def _merge(cfg: Config, options: Mapping[str, Any]) -> None:
    """Change a config; MMEngine names neither the option nor what was there."""
    for name, value in options.items():
        try:
            cfg.merge_from_dict({name: value})
        except (KeyError, TypeError, AssertionError, IndexError, AttributeError) as error:
            said = error.args[0] if error.args else type(error).__name__
            raise ConfigKeyError(f'--cfg-options {name}={value}: {said}') from error


def _nearest_files(path: Path) -> str:
    """Configs with a similar name, in the folder that was named and in its neighbours."""
    folders = [path.parent, *path.parent.parent.glob('*/')] if path.parent.name else [path.parent]
    files = {p.name: p for folder in folders[::-1] if folder.is_dir() for p in folder.glob('*.py')}
    close = nearest(path.name, files, n=2, cutoff=0.6)
    if close:
        return f'Did you mean {" or ".join(str(files[name]) for name in close)}?'
    return f'(Looked from {Path.cwd()}; shipped configs are in configs/<method>/ of a checkout.)'


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a positive integer, got {text}')
    return int(text)
