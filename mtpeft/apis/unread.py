"""Options that change nothing, since nothing reads them any more.

A config is a program: where a data set was given ``data_root``, the variable has been read, and to
change it later changes no data set.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mtpeft.apis.engine_options import READ
from mtpeft.utils.fits import ConfigError, ConfigKeyError
from mtpeft.utils.suggest import hint

#: variables of the files of data sets, each with the option of the tools that sets all its places
FLAGS = {'data_root': '--data-root DIR', 'tasks': '--tasks NAME ...', 'size': '--size H W'}
#: what else is done with such a variable
_WAYS = {'epochs': 'train_cfg.max_epochs', 'baselines': 'val_evaluator.baselines',
         'vis_backends': 'visualizer.vis_backends',
         'train_pipeline': 'train_dataloader.dataset.pipeline',
         'test_pipeline': 'test_dataloader.dataset.pipeline'}  # fmt: skip


def check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse options of ``--cfg-options`` that the Runner does not read.

    In a config with ``custom_imports`` code of its own may read them, so there it is a warning.

    Raises:
        ConfigKeyError: an option that nothing reads; what to do and the nearest names are given.

    Example:
        >>> check_options(Config(), {'trian_cfg.max_epochs': 2})
        Traceback (most recent call last):
        ...
        mtpeft.utils.fits.ConfigKeyError: trian_cfg.max_epochs: nothing reads this. Did you mean ...
    """
    for option, value in options.items():
        name = option.split('.')[0]
        if value is None and option.split('.')[-2:-1] == ['tasks']:
            raise ConfigKeyError(
                f'{option}=None: a task is left out everywhere, or nowhere. Give the names of '
                f'those that stay: {FLAGS["tasks"]}.'
            )
        if name in READ:
            continue
        text = f'{option}: {_why(name, cfg)}'
        if cfg.get('custom_imports') is None or name in FLAGS:
            raise ConfigKeyError(text)
        print_log(f'{text} (Code of your own may.)', logger='current')


def check_variables(cfg: Config) -> None:
    """Refuse a folder, tasks or a size that was set where nothing reads it.

    That is a variable at the top that was changed after its file was read, or that the run's own
    file sets and does not use, where no data set and no model has its value.

    Raises:
        ConfigError: such a variable; the option that sets all places is named.
    """
    path = Path(str(cfg.filename or ''))
    if path.suffix != '.py' or not path.is_file():
        return
    values = cfg.to_dict()
    suspects = [name for name in FLAGS if name in values and not _is_used(name, values)]
    unused = set(_unused(path)) if suspects else set()
    before = Config.fromfile(path).to_dict() if suspects else {}
    for name in suspects:
        if name in unused or _plain(before.get(name)) != _plain(values[name]):
            raise ConfigError(f'{name}={_short(values[name])} at the top: {_why(name, cfg)}')


def _why(name: str, cfg: Mapping) -> str:
    if name in FLAGS:
        return (
            'changes nothing: data sets, evaluators and model took their values when the file was '
            f'read. Give {FLAGS[name]}, which sets all of them, or set each by its own place.'
        )
    if name in _WAYS and name in cfg:
        return (
            'changes nothing, since this variable was read with its file. Set what took its '
            f'value: {_WAYS[name]}.'
        )
    if name in cfg:
        return (
            'changes nothing: it is a variable, which was read with its file. Set what took its '
            'value.'
        )
    return f'nothing reads this. {hint(name, READ)}'


def _is_used(name: str, cfg: Mapping) -> bool:
    """Whether a data set or the model has the value of a variable."""
    wanted = _plain(cfg[name])
    loaders = [cfg.get(f'{split}_dataloader') for split in ('train', 'val', 'test')]
    found = list(_values(name, [cfg.get('model'), *loaders]))
    return wanted in [_plain(value) for value in found]


def _values(name: str, node: Any) -> Iterator[Any]:
    """Everything called ``name`` in a config, at any depth."""
    if isinstance(node, Mapping):
        if node.get(name) is not None:
            yield node[name]
        node = list(node.values())
    for inner in node if isinstance(node, list | tuple) else ():
        yield from _values(name, inner)


def _unused(path: Path) -> Iterator[str]:
    """Names that a file sets at its top for the files below it, and never reads.

    A file that stands on no other changes nothing of one: what MMEngine dumps holds variables that
    its parts need not follow.
    """
    tree = ast.parse(path.read_text(encoding='utf-8'))
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    if not {'_base_', 'read_base'} & {node.id for node in names}:
        return
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield from [node.id] if node.id not in read else ()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _short(value: Any) -> str:
    text = ', '.join(value) if isinstance(value, Mapping) else repr(value)
    return text if len(text) < 60 else text[:57] + '...'
