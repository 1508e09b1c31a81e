"""How every command gets its config: from a file, with the options of the command line."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mtpeft.apis.data_options import set_data
from mtpeft.apis.unread import check_options
from mtpeft.utils.fits import ConfigError, ConfigKeyError
from mtpeft.utils.shipped import find_config


def read_config(args: argparse.Namespace) -> Config:
    """The config that ``args.config`` and the options of :mod:`mtpeft.cli.config_arguments` say.

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
        path: Of the file, or the name of a config that mtpeft ships
            (:func:`~mtpeft.utils.shipped.find_config`).
        options: Values by dotted name, as of ``--cfg-options``.
        data_root: See :func:`~mtpeft.apis.data_options.set_data`.
        tasks: See there.
        size: See there.

    Raises:
        FileNotFoundError: there is no such file; the nearest names are given.
        ConfigError: an option cannot be set, or nothing reads it.

    Example:
        >>> load_config('lora_swin-pico_scenes', size=(64, 64))  # doctest: +SKIP
    """
    cfg = Config.fromfile(find_config(path))
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
