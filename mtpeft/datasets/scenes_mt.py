"""The embedded, procedural data set."""

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np

from mtpeft.datasets.base import MultiTaskDataset
from mtpeft.datasets.scenes import BUFFERS, LABEL_SPACES, SceneSource, make_label, open_cache
from mtpeft.registry import DATASETS
from mtpeft.tasks import DenseTask, TaskSpec
from mtpeft.utils.kinds import Index, MemoryOrFolder, Range, Size
from mtpeft.utils.suggest import hint

_CLASSES = {'human_parts': 7}


@DATASETS.register_module()
class ScenesMT(MultiTaskDataset):
    """Random furnished rooms with people, ray-cast with exact labels; nothing to download.

    Picture ``index`` depends on ``(seed, index)`` and the options below only: the same arrays in
    every process and in any order. Labels (``DenseTask.label_key``):

    - ``semseg``: PASCAL VOC's numbers of the things (room, cabinets, boxes and others are
      background), or the 40 NYUD classes; see :mod:`mtpeft.datasets.scenes.classes`.
    - ``human_parts``: 0, and the six part groups wherever a person is seen.
    - ``sal``: the one thing with the largest visible area times centrality, see
      :func:`~mtpeft.datasets.scenes.labels.salient_instance`.
    - ``normals``: camera axes x right, y down, z forward, turned to the camera.
    - ``depth``: metres along the optical axis (not along the ray).
    - ``edge``: 1 where the right or lower neighbour shows another thing or face of the room.
    - ``albedo`` ``(H, W, 3)`` RGB and ``shading`` ``(H, W)``: the picture is their product, plus
      highlights.

    Args:
        tasks: Task spec, see :func:`~mtpeft.tasks.build_tasks`.
        length: Number of pictures.
        size: ``(H, W)`` in pixels.
        seed: Which scenes; take another one for validation. It also seeds augmentation.
        texture_set: ``'a'`` or ``'b'``: disjoint families of colours and patterns.
        label_space: ``'pascal'`` (21 classes) or ``'nyud'`` (40 classes), for ``semseg``.
        supersample: 1, or 2 for smooth pictures at five times the cost (labels stay sharp).
        cache: ``None`` (render every time), ``'memory'`` (each process keeps what it rendered), or
            a folder of compressed files which processes and runs share.
        **kwargs: ``pipeline``, ``missing`` and others of
            :class:`~mtpeft.datasets.MultiTaskDataset`.

    Raises:
        ValueError: an option is outside its choices, or a task has too few classes.

    Example:
        >>> data = ScenesMT(tasks=['semseg', 'depth'], length=2, size=(24, 32))
        >>> sample = data[0]
        >>> sample['img'].shape, sample['labels']['depth'].shape
        ((24, 32, 3), (24, 32))
    """

    LABELS = tuple(BUFFERS)

    def __init__(
        self,
        tasks: TaskSpec,
        length: Annotated[int, Range(1, 10**7)] = 1000,
        size: tuple[Size, Size] = (128, 128),
        seed: Index = 0,
        texture_set: Literal['a', 'b'] = 'a',
        label_space: Literal['pascal', 'nyud'] = 'pascal',
        supersample: Literal[1, 2] = 1,
        cache: MemoryOrFolder | Path | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(length, int) or length < 1:
            raise ValueError(f'Expected length to be a positive integer, got {length!r}.')
        if label_space not in LABEL_SPACES:
            raise ValueError(
                f"label_space='{label_space}' is unknown. " + hint(str(label_space), LABEL_SPACES)
            )
        self.length = length
        self.label_space = label_space
        self.source = SceneSource(size, seed, texture_set, supersample)
        self._latest: tuple[int, SimpleNamespace] | None = None
        super().__init__(tasks=tasks, seed=seed, **kwargs)
        for task in self.tasks.values():
            self._check_classes(task)
        needed = {name for task in self.tasks.values() for name in BUFFERS[task.label_key]}
        self._cache = open_cache(self.source, ('image', *sorted(needed)), cache)

    def load_data_list(self) -> list[dict]:
        name = f'scenes-{self.source.texture_set}-{self.source.seed}'
        return [
            dict(img_id=f'{name}-{i:06d}', img_path=f'{name}-{i:06d}', scene=i)
            for i in range(self.length)
        ]

    def load_image(self, info: dict) -> np.ndarray:
        return np.ascontiguousarray(self._buffers(info).image[..., ::-1])

    def load_label(self, info: dict, task: DenseTask) -> np.ndarray:
        # A copy: transforms may write into what they get, and the buffers may be kept.
        return make_label(self._buffers(info), task.label_key, self.label_space).copy()

    def _buffers(self, info: dict) -> SimpleNamespace:
        """The picture's buffers, once for its image and all of its labels."""
        index = info['scene']
        if self._latest is None or self._latest[0] != index:
            self._latest = index, self._cache.get(index)
        return self._latest[1]

    def _check_classes(self, task: DenseTask) -> None:
        needed = {**_CLASSES, 'semseg': LABEL_SPACES[self.label_space]}.get(task.label_key)
        if needed is not None and task.kind == 'classes' and task.channels < needed:
            raise ValueError(
                f"Task '{task.name}' has {task.channels} classes, but label_space="
                f"'{self.label_space}' needs {needed}: set num_classes={needed}."
            )
