"""Options of every command that takes a config."""

import argparse
from collections.abc import Iterable

from mmengine.config import DictAction

from mtpeft.utils.launchers import LAUNCHERS


def add_config_arguments(
    parser: argparse.ArgumentParser, leave_out: Iterable[str] = (), example: str = ''
) -> None:
    """Add ``--data-root``, ``--tasks``, ``--size`` and ``--cfg-options``.

    :func:`mtpeft.apis.read_config.read_config` reads them.

    Args:
        parser: Of the command.
        leave_out: Names of options that the command has in a sense of its own, such as ``'size'``.
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
        'size': dict(nargs=2, type=positive, metavar=('H', 'W'),
                     help='height and width of the pictures, for data and model'),
    }  # fmt: skip
    for name, options in add.items():
        if name not in leave_out:
            group.add_argument(f'--{name.replace("_", "-")}', **options)
    group.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='change any entry by its dotted name' + (f', e.g. {example}' if example else ''),
    )  # fmt: skip


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher`` and what torchrun passes on."""
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def positive(text: str) -> int:
    """A number of at least 1, for ``type=`` of an option.

    Raises:
        ArgumentTypeError: it is none.

    Example:
        >>> positive('64')
        64
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a positive integer, got {text}')
    return int(text)
