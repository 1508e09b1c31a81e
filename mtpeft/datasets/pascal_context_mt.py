"""PASCAL-Context with labels for five tasks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from skimage.morphology import thin

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_array, read_mat, read_text
from mtpeft.datasets.folder import FolderDataset
from mtpeft.datasets.human_parts import PERSON, read_human_parts
from mtpeft.datasets.labels import LabelFiles
from mtpeft.datasets.normals_classes import read_normals_classes
from mtpeft.datasets.vectors import unit_vectors, with_signs
from mtpeft.registry import DATASETS
from mtpeft.tasks import DenseTask, TaskSpec
from mtpeft.transforms.planes import fill_but
from mtpeft.utils.suggest import hint

_TREE = """\
    JPEGImages/ID.jpg
    ImageSets/Context/{train,val}.txt
    ImageSets/Parts/{train,val}.txt      which pictures show persons (JSON; may be absent)
    pascal-context/trainval/ID.mat       for edge (and for normals of some classes)
    semseg/VOC12/ID.png, else semseg/pascal-context/ID.png
    human_parts/ID.mat
    normals_distill/ID.png
    sal_distill/ID.png"""


@DATASETS.register_module()
class PASCALContextMT(FolderDataset):
    """PASCAL-Context in the ``PASCAL_MT`` layout of ASTMT (Maninis et al., arXiv 1904.08918).

    4998 / 5105 pictures for training / validation. Labels:

    - ``semseg``: 21 classes with background, 255 ignored.
    - ``human_parts``: background and six groups of parts of persons, see
      :mod:`~mtpeft.datasets.human_parts`. A picture without annotated persons has no label of
      this task. ``ImageSets/Parts`` (JSON: id to the class ids of its objects) says which; where
      it is absent, the annotation itself.
    - ``sal``: 1 where the distilled saliency exceeds 1/2.
    - ``normals``: distilled normals ``n = 2 x / 255 - 1``.
    - ``edge``: 1 where a pixel's class in the 459-class context map differs from that of its
      right or lower neighbour (one pixel wide); see ``edges``.

    Args:
        tasks: Task spec, see :func:`~mtpeft.tasks.build_tasks`.
        split: ``'train'`` or ``'val'``.
        data_root: The folder ``PASCAL_MT``.
        normals_classes: Context class ids (of the .mat files) whose normals count, a list or the
            path of a JSON file with one. ``None`` keeps every class. The published protocol keeps
            the classes that NYUD also has, by two JSON files of the original release that are not
            part of this package, ``nyu_classes.json`` and ``context_classes.json`` (names to ids):
            give the paths of both, or of the folder that holds them, to compare normals with the
            tables. Kept are the context classes whose names NYUD has too, but 'unknown', and
            'tvmonitor', as in the released code.
        edges: How the label of ``edge`` is made of the context map: ``'borders'``, as above, or
            ``'laplacian'``, as in the released code: where the Laplacian of the class *ids* is not
            0, thinned. That is two pixels wide before it is thinned, and misses a border now and
            then whose ids cancel out.
        normals_signs: Signs that turn the stored x, y, z into camera axes (x right, y down, z
            forward, so that visible surfaces have z < 0).
        **kwargs: ``label_paths``, ``check_files`` and ``cache_dir`` of
            :class:`~mtpeft.datasets.folder.FolderDataset`; ``pipeline``, ``seed``, ``missing`` and
            others of :class:`~mtpeft.datasets.MultiTaskDataset`.

    Raises:
        FileNotFoundError: the folder, the split or one of its files is missing.
        ValueError: an option has no meaning for this data set.

    Example:
        >>> PASCALContextMT(tasks=['semseg', 'sal'], data_root='no/such/folder')
        Traceback (most recent call last):
        FileNotFoundError: PASCALContextMT: data_root='no/such/folder' does not exist ...
    """

    SPLITS = 'ImageSets/Context/{split}.txt'
    IMAGES = ('JPEGImages/{id}.jpg',)
    PATTERNS = {
        'semseg': ('semseg/VOC12/{id}.png', 'semseg/pascal-context/{id}.png'),
        'human_parts': ('human_parts/{id}.mat',),
        'sal': ('sal_distill/{id}.png',),
        'normals': ('normals_distill/{id}.png',),
        'edge': ('pascal-context/trainval/{id}.mat',),
    }
    TREE = _TREE
    LAYOUT = 'PASCALContextMT'

    def __init__(
        self,
        tasks: TaskSpec,
        split: str = 'train',
        data_root: str = 'data/PASCAL_MT',
        normals_classes: Sequence[int] | Sequence[str] | str | None = None,
        normals_signs: tuple[int, int, int] = (1, 1, 1),
        edges: Literal['borders', 'laplacian'] = 'borders',
        **kwargs: Any,
    ) -> None:
        if edges not in _EDGES:
            raise ValueError(f"edges='{edges}' is unknown. " + hint(str(edges), _EDGES))
        self.edges = edges
        self.normals_classes = read_normals_classes(normals_classes)
        self.normals_signs = np.asarray(normals_signs, np.float32)
        self._persons: frozenset[str] | None = None
        super().__init__(tasks=tasks, split=split, data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        self._persons = _pictures_with_persons(
            Path(self.data_root) / 'ImageSets' / 'Parts' / f'{self.split}.txt'
        )
        return super().load_data_list()

    def has_label(self, info: dict, task: DenseTask) -> bool:
        if task.label_key == 'human_parts' and self._persons is not None:
            if info['img_id'] not in self._persons:
                return False
        return super().has_label(info, task)

    def read_label(self, path: Path, info: dict, task: DenseTask) -> np.ndarray | None:
        if task.label_key == 'human_parts' and path.suffix == '.mat':
            return read_human_parts(path)
        if task.label_key == 'edge' and path.suffix == '.mat':
            return _EDGES[self.edges](self._context(info))
        if task.label_key == 'sal':
            return (_grey(read_array(path, palette=False), path) > 127).astype(np.uint8)
        if task.label_key == 'normals':
            return self._normals(path, info)
        return super().read_label(path, info, task)

    def cached_as(self, path: Path, task: DenseTask) -> str | None:
        kinds = dict(human_parts='human_parts')
        if self.files['edge'] == LabelFiles.of(self.PATTERNS['edge']):  # else not of `path`
            kinds['edge'] = f'edge-{self.edges}'
        return kinds.get(task.label_key) if path.suffix == '.mat' else None

    def uses_cache(self, path: Path, task: DenseTask) -> bool:
        by_class = self.normals_classes is not None and task.label_key == 'normals'
        return super().uses_cache(path, task) or (self.cache is not None and by_class)

    def _normals(self, path: Path, info: dict) -> np.ndarray:
        normals = with_signs(unit_vectors(read_array(path), path), self.normals_signs)
        if self.normals_classes is not None:
            context = self._context(info)
            if context.shape != normals.shape[:2]:
                raise DataFileError(
                    f'{path}: the normals are {normals.shape[:2]}, the context map {context.shape}.'
                )
            fill_but(normals, np.isin(context, self.normals_classes), 0)
        return normals

    def _context(self, info: dict) -> np.ndarray:
        path = self._find(LabelFiles.of(self.PATTERNS['edge']).path, info['img_id'])
        if self.cache is not None and self.normals_classes is not None:
            return self.cache.get('context', info['img_id'], path, lambda: _label_map(path))
        return _label_map(path)


def _label_map(path: Path) -> np.ndarray:
    context = read_mat(path, 'LabelMap')
    if context.ndim != 2:
        raise DataFileError(f'{path}: expected LabelMap to be (H, W), got {context.shape}.')
    return context


def class_borders(classes: np.ndarray) -> np.ndarray:
    """1 where a pixel's class differs from that of its right or lower neighbour, ``(H, W)``.

    Example:
        >>> class_borders(np.array([[1, 1, 2, 2]])).tolist()
        [[0, 1, 0, 0]]
    """
    edge = np.zeros(classes.shape, np.uint8)
    edge[:, :-1] |= classes[:, :-1] != classes[:, 1:]
    edge[:-1] |= classes[:-1] != classes[1:]
    return edge


def laplacian_edges(classes: np.ndarray) -> np.ndarray:
    """1 where the Laplacian of the class ids is not 0, thinned to a line, ``(H, W)``.

    Example:
        >>> classes = np.zeros((5, 6), np.uint16)
        >>> classes[:, 3:] = 9
        >>> laplacian_edges(classes)[1:].sum(1).tolist()  # one pixel of two, but at an end
        [1, 1, 1, 1]
    """
    laplacian = cv2.Laplacian(classes.astype(np.float64), cv2.CV_64F)
    return thin(laplacian != 0).astype(np.uint8)


_EDGES = {'borders': class_borders, 'laplacian': laplacian_edges}


def _grey(array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype != np.uint8 or array.ndim != 2:
        raise DataFileError(
            f'{path}: expected a grey 8-bit picture (H, W), got {array.shape} of {array.dtype}.'
        )
    return array


def _pictures_with_persons(path: Path) -> frozenset[str] | None:
    if not path.is_file():
        return None
    try:
        objects = json.loads(read_text(path))
        return frozenset(i for i, classes in objects.items() if PERSON in classes)
    except (ValueError, AttributeError, TypeError) as error:
        raise DataFileError(
            f'{path}: expected JSON of picture ids to lists of class ids, got something else '
            f'({error}). Remove the file to look into the annotations instead.'
        ) from error
