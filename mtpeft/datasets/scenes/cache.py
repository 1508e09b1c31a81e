"""Keeping rendered pictures: in memory, or in a folder that processes share."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from mmengine.logging import print_log

from mtpeft.datasets.scenes.source import SceneSource
from mtpeft.utils.atomic import write_atomically
from mtpeft.utils.suggest import is_slip

STORED = ('image', 'scene_class', 'part', 'instance', 'depth', 'normals', 'albedo', 'shading')


class NoCache:
    """Render every time."""

    def __init__(self, source: SceneSource, names: Sequence[str]) -> None:
        self.source = source
        self.names = tuple(names)

    def get(self, index: int) -> SimpleNamespace:
        """The buffers ``names`` of picture ``index``, to be read only."""
        rendering = self.source.render(index)
        return SimpleNamespace(**{name: getattr(rendering, name) for name in self.names})


class MemoryCache(NoCache):
    """Keep the buffers ``names``, each process its own (about 25 bytes a pixel for six tasks)."""

    def __init__(self, source: SceneSource, names: Sequence[str]) -> None:
        super().__init__(source, names)
        self._kept: dict[int, SimpleNamespace] = {}

    def get(self, index: int) -> SimpleNamespace:
        if index not in self._kept:
            self._kept[index] = super().get(index)
        return self._kept[index]


class FolderCache(NoCache):
    """Keep all buffers in ``FOLDER/scenes-KEY/INDEX.npz``; the key holds every option.

    Files are written whole or not at all, so that any number of processes may share the folder. A
    damaged file is named in a warning and rendered again.
    """

    def __init__(self, source: SceneSource, names: Sequence[str], folder: str | Path) -> None:
        super().__init__(source, names)
        self.folder = Path(folder) / f'scenes-{source.key()}'
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            options = json.dumps(asdict(source), indent=2).encode()
            write_atomically(options, self.folder / 'options.json')
        except OSError as error:
            raise OSError(
                f"cache='{folder}': cannot write there ({error}). Name a folder you may write to, "
                "or set cache='memory' or None."
            ) from error

    def get(self, index: int) -> SimpleNamespace:
        path = self.folder / f'{index:07d}.npz'
        if path.is_file():
            try:
                return self._read(path)
            # Damage shows as any of a dozen exceptions of zipfile, zlib and NumPy.
            except Exception as error:
                print_log(
                    f'{path}: damaged ({type(error).__name__}: {error}); rendered again.',
                    logger='current', level=30,
                )  # fmt: skip
        rendering = self.source.render(index)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: getattr(rendering, name) for name in STORED})
        write_atomically(buffer.getvalue(), path)
        return SimpleNamespace(**{name: getattr(rendering, name) for name in self.names})

    def _read(self, path: Path) -> SimpleNamespace:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in self.names}
        for name, array in arrays.items():
            if array.shape[:2] != self.source.size:
                raise ValueError(f'{name} is {array.shape}, expected {self.source.size}')
        return SimpleNamespace(**arrays)


def open_cache(source: SceneSource, names: Sequence[str], cache: str | Path | None) -> NoCache:
    """The cache that ``cache`` means: ``None``, ``'memory'`` or a folder."""
    if cache is None:
        return NoCache(source, names)
    if is_slip(str(cache), 'memory'):
        raise ValueError(
            f"cache='{cache}' is nearly 'memory', which it may mean; a folder of that name is "
            f"'./{cache}'."
        )
    if cache == 'memory':
        return MemoryCache(source, names)
    return FolderCache(source, names, cache)
