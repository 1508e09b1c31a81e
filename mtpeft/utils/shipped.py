"""Configs and scripts that come with mtpeft, found by name from any folder."""

import os
from functools import cache
from pathlib import Path

from mtpeft.utils.suggest import nearest

_PACKAGE = Path(__file__).resolve().parents[1]
_SCOPE = 'mtpeft::'


@cache
def shipped_root() -> Path:
    """The folder of ``configs/`` and ``tools/``: the checkout, or ``.mim`` of an installed package.

    (``.mim`` is where OpenMMLab's packages have theirs, and where MMEngine looks.)
    """
    checkout = _PACKAGE.parent
    is_checkout = (checkout / 'setup.py').is_file() and (checkout / 'configs').is_dir()
    return checkout if is_checkout else _PACKAGE / '.mim'


def find_config(name: str | os.PathLike) -> str:
    """The path of a config.

    A file of that path comes first, then the configs that mtpeft ships, by name: with or without
    their folder, with or without ``.py``.

    Args:
        name: A path, or such as ``'lora_swin-pico_scenes'`` or ``'mtpeft::lora/NAME.py'``.

    Returns:
        The path, relative to the working directory where the file is below it.

    Raises:
        FileNotFoundError: neither; the nearest names are given.

    Example:
        >>> Path(find_config('lora_swin-pico_scenes')).parts[-3:]
        ('configs', 'lora', 'lora_swin-pico_scenes.py')
    """
    name = os.fspath(name)
    if os.path.isfile(name):
        return name
    known = shipped_configs()
    wanted = name.removeprefix(_SCOPE).removesuffix('.py').removeprefix('configs/')
    path = known.get(wanted.rsplit('/', 1)[-1])
    if path is None or not path.with_suffix('').as_posix().endswith(f'/{wanted}'):
        raise FileNotFoundError(f'{name}: no such config. {_nearest(name, known)}')
    return _from_here(path)


def shipped_configs() -> dict[str, Path]:
    """The configs that can be run, by name.

    Example:
        >>> 'lora_swin-pico_scenes' in shipped_configs()
        True
    """
    files = sorted((shipped_root() / 'configs').glob('[!_]*/*.py'))
    return {path.stem: path for path in files if path.parent.name != 'suites'}


def _from_here(path: Path) -> str:
    """Short where it can be: configs and logs are easier to read."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _nearest(name: str, known: dict[str, Path]) -> str:
    """Configs with a similar name: in the folder that was named, its neighbours, the shipped."""
    path = Path(name)
    folders = [path.parent, *path.parent.parent.glob('*/')] if path.parent.name else [path.parent]
    files = {p.name: str(p) for folder in folders[::-1] if folder.is_dir()
             for p in folder.glob('*.py')}  # fmt: skip
    close = nearest(path.name, files, n=2, cutoff=0.6)
    if close:
        return f'Did you mean {" or ".join(files[found] for found in close)}?'
    close = nearest(path.name.removesuffix('.py'), known, n=3, cutoff=0.6)
    if close:
        return f'Did you mean {" or ".join(close)}?'
    return (
        f'(Looked from {Path.cwd()}, and among the {len(known)} configs that mtpeft ships, in '
        f'{shipped_root() / "configs"}.)'
    )
