"""Mistakes in a config that can be named before anything is built."""

from collections.abc import Iterator, Mapping

from mmengine.config import Config

from mtpeft.registry import DATASETS, EVALUATOR, HOOKS, MODELS, VISUALIZERS, Registry, check


def check_config(cfg: Config) -> None:
    """Check the types and options of what the Runner itself builds.

    The Runner builds model, data sets, evaluators, hooks and visualizer through MMEngine's root
    registries, whose messages name no valid names. Configs of another default scope are left to
    their own package.

    Args:
        cfg: The whole config.

    Raises:
        KeyError: an unknown type; the entry of the config and the nearest names are given.
        TypeError: an unknown option, likewise.
        ValueError: ``data_root`` was changed where nothing reads it.
    """
    if cfg.get('default_scope', 'mtpeft') != 'mtpeft':
        return
    _check_data_root(cfg)
    for where, entry, registry in _entries(cfg):
        if not isinstance(entry, Mapping) or not isinstance(entry.get('type'), str):
            continue
        options = {k: v for k, v in entry.items() if k != 'priority'}
        try:
            check(options, registry)
        except (KeyError, TypeError) as error:
            raise type(error)(f'{where}: {error.args[0]}') from None


def _check_data_root(cfg: Config) -> None:
    """The variable at the top of a file of a data set is read before --cfg-options are applied."""
    found = {
        f'{split}_dataloader.dataset.data_root': cfg[f'{split}_dataloader'].dataset.get('data_root')
        for split in ('train', 'val', 'test')
        if isinstance(cfg.get(f'{split}_dataloader'), Mapping)
        and isinstance(cfg[f'{split}_dataloader'].get('dataset'), Mapping)
    }
    found = {key: root for key, root in found.items() if root is not None}
    root = cfg.get('data_root')
    if root is None or not found or root in found.values():
        return
    options = ' '.join(f'{key}={root}' for key in found)
    raise ValueError(
        f"data_root='{root}' changes nothing: the data sets have "
        f'{", ".join(sorted(set(map(repr, found.values()))))}, since the variable was read before '
        f'the option was set. Give --cfg-options {options}, or make a link.'
    )


def _entries(cfg: Config) -> Iterator[tuple[str, Mapping | None, Registry]]:
    """(place in the config, entry, registry) of what the Runner builds."""
    yield 'model', cfg.get('model'), MODELS
    yield 'visualizer', cfg.get('visualizer'), VISUALIZERS
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, Mapping):
            yield f'{split}_dataloader.dataset', loader.get('dataset'), DATASETS
        evaluator = cfg.get(f'{split}_evaluator')
        if isinstance(evaluator, Mapping) and 'metrics' in evaluator:
            yield f'{split}_evaluator', evaluator, EVALUATOR
    for name, hook in (cfg.get('default_hooks') or {}).items():
        yield f'default_hooks.{name}', hook, HOOKS
    for index, hook in enumerate(cfg.get('custom_hooks') or ()):
        yield f'custom_hooks.{index}', hook, HOOKS
