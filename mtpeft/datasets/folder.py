"""Data sets whose pictures and labels are files in folders, listed by a split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtpeft.datasets.base import MultiTaskDataset
from mtpeft.datasets.files import read_image, turned_by_exif
from mtpeft.datasets.label_cache import LabelCache
from mtpeft.datasets.labels import LabelFiles, Patterns, check_pattern
from mtpeft.datasets.layout import FolderIndex, check_root, read_split
from mtpeft.tasks import DenseTask


class FolderDataset(MultiTaskDataset):
    """Base of the data sets that read folders.

    A subclass gives the patterns of its files; ``{id}`` stands for the picture, ``{split}`` for
    the split. Several patterns are tried in their order. (:class:`~mtpeft.datasets.FolderMT` takes
    them from a config.)

    Args:
        tasks: Task spec, see :func:`~mtpeft.tasks.build_tasks`.
        split: Name of the split, e.g. ``'train'``.
        data_root: Folder of the data.
        label_paths: ``{label key: files}``, relative to ``data_root``: other places of known
            labels, or labels of tasks of your own, read by the task's kind. Files are a pattern,
            several, or a dict of the options of :class:`~mtpeft.datasets.labels.LabelFiles`, such
            as ``dict(path='depth/{id}.png', scale=0.001)``.
        check_files: Check at the start that every file of the split exists.
        exif_rotation: Turn pictures as their EXIF orientation says: for labels that were drawn on
            what viewers show. (Inference by the same config then does so, too.)
        cache_dir: A folder in which labels that are slow to read (:meth:`cached_as`) are kept as
            :class:`~mtpeft.datasets.label_cache.LabelCache` does. ``None``: they are read anew each
            time. ``mtpeft data cache`` fills it beforehand.
        **kwargs: See :class:`~mtpeft.datasets.MultiTaskDataset`.

    Raises:
        OSError: nothing can be written into ``cache_dir``.
        FileNotFoundError: the folder, the split or a file of the split is missing.
        ValueError: the split is empty, or the data set has no label for a task.
    """

    SPLITS = '{split}.txt'
    IMAGES: tuple[str, ...] = ()
    PATTERNS: Mapping[str, Patterns | Mapping | LabelFiles] = {}
    TREE = ''
    LAYOUT: str | None = None
    """Key of :data:`~mtpeft.datasets.layout.MARKERS`, by which the folder is recognised."""

    def __init__(
        self,
        tasks: Any,
        split: str,
        data_root: str,
        label_paths: Mapping[str, Patterns | Mapping] | None = None,
        check_files: bool = True,
        exif_rotation: bool = False,
        cache_dir: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        self.cache = None if cache_dir is None else LabelCache(cache_dir)
        specs = {**self.PATTERNS, **(label_paths or {})}
        self.files = {key: LabelFiles.of(spec) for key, spec in specs.items()}
        for pattern in self.IMAGES:
            check_pattern(pattern)
        self.LABELS = tuple(self.files)
        self.split = split
        self.check_files = check_files
        self.exif_rotation = exif_rotation
        self._index, self._listing = FolderIndex(), False
        self._found: dict[str, Any] = {}
        super().__init__(tasks=tasks, data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        check_root(type(self).__name__, root, self.TREE, self.LAYOUT)
        self._index, self._listing = FolderIndex(), True
        infos = [self._info(name) for name in self.list_names()]
        if self.check_files:
            self._check_files(infos)
        # workers need no listings of theirs, but for names that are spelt otherwise
        self._index, self._listing = FolderIndex(), False
        return infos

    def split_source(self) -> Path:
        """What lists the pictures of the split."""
        return Path(self.data_root) / self.SPLITS.format(split=self.split)

    def list_names(self) -> list[str]:
        """The names of the pictures in the split."""
        return read_split(self.split_source())

    def load_image(self, info: dict) -> np.ndarray:
        return read_image(info['img_path'], self.exif_rotation)

    def load_label(self, info: dict, task: DenseTask) -> np.ndarray | None:
        path = self.label_path(info, task)
        if self.allow_missing_labels and not path.is_file():
            return None
        kind = self.cached_as(path, task)
        if self.cache is None or kind is None:
            return self.read_label(path, info, task)
        return self.cache.get(kind, info['img_id'], path, lambda: self.read_label(path, info, task))

    def cached_as(self, path: Path, task: DenseTask) -> str | None:
        """A name of what :meth:`read_label` makes of the file, with the options that change it.

        ``None``: it is quick to read, and not kept in ``cache_dir``. It has to depend on this file
        alone.
        """
        return None

    def uses_cache(self, path: Path, task: DenseTask) -> bool:
        """Whether reading this label reads from ``cache_dir``, or writes into it."""
        return self.cache is not None and self.cached_as(path, task) is not None

    def read_label(self, path: Path, info: dict, task: DenseTask) -> np.ndarray | None:
        """The label in the file ``path``; a subclass knows its own formats."""
        return self.files[task.label_key].read(path, task)

    def label_path(self, info: dict, task: DenseTask) -> Path:
        """The file of a label: the first pattern that exists, else the first."""
        if self._listing:
            return self._find(self.files[task.label_key].path, info['img_id'])
        if self._found.get('') != info['img_id']:
            self._found = {'': info['img_id']}  # of one picture, which asks several times
        if task.label_key not in self._found:
            path = self._find(self.files[task.label_key].path, info['img_id'])
            self._found[task.label_key] = path
        return self._found[task.label_key]

    def label_exists(self, info: dict, task: DenseTask) -> bool:
        # without the option every file has been looked for
        return not self.allow_missing_labels or self.label_path(info, task).is_file()

    def label_source(self, info: dict, task: DenseTask) -> str:
        return str(self.label_path(info, task))

    def size_advice(self, info: dict, label: np.ndarray, size: tuple[int, int]) -> str:
        if label.shape[:2] == size[::-1] and not self.exif_rotation:
            if turned_by_exif(info['img_path']):
                return (
                    f'EXIF turns {info["img_path"]} by a quarter, and the label was drawn on what '
                    'viewers show: set exif_rotation=True of the data sets.'
                )
        return super().size_advice(info, label, size)

    def _info(self, name: str) -> dict:
        path = self._find(self.IMAGES, name)
        if not path.is_file():
            # a list of files instead of names
            for suffix in {Path(pattern).suffix for pattern in self.IMAGES}:
                stem = name[: -len(suffix)] if name.lower().endswith(suffix.lower()) else ''
                if stem and self._find(self.IMAGES, stem).is_file():
                    return dict(img_id=stem, img_path=str(self._find(self.IMAGES, stem)))
        return dict(img_id=name, img_path=str(path))

    def _find(self, patterns: Sequence[str], img_id: str) -> Path:
        root = Path(self.data_root)
        paths = [root / pattern.format(id=img_id, split=self.split) for pattern in patterns]
        exact = None if self._listing else next((p for p in paths if p.is_file()), None)
        return exact or self._index.first(paths)

    def _check_files(self, infos: list[dict]) -> None:
        wanted = [Path(info['img_path']) for info in infos]
        if not self.allow_missing_labels:
            wanted += [
                self.label_path(info, task)
                for task in self.tasks.values()
                for info in infos
                if self.has_label(info, task)
            ]
        missing = [path for path in wanted if not self._index.has(path)]
        if missing:
            shown = '\n'.join(f'    {path}' for path in missing[:5])
            more = f'\n    ... {len(missing)} in all' if len(missing) > 5 else ''
            raise FileNotFoundError(
                f'{self.split_source()} has pictures whose files are missing:\n{shown}{more}\n'
                f'{self._columns(infos, missing)}'
                'Complete the data (docs/data_preparation.md), take the pictures out of the split, '
                'or set allow_missing_labels=True when it is labels that some pictures lack. '
                '`mtpeft data check` lists every file.'
            )

    def _columns(self, infos: list[dict], missing: list[Path]) -> str:
        """Names of several files in a line, as lists of other packages have them."""
        first = next((i['img_id'] for i in infos if Path(i['img_path']) in set(missing)), '')
        words = first.split()
        return (
            f"A line is one name, also with spaces in it; '{first}' looks like {len(words)} of "
            'them: leave one.\n'
            if len(words) > 1 else ''
        )  # fmt: skip
