"""NYUDv2 with labels for four tasks."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_array, read_label, unit_vectors, whole_numbers
from mtpeft.datasets.folder import FolderDataset
from mtpeft.registry import DATASETS
from mtpeft.tasks import DenseTask, TaskSpec
from mtpeft.utils.suggest import hint

_TREE = """\
    images/ID.jpg
    gt_sets/{train,val}.txt
    segmentation/ID.png                  0 = ignored, else class + 1
    depth/ID.npy or .png (16 bits)       metres or millimetres, 0 = invalid
    normals/ID.npy or .png (RGB)
    edge/ID.npy"""
_UNITS = {'m': 1.0, 'mm': 0.001}
_FURTHEST = 100  # no room is 100 m deep, and nothing is only 10 cm away


@DATASETS.register_module()
class NYUDMT(FolderDataset):
    """NYUDv2 (Silberman et al., ECCV 2012) in the ``NYUD_MT`` layout of ASTMT (arXiv 1904.08918).

    795 / 654 pictures for training / validation. Labels: ``semseg`` (40 classes, 255 ignored),
    ``depth`` (metres, 0 invalid), ``normals`` (0 invalid) and ``edge``.

    Args:
        tasks: Task spec, see :func:`~mtpeft.tasks.build_tasks`.
        split: ``'train'`` or ``'val'``.
        data_root: The folder ``NYUD_MT``.
        depth_unit: ``'m'``, ``'mm'`` or ``'auto'``: the first depth map that has depth decides
            (a maximum over 100 means millimetres), the log says which, and a file of the other
            unit is an error.
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

    def __init__(
        self,
        tasks: TaskSpec,
        split: str = 'train',
        data_root: str = 'data/NYUD_MT',
        depth_unit: Literal['auto', 'm', 'mm'] = 'auto',
        normals_signs: tuple[int, int, int] = (1, 1, 1),
        **kwargs: Any,
    ) -> None:
        if depth_unit not in ('auto', *_UNITS):
            raise ValueError(
                f"depth_unit='{depth_unit}' is unknown. " + hint(depth_unit, ('auto', *_UNITS))
            )
        self.depth_unit = depth_unit
        self.normals_signs = np.asarray(normals_signs, np.float32)
        self._decided_by: Path | None = None
        super().__init__(tasks=tasks, split=split, data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        infos = super().load_data_list()
        depth = [task for task in self.tasks.values() if task.label_key == 'depth']
        if depth and self.depth_unit == 'auto':
            self._detect_unit(infos, depth[0])
        return infos

    def read_label(self, path: Path, info: dict, task: DenseTask) -> np.ndarray | None:
        if task.label_key == 'depth':
            return self._in_metres(read_depth(path), path)
        if task.label_key == 'normals':
            return unit_vectors(read_array(path), path) * self.normals_signs
        if task.label_key == 'semseg':
            return _shift_classes(read_array(path), task, path)
        label = read_label(path, task)
        if task.label_key == 'edge' and task.kind == 'binary':
            return _zero_or_one(label)
        return label

    def _detect_unit(self, infos: list[dict], task: DenseTask) -> None:
        for info in infos:
            path = self.label_path(info, task)
            try:
                furthest = read_depth(path).max(initial=0)
            except (DataFileError, FileNotFoundError):
                continue  # named when that picture is loaded
            if furthest > 0:
                self.depth_unit = 'mm' if furthest > _FURTHEST else 'm'
                self._decided_by = path
                print_log(
                    f'NYUDMT: depth is read as {"milli" * (self.depth_unit == "mm")}metres, since '
                    f'{path} reaches {furthest:g} (depth_unit sets it).',
                    logger='current',
                )
                return

    def _in_metres(self, depth: np.ndarray, path: Path) -> np.ndarray:
        furthest = depth.max(initial=0)
        unit = 'mm' if furthest > _FURTHEST else 'm'
        if self._decided_by is not None and furthest > 0 and unit != self.depth_unit:
            raise DataFileError(
                f'{path}: reaches {furthest:g}, which looks like {unit}, but {self._decided_by} '
                f"made the data set {self.depth_unit}. Convert the file, or set depth_unit='m' or "
                "'mm'."
            )
        return depth * np.float32(_UNITS.get(self.depth_unit, 1.0))


def read_depth(path: Path) -> np.ndarray:
    """Depth as it is stored, ``(H, W)`` float32.

    Raises:
        FileNotFoundError, DataFileError: naming the file.
    """
    depth = read_array(path)
    if depth.ndim != 2 or depth.dtype == np.uint8:
        raise DataFileError(
            f'{path}: expected depth (H, W) in floating point or 16-bit integers, got '
            f'{depth.shape} of {depth.dtype}.'
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
    masked = np.isin(edge, (0, 255)).all()
    return np.where(masked & (edge == 255), 1, edge).astype(np.uint8)


def _shift_classes(stored: np.ndarray, task: DenseTask, path: Path) -> np.ndarray:
    highest = stored.max(initial=0)
    if highest > task.channels:
        void = (
            ' A copy that counts classes from 0 and ignores 255 is another format: store class + 1 '
            'and 0.' if highest == 255 else ''
        )  # fmt: skip
        raise DataFileError(
            f'{path}: expected 0 (ignored) or class + 1 up to {task.channels} for task '
            f"'{task.name}', got {highest:g}. Set num_classes in the config's tasks if the copy "
            f'has more classes (NYUD_MT has 40), or export the labels again.{void}'
        )
    stored = whole_numbers(stored, path)
    return np.where(stored == 0, 255, stored.astype(np.int16) - 1).astype(np.uint8)
