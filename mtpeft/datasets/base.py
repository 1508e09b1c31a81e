"""The base class of the data sets with labels for several tasks."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from mtpeft.datasets.files import read_lines
from mtpeft.datasets.labels import check_label
from mtpeft.datasets.randomness import SharedCounter, seeded, uniform_of
from mtpeft.tasks import DenseTask, TaskSpec, build_tasks
from mtpeft.transforms.resample import resize_label
from mtpeft.transforms.stock import build_transforms
from mtpeft.utils.allocator import keep_memory_of_worker
from mtpeft.utils.kinds import Count, Index, Share, Transform
from mtpeft.utils.suggest import hint
from mtpeft.utils.visits import Visit, visit_key, visiting


class MultiTaskDataset(BaseDataset):
    """Pictures with labels for any number of tasks, any of which a picture may lack.

    A subclass names the labels it has (``LABELS``) and says how to list its pictures
    (``load_data_list``), read one (``load_image``) and read a label (``load_label``). The picture
    and its labels are loaded before the pipeline, which therefore starts with a transform and
    needs no loading step. It receives a dict with

    - ``img`` ``(H, W, 3)`` uint8 BGR, ``img_id``, ``img_path``, ``img_shape`` and ``ori_shape``
      ``(H, W)``, ``sample_idx``;
    - ``tasks``: the :class:`~mtpeft.tasks.DenseTask` objects by name;
    - ``labels``: arrays by task name, only for the tasks this picture has a label of.

    Every random draw inside the pipeline (from the global generators of Python, NumPy or torch)
    depends on ``(seed, epoch, index)`` only: not on the number of workers, the order, nor on what
    was drawn before. The epoch is that of the visit which the sampler gives
    (:class:`~mtpeft.datasets.counted_sampler.CountedSampler`), else that of :meth:`set_epoch`. A
    picture that cannot be read raises an error that names the file; another
    one is never put in its place.

    Args:
        tasks: Task spec, see :func:`~mtpeft.tasks.build_tasks`.
        data_root: Folder of the data.
        pipeline: Transforms (configs or callables) of the results dict.
        seed: Seed of the augmentation and of ``missing``.
        missing: Share of the labels to remove at random, to study partly labelled data: one
            number for every task, or ``{task: share}``. Which ones depends on ``(seed, task,
            picture)`` only.
        labelled_ids: ``{task: ids}``: only these pictures have a label of that task; a list, or
            the path of a text file with one id a line.
        allow_missing_labels: Whether a label that is absent from the data is allowed (the picture
            then lacks that task) or an error.
        resize_labels: Whether a label of another size than its picture (half of it, say) is
            resized to it, by the rules of its task, or an error. The sides must have one ratio.
        metainfo: Meta information, see MMEngine's ``BaseDataset``.
        indices: Use only the first ``n`` pictures, or those at these positions.
        serialize_data: Keep the list of pictures in one buffer that workers share.
        test_mode: Whether this is a data set for testing.
        lazy_init: Read the list of pictures at first use.

    Raises:
        ValueError: no picture; the data set has no label for a task; a share outside ``[0, 1]``.
        KeyError: an option names an unknown task.

    Example:
        >>> from mtpeft.datasets import MultiTaskDataset
        >>> class Grey(MultiTaskDataset):
        ...     LABELS = ('depth',)
        ...     def load_data_list(self):
        ...         return [dict(img_id='0', img_path='grey')]
        ...     def load_image(self, info):
        ...         return np.full((4, 6, 3), 127, np.uint8)
        ...     def load_label(self, info, task):
        ...         return np.ones((4, 6), np.float32)
        >>> sample = Grey(tasks=['depth'])[0]
        >>> sample['img_shape'], list(sample['labels'])
        ((4, 6), ['depth'])
    """

    LABELS: tuple[str, ...] = ()
    """Label keys (``DenseTask.label_key``) that this data set provides."""

    def __init__(
        self,
        tasks: TaskSpec,
        data_root: str = '',
        pipeline: Sequence[Transform | Callable] = (),
        seed: Index = 0,
        missing: Share | Mapping[str, Share] = 0.0,
        labelled_ids: Mapping[str, Sequence[str] | str] | None = None,
        allow_missing_labels: bool = False,
        resize_labels: bool = False,
        metainfo: Mapping | None = None,
        indices: Count | Sequence[Index] | None = None,
        serialize_data: bool = True,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f'Expected seed to be a non-negative integer, got {seed!r}.')
        if indices is not None and not indices:
            raise ValueError(f'indices={indices!r} leaves no picture.')
        self.tasks = build_tasks(tasks)
        for task in self.tasks.values():
            self._check_has_label(task)
        self.seed = seed
        self.missing = self._shares(missing)
        self.labelled_ids = self._read_ids(labelled_ids or {})
        self.allow_missing_labels = allow_missing_labels
        self.resize_labels = resize_labels
        self._epoch = SharedCounter()
        super().__init__(
            metainfo=metainfo, data_root=str(data_root), data_prefix={}, indices=indices,
            serialize_data=serialize_data, pipeline=build_transforms(pipeline),
            test_mode=test_mode, lazy_init=lazy_init,
        )  # fmt: skip

    # what a subclass says

    @abstractmethod
    def load_data_list(self) -> list[dict]:
        """One dict a picture: ``img_id``, ``img_path`` and what the loaders below need."""

    @abstractmethod
    def load_image(self, info: dict) -> np.ndarray:
        """The picture ``(H, W, 3)``, uint8, BGR."""

    @abstractmethod
    def load_label(self, info: dict, task: DenseTask) -> np.ndarray | None:
        """The label of ``task``, ``(H, W)`` or ``(H, W, C)``; ``None``: there is none."""

    def label_source(self, info: dict, task: DenseTask) -> str:
        """Where the label comes from, for messages: its file if it has one."""
        return f'{info["img_path"]} ({task.label_key})'

    # what it gives

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that enters every random draw, in running worker processes as well."""
        self._epoch.value = epoch

    @property
    def epoch(self) -> int:
        """The epoch that enters every random draw."""
        return self._epoch.value

    def has_label(self, info: dict, task: DenseTask) -> bool:
        """Whether ``missing`` and ``labelled_ids`` leave the picture its label of ``task``."""
        ids = self.labelled_ids.get(task.name)
        if ids is not None and info['img_id'] not in ids:
            return False
        share = self.missing.get(task.name, 0.0)
        return share == 0 or uniform_of(self.seed, task.name, info['img_id']) >= share

    def count_labels(self) -> dict[str, int]:
        """How many pictures have a label of each task, as far as that shows without reading one."""
        infos = [self.get_data_info(index) for index in range(len(self))]
        return {
            name: sum(
                self.has_label(info, task) and self.label_exists(info, task) for info in infos
            )
            for name, task in self.tasks.items()
        }

    def label_exists(self, info: dict, task: DenseTask) -> bool:
        """Whether the data have a label at all; a subclass looks for the file."""
        return True

    def load_checked_label(
        self, info: dict, task: DenseTask, size: tuple[int, int]
    ) -> np.ndarray | None:
        """The label of ``task``, checked against the task and the picture's ``size``.

        Raises:
            DataFileError: the label does not fit; the message names the file.
        """
        label = self.load_label(info, task) if self.has_label(info, task) else None
        if label is None:
            return None
        source, own = self.label_source(info, task), label.shape[:2]
        if self.resize_labels and own != size and same_shape(own, size):
            check_label(label, task, own, source)
            return resize_label(label, task, size)
        check_label(label, task, size, source, self.size_advice(info, label, size))
        return label

    def size_advice(self, info: dict, label: np.ndarray, size: tuple[int, int]) -> str:
        """What to do about a label that is not as large as its picture ``size``."""
        if not self.resize_labels and label.ndim >= 2 and same_shape(label.shape[:2], size):
            return 'Export it again at the size of the picture, or set resize_labels=True.'
        return ''

    def load_sample(self, idx: int) -> dict:
        """The results dict of a picture, before the pipeline."""
        info = self.get_data_info(idx)
        img = self.load_image(info)
        size = img.shape[:2]
        loaded = {
            name: self.load_checked_label(info, task, size) for name, task in self.tasks.items()
        }
        labels = {name: label for name, label in loaded.items() if label is not None}
        return dict(
            img=img, img_id=info['img_id'], img_path=info['img_path'], img_shape=size,
            ori_shape=size, sample_idx=info['sample_idx'], tasks=self.tasks, labels=labels,
        )  # fmt: skip

    def prepare_data(self, idx: int) -> Any:
        """Load a picture and run the pipeline on it."""
        results = self.load_sample(idx)
        path = results['img_path']
        for transform in self.pipeline.transforms:
            try:
                results = transform(results)
            except Exception as error:
                raise RuntimeError(
                    f'{transform} failed on {path}: {type(error).__name__}: {error}'
                ) from error
            if results is None:
                raise RuntimeError(
                    f'{transform} gave None for {path}. A transform that drops pictures is not '
                    'supported: leave the picture out of the split.'
                )
        return results

    def __getitem__(self, idx: int) -> Any:
        length = len(self)
        if not -length <= idx < length:
            raise IndexError(f'Index {idx} is outside a data set of {length} pictures.')
        if isinstance(idx, Visit):
            # of a loader that makes no batches, which hands the index on as it is
            with visiting(idx):
                return self[int(idx)]
        idx = int(idx) % length
        keep_memory_of_worker()
        with seeded(self.seed, *visit_key(idx, self.epoch)):
            return self.prepare_data(idx)

    def filter_data(self) -> list[dict]:
        """Refuse an empty list of pictures, which MMEngine cannot hold."""
        if not self.data_list:
            raise ValueError(f'{type(self).__name__} found no picture ({self.data_root}).')
        return self.data_list

    # options

    def _check_has_label(self, task: DenseTask) -> None:
        if task.label_key not in self.LABELS:
            raise ValueError(
                f"{type(self).__name__} has no label '{task.label_key}' for task '{task.name}'. "
                + hint(task.label_key, self.LABELS)
            )

    def _shares(self, missing: float | Mapping[str, float]) -> dict[str, float]:
        if not isinstance(missing, Mapping):
            missing = dict.fromkeys(self.tasks, missing)
        for name, share in missing.items():
            self._check_task('missing', name)
            if not 0 <= share <= 1:
                raise ValueError(
                    f"Expected missing['{name}'] to be a share between 0 and 1, got {share!r}."
                )
        return dict(missing)

    def _read_ids(self, given: Mapping[str, Sequence[str] | str]) -> dict[str, frozenset[str]]:
        ids = {}
        for name, entries in given.items():
            self._check_task('labelled_ids', name)
            if isinstance(entries, str):
                entries = read_lines(entries)
            ids[name] = frozenset(map(str, entries))
        return ids

    def _check_task(self, option: str, name: str) -> None:
        if name not in self.tasks:
            raise KeyError(f"{option} names the unknown task '{name}'. " + hint(name, self.tasks))


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes ``(H, W)`` have one ratio of their sides, but for a pixel.

    Example:
        >>> same_shape((20, 31), (40, 61)), same_shape((61, 40), (40, 61))
        (True, False)
    """
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)
