"""The command ``mtpeft``: each of its commands is a module of this package.

A module of a command has ``DESCRIPTION``, ``add_arguments(parser)`` and ``run(args)``, which gives
the exit status or ``None`` for 0. It imports what is heavy when it runs, so that help comes at
once. A package with a table ``COMMANDS`` of its own is a group: ``mtpeft data check``.
"""

import sys
from collections.abc import Sequence

from mtpeft.cli.dispatch import dispatch

DESCRIPTION = 'Parameter-efficient multi-task fine-tuning for dense prediction.'

#: name of a module here -> what it does, for the list of commands
COMMANDS = {
    'train': 'train the model of a config',
    'test': 'evaluate a checkpoint',
    'predict': 'predict pictures, folders, videos',
    'demo': 'a page in the browser: drop a picture, see maps',
    'compare': 'train several methods under one recipe, and write their table',
    'report': 'one HTML file about a run or a suite',
    'params': 'count parameters by what they are for',
    'data': 'check, draw, make data sets',
    'publish': 'write what a run has trained as one small file',
    'merge': 'write a trained model with its adapters in the weights',
    'export': 'write a trained model as ONNX or as a program of torch.export',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Words behind ``mtpeft``. ``None``: those of this process.

    Returns:
        The exit status.

    Raises:
        SystemExit: a command ends with a message, or an option is wrong.

    Example:
        >>> main(['trian'])
        2
    """
    return dispatch('mtpeft', sys.argv[1:] if argv is None else argv)


def run_script(*command: str) -> None:
    """What a script of tools/ does: a command, with the options of this process.

    Args:
        *command: Its name, such as ``'data', 'check'``.

    Raises:
        SystemExit: the exit status is not 0.
    """
    status = main([*command, *sys.argv[1:]])
    if status:
        raise SystemExit(status)
