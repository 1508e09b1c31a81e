"""NYUDv2 with labels for four tasks."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log

from mtpeft.datasets import conventions
from mtpeft.datasets.conventions import FURTHEST, UNITS, Guess
from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_array
from mtpeft.datasets.folder import FolderDataset
from mtpeft.datasets.vectors import with_signs
from mtpeft.registry import DATASETS
from mtpeft.tasks import DenseTask, TaskSpec
from mtpeft.utils.kinds import Positive
from mtpeft.utils.suggest import hint

_TREE = """\
    images/ID.jpg
    gt_sets/{train,val}.txt
    segmentation/ID.png                  0 = ignored, else class + 1
    depth/ID.npy or .png (16 bits)       metres, millimetres or others, 0 = invalid
    normals/ID.npy or .png (RGB)
    edge/ID.npy"""
_CLASSES = 40


@DATASETS.register_module()
class NYUDMT(FolderDataset):
    """NYUDv2 (Silberman et al., ECCV 2012) in the ``NYUD_MT`` layout of ASTMT (arXiv 1904.08918).

    795 / 654 pictures for training / validation. Labels: ``semseg`` (40 classes, 255 ignored),
    ``depth`` (metres, 0 invalid), ``normals`` (0 invalid) and ``edge``.

    Args:
        tasks: Task spec, see :func:`~mtpeft.tasks.build_tasks`.
        split: ``'train'`` or ``'val'``.
        data_root: The folder ``NYUD_MT``.
        depth_unit: ``'m'``, ``'mm'``, the metres of one step (``1 / 5000``), or ``'auto'``: the
            maps of all splits are told by how far they reach
            (:func:`~mtpeft.datasets.conventions.depth_unit`), the log says which, and a file that
            does not fit is an error.
        first_class: The number that stands for the first class of semseg: 1 (0 is ignored, as in
            the layout), 0 (255 is ignored), or ``'auto'``: the labels of all splits tell, the log
            says what they do. Where they leave it open it is 1 for the 40 classes of the layout,
            and an error for another number of them.
        normals_signs: Signs that turn the stored x, y, z into camera axes (x right, y down, z
            forward, so that visible surfaces have z < 0).
        **kwargs: ``label_paths`` and ``check_files`` of
            :class:`~mtpeft.datasets.folder.FolderDataset`; ``pipeline``, ``seed``, ``missing`` and
            others of :class:`~mtpeft.datasets.MultiTaskDataset`.

    Raises:
        FileNotFoundError: the folder, the split or one of its files is missing.
        ValueError: an option has no meaning for this data set.

    Example:
        >>> NYUDMT(tasks=['semseg', 'depth'], data_root='no/such/folder')
        Traceback (most recent call last):
        FileNotFoundError: NYUDMT: data_root='no/such/folder' does not exist ...
    """

    SPLITS = 'gt_sets/{split}.txt'
    IMAGES = ('images/{id}.jpg', 'images/{id}.png')
    PATTERNS = {
        'semseg': ('segmentation/{id}.png',),
        'depth': ('depth/{id}.npy', 'depth/{id}.png'),
        'normals': ('normals/{id}.npy', 'normals/{id}.png'),
        'edge': ('edge/{id}.npy',),
    }
    TREE = _TREE
    LAYOUT = 'NYUDMT'

    def __init__(
        self,
        tasks: TaskSpec,
        split: str = 'train',
        data_root: str = 'data/NYUD_MT',
        depth_unit: Literal['auto', 'm', 'mm'] | Positive = 'auto',
        first_class: Literal['auto', 0, 1] = 'auto',
        normals_signs: tuple[int, int, int] = (1, 1, 1),
        **kwargs: Any,
    ) -> None:
        self.depth_unit = _checked_unit(depth_unit)
        if first_class not in ('auto', 0, 1):
            raise ValueError(f"Expected first_class to be 0, 1 or 'auto', got {first_class!r}.")
        self.first_class = first_class
        self.normals_signs = np.asarray(normals_signs, np.float32)
        self._told: Guess | None = None
        super().__init__(tasks=tasks, split=split, data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        infos = super().load_data_list()
        tasks = {task.label_key: task for task in self.tasks.values()}
        depth, semseg = tasks.get('depth'), tasks.get('semseg')
        if depth and self.depth_unit == 'auto' and self._says_nothing(depth):
            self._told = conventions.depth_unit(self._some(depth, infos), read_depth)
            self._say(self._told)
        if semseg and semseg.kind == 'classes' and self.first_class == 'auto':
            if self._says_nothing(semseg):
                usual = 1 if semseg.channels == _CLASSES else None
                told = conventions.first_class(
                    self._some(semseg, infos), semseg.channels, read_array, usual
                )  # fmt: skip
                self.first_class = told.value if told else 1
                self._say(told)
        return infos

    def read_label(self, path: Path, info: dict, task: DenseTask) -> np.ndarray | None:
        key = task.label_key
        if key == 'depth' and self._says_nothing(task):
            return self._in_metres(read_depth(path, self.depth_unit), path)
        if key == 'normals':
            return with_signs(super().read_label(path, info, task), self.normals_signs)
        if key == 'semseg' and task.kind == 'classes' and self._says_nothing(task):
            return self._classes(path, task)
        label = super().read_label(path, info, task)
        if key == 'edge' and task.kind == 'binary' and self._says_nothing(task):
            return _zero_or_one(label)
        return label

    def _says_nothing(self, task: DenseTask) -> bool:
        """Whether the config has no word on what the files of a label mean."""
        files = self.files[task.label_key]
        return files == type(files)(files.path)

    def _some(self, task: DenseTask, infos: list[dict]) -> list[Path]:
        """Files of a label: of all splits, or of this one where names have folders in them."""
        found = conventions.files_like(Path(self.data_root), self.files[task.label_key].path)
        return found or conventions.some_of([self.label_path(info, task) for info in infos])

    def _say(self, told: Guess | None) -> None:
        if told is not None:
            print_log(f'{type(self).__name__}: {told.text}', logger='current')

    def _in_metres(self, depth: np.ndarray, path: Path) -> np.ndarray:
        furthest = depth.max(initial=0)
        if self._told is None:
            if self.depth_unit == 'auto' and furthest > FURTHEST:
                raise DataFileError(
                    f'{path}: reaches {furthest:g}, and no other map told the unit: state '
                    "depth_unit: 'mm', or the metres of a step."
                )
            step = 1.0 if self.depth_unit == 'auto' else self.depth_unit
            return depth * np.float32(UNITS.get(step, step))
        metres = self._told.value == 1
        if furthest > 0 and (furthest <= FURTHEST) != metres:
            raise DataFileError(
                f'{path}: reaches {furthest:g}, which looks like {"mm" if metres else "m"}, but by '
                f'{self._told.path} a step is {self._told.value:g} m. Convert the file, or state '
                "depth_unit: 'm', 'mm' or the metres of a step."
            )
        return depth * np.float32(self._told.value)

    def _classes(self, path: Path, task: DenseTask) -> np.ndarray:
        first = 1 if self.first_class == 'auto' else self.first_class
        stored = read_array(path)
        highest = stored.max(initial=0)
        if first == 1 and highest > task.channels:
            void = (
                ' A copy that counts classes from 0 and ignores 255 is first_class=0.'
                if highest == 255 else ''
            )  # fmt: skip
            raise DataFileError(
                f'{path}: expected 0 (ignored) or class + 1 up to {task.channels} for task '
                f"'{task.name}', got {highest:g}. Set num_classes in the config's tasks if the "
                f'copy has more classes (NYUD_MT has 40), or export the labels again.{void}'
            )
        return replace(self.files['semseg'], first_class=first).decode(stored, task, path)


def _checked_unit(unit: str | float) -> str | float:
    number = isinstance(unit, int | float) and not isinstance(unit, bool)
    if number and np.isfinite(unit) and unit > 0:
        return float(unit)
    if unit not in ('auto', *UNITS):
        raise ValueError(
            f'depth_unit={unit!r} is unknown; metres of a step is a number above 0. '
            + hint(str(unit), ('auto', *UNITS))
        )
    return unit


def read_depth(path: Path, unit: str | float = 'auto') -> np.ndarray:
    """Depth as it is stored, ``(H, W)`` float32.

    Raises:
        FileNotFoundError, DataFileError: naming the file.
    """
    depth = read_array(path, palette=False)
    eight = depth.dtype == np.uint8 and not isinstance(unit, float)
    if depth.ndim != 2 or eight or depth.dtype == bool:
        raise DataFileError(
            f'{path}: expected depth (H, W) in floating point or 16-bit integers, got '
            f'{depth.shape} of {depth.dtype}.'
            + (' (8 bits need depth_unit, the metres of a step.)' if eight else '')
        )
    depth = depth.astype(np.float32)
    if not np.isfinite(depth).all() or (depth < 0).any():
        unknown, negative = int((~np.isfinite(depth)).sum()), int((depth < 0).sum())
        raise DataFileError(
            f'{path}: {negative} depth values are negative and {unknown} NaN or infinite. Mark '
            'pixels without depth with 0.'
        )
    return depth


def _zero_or_one(edge: np.ndarray) -> np.ndarray:
    """Edges of 0 and 255 as 0 and 1: no pixel of this format is ignored."""
    if edge.max(initial=0) <= 1:
        return edge.astype(np.uint8, copy=False)
    masked = np.isin(edge, (0, 255)).all()
    return np.where(masked & (edge == 255), 1, edge).astype(np.uint8)
