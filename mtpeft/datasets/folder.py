"""Data sets whose pictures and labels are files in folders, listed by a split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtpeft.datasets.base import MultiTaskDataset
from mtpeft.datasets.files import read_image, read_label
from mtpeft.datasets.layout import FolderIndex, check_root, read_split
from mtpeft.tasks import DenseTask

Patterns = str | Sequence[str]


class FolderDataset(MultiTaskDataset):
    """Base of the data sets that read folders.

    A subclass gives the patterns of its files; ``{id}`` stands for the picture. Several patterns
    are tried in their order.

    Args:
        tasks: Task spec, see :func:`~mtpeft.tasks.build_tasks`.
        split: Name of the split, e.g. ``'train'``.
        data_root: Folder of the data.
        label_paths: ``{label key: pattern or patterns}``, relative to ``data_root``: other places
            of known labels, or labels of tasks of your own, read by the task's kind (classes and
            binary: integers in .png or .npy; values: .npy; vectors: .npy or RGB .png).
        check_files: Check at the start that every file of the split exists.
        **kwargs: See :class:`~mtpeft.datasets.MultiTaskDataset`.

    Raises:
        FileNotFoundError: the folder, the split or a file of the split is missing.
        ValueError: the split is empty, or the data set has no label for a task.
    """

    SPLITS = '{split}.txt'
    IMAGES: tuple[str, ...] = ()
    PATTERNS: Mapping[str, tuple[str, ...]] = {}
    TREE = ''

    def __init__(
        self,
        tasks: Any,
        split: str,
        data_root: str,
        label_paths: Mapping[str, Patterns] | None = None,
        check_files: bool = True,
        **kwargs: Any,
    ) -> None:
        self.patterns = dict(self.PATTERNS)
        for key, patterns in (label_paths or {}).items():
            self.patterns[key] = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        self.LABELS = tuple(self.patterns)
        self.split = split
        self.check_files = check_files
        super().__init__(tasks=tasks, data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        check_root(type(self).__name__, root, self.TREE)
        split = root / self.SPLITS.format(split=self.split)
        index = FolderIndex()
        infos = [
            dict(img_id=img_id, img_path=str(self._find(self.IMAGES, img_id, index)))
            for img_id in read_split(split)
        ]
        if self.check_files:
            self._check_files(infos, index, split)
        return infos

    def load_image(self, info: dict) -> np.ndarray:
        return read_image(info['img_path'])

    def load_label(self, info: dict, task: DenseTask) -> np.ndarray | None:
        path = self.label_path(info, task)
        if self.allow_missing_labels and not path.is_file():
            return None
        return self.read_label(path, info, task)

    def read_label(self, path: Path, info: dict, task: DenseTask) -> np.ndarray | None:
        """The label in the file ``path``; a subclass knows its own formats."""
        return read_label(path, task)

    def label_path(self, info: dict, task: DenseTask) -> Path:
        """The file of a label: the first pattern that exists, else the first."""
        return self._find(self.patterns[task.label_key], info['img_id'])

    def label_exists(self, info: dict, task: DenseTask) -> bool:
        # without the option every file has been looked for
        return not self.allow_missing_labels or self.label_path(info, task).is_file()

    def label_source(self, info: dict, task: DenseTask) -> str:
        return str(self.label_path(info, task))

    def _find(self, patterns: Sequence[str], img_id: str, index: FolderIndex | None = None) -> Path:
        paths = [Path(self.data_root) / pattern.format(id=img_id) for pattern in patterns]
        for path in paths:
            if index.has(path) if index else path.is_file():
                return path
        return paths[0]

    def _check_files(self, infos: list[dict], index: FolderIndex, split: Path) -> None:
        wanted = [Path(info['img_path']) for info in infos]
        if not self.allow_missing_labels:
            wanted += [
                self._find(self.patterns[task.label_key], info['img_id'], index)
                for task in self.tasks.values()
                for info in infos
                if self.has_label(info, task)
            ]
        missing = [path for path in wanted if not index.has(path)]
        if missing:
            shown = '\n'.join(f'    {path}' for path in missing[:5])
            more = f'\n    ... {len(missing)} in all' if len(missing) > 5 else ''
            raise FileNotFoundError(
                f'{split} names pictures whose files are missing:\n{shown}{more}\n'
                'Complete the data (docs/data_preparation.md), take the pictures out of the split, '
                'or set allow_missing_labels=True when it is labels that some pictures lack. '
                'tools/misc/check_dataset.py lists every file.'
            )
