"""The options a run is made with: as words of a command, as a fingerprint, and compared."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, DictAction

from mtpeft.adapters.plugins import plugin_items
from mtpeft.apis.data_options import RunData
from mtpeft.apis.read_config import load_config

#: Parts of a config that do not change the figures of a run. Delta_m is computed over the
#: baselines of the suite, and a config may be given those after its runs are made; figures are of
#: the last epoch, whichever checkpoints are kept, and however often a run was validated before.
_NO_FIGURES = ('work_dir', 'log_level', 'visualizer', 'vis_backends', 'launcher', 'resume',
               'default_hooks.logger', 'default_hooks.visualization', 'default_hooks.frequencies',
               'default_hooks.checkpoint.save_best', 'default_hooks.checkpoint.rule', 'baselines',
               'val_evaluator.baselines', 'test_evaluator.baselines', 'train_cfg.val_interval',
               'train_cfg.val_begin', 'train_cfg.dynamic_intervals')  # fmt: skip
_LOADING = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor')


class ChangedRecipeError(RuntimeError):
    """Runs in the work dir were made with other options than those asked for now."""


def flatten(options: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Options by dotted key, from nested or dotted ones.

    Example:
        >>> flatten({'train_cfg': {'max_epochs': 2}, 'a.b': 1})
        {'train_cfg.max_epochs': 2, 'a.b': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def option_words(options: Mapping[str, Any]) -> list[str]:
    """``KEY=VALUE`` as ``--cfg-options`` reads them.

    Raises:
        ValueError: a value that these words cannot say, such as a dict within a list.

    Example:
        >>> option_words({'train_cfg.max_epochs': 2, 'size': (32, 32)})
        ['train_cfg.max_epochs=2', 'size=(32,32)']
    """
    words = []
    for key, value in options.items():
        text = _text(value)
        if repr(DictAction._parse_iterable(text)) != repr(value):
            raise ValueError(
                f'Option {key}={value!r} cannot be said with --cfg-options. Change single values '
                f"within it by their position (such as '{key}.0.key'), or write a config."
            )
        words.append(f'{key}={text}')
    return words


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        left, right = '[]' if isinstance(value, list) else '()'
        return left + ','.join(map(_text, value)) + right
    return str(value)


def resolve(
    config: str, options: Mapping[str, Any], about: RunData | None = None
) -> dict[str, Any]:
    """Every option of a run by dotted key, without those that do not change its figures.

    Args:
        config: Path of its config.
        options: Changes by dotted key.
        about: Folder, tasks and size, over those of the config.

    Raises:
        Exception: whatever reading the config raises.
    """
    return resolved(load_config(config, options, **vars(about or RunData())))


def resolved(cfg: Config) -> dict[str, Any]:
    """What :func:`resolve` gives of a config that was read."""
    flat = _leaves(_without_plugin_names(cfg.to_dict()))
    return {key: value for key, value in flat.items() if _matters(key)}


def _without_plugin_names(cfg: dict[str, Any]) -> dict[str, Any]:
    """``cfg`` with plugins in a list: what they are called changes no figures."""
    model = cfg.get('model', {})
    for part in (part for part in model.values() if isinstance(part, dict)):
        if isinstance(part.get('plugins'), Mapping):
            part['plugins'] = list(plugin_items(part['plugins']).values())
    return cfg


def fingerprint(resolved: Mapping[str, Any]) -> str:
    """A short hash of what :func:`resolve` gives."""
    text = json.dumps(resolved, sort_keys=True, default=str)
    return 'sha256-' + hashlib.sha256(text.encode()).hexdigest()[:16]


def same(noted: Mapping[str, Any], resolved: Mapping[str, Any]) -> bool:
    """Whether options that were noted, maybe by an earlier version, give the figures of others."""
    return fingerprint({k: v for k, v in noted.items() if _matters(k)}) == fingerprint(resolved)


def difference(old: Mapping[str, Any], new: Mapping[str, Any], limit: int = 6) -> str:
    """What changed, such as ``'train_cfg.max_epochs: 8 -> 4'``."""
    old, new = (json.loads(json.dumps(x, default=str)) for x in (old, new))
    keys = [key for key in {**old, **new} if old.get(key, '-') != new.get(key, '-')]
    shown = [f'{key}: {old.get(key, "-")!r} -> {new.get(key, "-")!r}' for key in keys[:limit]]
    return '; '.join(shown) + (f'; and {len(keys) - limit} more' if len(keys) > limit else '')


def _leaves(value: Any, prefix: str = '') -> dict[str, Any]:
    """As :func:`flatten`, through lists that hold dicts too."""
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, Mapping) or not value:
        return {prefix.rstrip('.'): value}
    flat: dict[str, Any] = {}
    for key, child in value.items():
        flat.update(_leaves(child, f'{prefix}{key}.'))
    return flat


def _matters(key: str) -> bool:
    if any(key == part or key.startswith(f'{part}.') for part in _NO_FIGURES):
        return False
    first, _, rest = key.partition('.')
    return not (first.endswith('_dataloader') and rest in _LOADING)
