"""What can be loaded or trained by its name alone."""

from fnmatch import fnmatch

from safetensors import safe_open

from mtpeft.models.backbones.pretrained import shipped_names
from mtpeft.utils.shipped import shipped_configs


def list_models(pattern: str = '*') -> list[str]:
    """Models that mtpeft ships (``'mtpeft:NAME'``), then configs, whose name matches.

    A shipped model is loaded by :func:`mtpeft.from_pretrained`. A config is trained by
    ``mtpeft train NAME``, and loaded with its checkpoint.

    Args:
        pattern: With ``*`` and ``?``, as for files.

    Example:
        >>> list_models('faar_efficientnet-lite2_scenes')
        ['faar_efficientnet-lite2_scenes']
        >>> list_models('mtpeft:*')
        ['mtpeft:faar_efficientnet-lite2_scenes']
    """
    models = [f'mtpeft:{name}' for name, path in shipped_names().items() if _is_model(path)]
    return [name for name in [*models, *shipped_configs()] if fnmatch(name, pattern)]


def _is_model(path: str) -> bool:
    """Is a file of weights a model, and not the base of one?"""
    with safe_open(path, framework='pt') as file:
        return 'tasks' in (file.metadata() or {})
