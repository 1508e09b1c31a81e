"""From the words of a command line to the module that runs them."""

import argparse
import logging
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from mtpeft.cli.quiet import quiet
from mtpeft.utils.details import log_detail, show_reports
from mtpeft.utils.suggest import hint

_HELP = ('-h', '--help')
_PACKAGE = 'mtpeft.cli'


def dispatch(name: str, words: Sequence[str]) -> int:
    """Run the command that the first words name.

    Args:
        name: What was said so far: ``'mtpeft'``, or a group such as ``'mtpeft data'``.
        words: The words behind it.

    Returns:
        The exit status: 2 where no command is named, or one that does not exist.
    """
    group = import_module('.'.join([_PACKAGE, *name.split()[1:]]))
    first, rest = (words[0], words[1:]) if words else ('', [])
    if not words or first in _HELP:
        print(overview(name, group))
        return 0 if words else 2
    if first == '--version' and name == 'mtpeft':
        from mtpeft.cli.versions import versions

        print(versions())
        return 0
    known = commands_of(group)
    if first not in known:
        print(f"{name}: there is no command '{first}'. {hint(first, known)}", file=sys.stderr)
        return 2
    loud = {'-v', '--verbose'} & set(rest)
    with nullcontext() if loud else quiet():  # libraries warn when they are imported, too
        module = import_module(f'{group.__name__}.{first}')
    if hasattr(module, 'COMMANDS'):
        return dispatch(f'{name} {first}', rest)
    return call(f'{name} {first}', module, rest)


def commands_of(group: ModuleType) -> dict[str, str]:
    """Commands of a group that are there, and what each does."""
    return {n: text for n, text in group.COMMANDS.items() if find_spec(f'{group.__name__}.{n}')}


def overview(name: str, group: ModuleType) -> str:
    """The help of a group, from its table alone."""
    known = commands_of(group)
    width = max(map(len, known))
    lines = [f'usage: {name} COMMAND ...', '', group.DESCRIPTION, '', 'commands:']
    lines += [f'  {command:<{width}}  {text}' for command, text in known.items()]
    lines += ['', f'{name} COMMAND --help says more.']
    if name == 'mtpeft':
        lines.append(f'{name} --version prints the versions that matter.')
    return '\n'.join(lines)


def call(name: str, module: ModuleType, words: Sequence[str]) -> int:
    """Run a command's module; the exit status."""
    parser = argparse.ArgumentParser(
        prog=name, description=module.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    module.add_arguments(parser)
    parser.add_argument(
        '-v', '--verbose', action='store_true', help='show reports and warnings of libraries too'
    )
    args = parser.parse_args(list(words))
    show_reports(args.verbose)
    if args.verbose:
        return module.run(args) or 0
    with quiet():
        try:
            return module.run(args) or 0
        except Exception as error:
            if not _is_in_words(error):
                raise
            _say(error)
            return 1


def _is_in_words(error: Exception) -> bool:
    """Is it about what a user gave, and says so? (Of others, where it was raised matters.)"""
    return isinstance(error, FileNotFoundError) or type(error).__module__.startswith('mtpeft.')


def _say(error: Exception) -> None:
    """The text on the terminal; where it was raised in the log file, if there is one yet."""
    trace = ''.join(traceback.format_exception(error))
    log_detail(trace, logging.ERROR)
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    print(f'{type(error).__name__}: {text}', file=sys.stderr)
