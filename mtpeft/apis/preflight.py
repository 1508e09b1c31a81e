"""Mistakes in a config that can be named before anything is built.

One walk over the config compares everything that the Runner, torch and our classes build with the
signatures of what is built: names of options, types at any depth, choices and bounds
(:mod:`mtpeft.utils.options`, :mod:`mtpeft.utils.fits`). What is cheap is then built once, on trial,
so that what a class itself refuses has its place in the config, too.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from mmengine import registry as root
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mtpeft.apis.built_parts import check_built
from mtpeft.apis.engine_options import DEFAULT_HOOKS, READ, RUN
from mtpeft.apis.tasks_agree import check_best, check_tasks
from mtpeft.apis.unread import check_variables
from mtpeft.utils.fits import ConfigError, ConfigKeyError, check_fits
from mtpeft.utils.suggest import hint, nearest, one_slip


def check_config(cfg: Config) -> None:
    """Check what the Runner builds: types, options and their values, and that its parts agree.

    Of configs of another default scope only the variables of their files are looked at; the rest
    is left to their own package.

    Args:
        cfg: The whole config.

    Raises:
        ConfigError: a mistake; its place in the config, what was expected, what came and the
            nearest names are given. An unknown type is a ``KeyError`` as well, an unknown option
            or a value of another type a ``TypeError``.
    """
    check_variables(cfg)
    values = cfg.to_dict()
    if _scope(values) != 'mtpeft':
        return
    with DefaultScope.overwrite_default_scope('mtpeft'):
        _check_names(values)
        for name, annotation in RUN.items():
            if name in values:
                check_fits(values[name], annotation, name, check_built)
        _check_parts(values)
        check_tasks(values)
        check_best(values)
        _check_load_from(values)


def _scope(cfg: Mapping) -> str:
    """The package whose names the config means."""
    scope = cfg.get('default_scope', 'mtpeft')
    check_fits(scope, str, 'default_scope', check_built)
    known = {'mmengine', 'mtpeft', *root.MODELS.children, *root.HOOKS.children}
    if scope not in known and not (scope.isidentifier() and find_spec(scope)):
        raise ConfigKeyError(
            f"default_scope: expected the name of an installed package, got '{scope}'. "
            + hint(scope, known)
        )
    return scope


def _check_names(cfg: Mapping) -> None:
    """A name that the Runner does not read, but that is nearly one that it reads, is a slip."""
    _check_slips(cfg, READ, '', 'nothing reads this', 'A variable of your own')
    hooks = cfg.get('default_hooks')
    if isinstance(hooks, Mapping):
        # MMEngine would add its own beside it: two schedulers, two checkpoints
        own = 'A hook of your own'
        _check_slips(hooks, DEFAULT_HOOKS, 'default_hooks.', 'no default hook', own)
    if 'model' not in cfg and any(name.endswith('_dataloader') for name in cfg):
        raise ConfigKeyError(f'model: missing. {hint("model", cfg)}')


def _check_slips(
    table: Mapping, known: tuple[str, ...], at: str, what: str, own: str
) -> None:  # fmt: skip
    missing = [key for key in known if key not in table]
    for name in [name for name in table if name not in known]:
        slip = one_slip(name, known)
        close = [slip] if slip else nearest(name, missing, cutoff=0.8)
        if close:
            raise ConfigKeyError(
                f"{at}{name}: {what}. Did you mean '{close[0]}'? {own} needs another name."
            )


def _check_parts(cfg: Mapping) -> None:
    """What the Runner wants whole or not at all."""
    groups = [('train_dataloader', 'train_cfg', 'optim_wrapper')]
    groups += [tuple(f'{s}_{part}' for part in ('dataloader', 'cfg', 'evaluator'))
               for s in ('val', 'test')]  # fmt: skip
    for group in groups:
        there = [name for name in group if cfg.get(name) is not None]
        if there and len(there) < len(group):
            absent = [name for name in group if name not in there]
            raise ConfigError(
                f'{", ".join(absent)}: missing, while {", ".join(there)} '
                f'{"is" if len(there) == 1 else "are"} there. The Runner needs all of them, or '
                'none.'
            )
    for split in ('val', 'test'):
        if (cfg.get(f'{split}_dataloader') or {}).get('drop_last'):
            raise ConfigError(
                f'{split}_dataloader.drop_last: expected False, got True, which would leave '
                'pictures out of the evaluation.'
            )
    hooks = cfg.get('default_hooks') or {}
    if cfg.get('param_scheduler') and hooks.get('param_scheduler', True) is None:
        raise ConfigError(
            'default_hooks.param_scheduler: None, so nothing would step param_scheduler. Set '
            'param_scheduler=None as well, or leave the hook on.'
        )
    if cfg.get('param_scheduler') is not None and cfg.get('optim_wrapper') is None:
        raise ConfigError('optim_wrapper: missing, while param_scheduler is there.')


def _check_load_from(cfg: Mapping) -> None:
    path = cfg.get('load_from')
    path = path['checkpoint'] if isinstance(path, Mapping) else path
    if path and '://' not in path and not Path(path).expanduser().exists():
        raise ConfigError(f"load_from: there is no file '{path}'.")
