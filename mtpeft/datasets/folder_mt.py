"""A folder of one's own, described in a config."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_array, read_image
from mtpeft.datasets.folder import FolderDataset
from mtpeft.datasets.labels import LabelFiles, Patterns
from mtpeft.datasets.layout import list_ids, read_split
from mtpeft.datasets.randomness import uniform_of
from mtpeft.registry import DATASETS
from mtpeft.tasks import TaskSpec
from mtpeft.utils.kinds import Share
from mtpeft.utils.suggest import hint

_SHARED = ('train', 'val')


@DATASETS.register_module()
class FolderMT(FolderDataset):
    """Pictures and labels of one's own, in any folders, from a config alone.

    Patterns are relative to ``data_root``. ``{id}`` is the name of a picture, which may have
    folders and spaces in it, ``{split}`` the name of the split. Suffixes fit in any case. Which
    pictures a split has is said in one of three ways: by ``{split}`` in ``images``, by lists of
    names (``splits``), or by a share that is taken for validation (``val_share``).

    Args:
        tasks: Task spec, see :func:`~mtpeft.tasks.build_tasks`. Names and colours of classes are
            the task's: ``dict(num_classes=2, classes=('floor', 'wall'), palette=...)``.
        data_root: Folder of the data.
        images: Pattern, or patterns, of the pictures: any format of Pillow, or ``.npy`` of any
            number of channels. Colours in floating point need ``dict(path=..., scale=255)``, the
            factor that brings them to 0 to 255.
        labels: ``{label key: files}``: a pattern, several, or a dict of the options of
            :class:`~mtpeft.datasets.labels.LabelFiles`: ``path``, ``scale``, ``map``,
            ``first_class``, ``ignore``, ``signs``.
        split: ``'train'``, ``'val'`` or another name; ``None``: every picture.
        splits: Pattern of the lists of names, one a line, such as ``'lists/{split}.txt'``.
            ``None``: the files are the list.
        val_share: Share of the pictures that are ``'val'``; the others are ``'train'``. Which ones
            depends on the name of a picture only.
        channels: Files of channels behind those of the picture, such as a depth map for RGB-D: each
            a pattern or ``dict(path=..., scale=...)``. The picture is then float32.
        label_paths: Files of labels over those of ``labels``, by label key.
        **kwargs: ``check_files`` and ``exif_rotation`` of
            :class:`~mtpeft.datasets.folder.FolderDataset`; ``pipeline``, ``seed``, ``missing``,
            ``allow_missing_labels``, ``resize_labels`` and others of
            :class:`~mtpeft.datasets.MultiTaskDataset`.

    Raises:
        FileNotFoundError: the folder, the list or a file is missing.
        ValueError: nothing fits ``images``, or nothing tells one split from another.

    Example:
        >>> FolderMT(tasks=['depth'], data_root='no/such/folder', images='rgb/{split}/{id}.jpg',
        ...          labels=dict(depth=dict(path='depth/{id}.png', scale=0.001)))
        Traceback (most recent call last):
        FileNotFoundError: FolderMT: data_root='no/such/folder' does not exist ...
    """

    def __init__(
        self,
        tasks: TaskSpec,
        data_root: str,
        images: Patterns | Mapping,
        labels: Mapping[str, Patterns | Mapping],
        split: str | None = 'train',
        splits: str | None = None,
        val_share: Share = 0.0,
        channels: Sequence[Patterns | Mapping] = (),
        label_paths: Mapping[str, Patterns | Mapping] | None = None,
        **kwargs: Any,
    ) -> None:
        files = LabelFiles.of(images)
        self.IMAGES, self.image_scale = files.path, files.scale
        self.channels = [LabelFiles.of(spec) for spec in channels]
        self.splits = splits
        self.val_share = val_share
        paths = {**labels, **(label_paths or {})}
        self.TREE = '\n'.join(f'    {pattern}' for pattern in self._patterns(paths))
        self._check_split(split)
        super().__init__(tasks, split, data_root, label_paths=paths, **kwargs)

    def split_source(self) -> Path:
        listed = self.splits is not None and self.split is not None
        pattern = self.splits if listed else self.IMAGES[0]
        return Path(self.data_root) / pattern.replace('{split}', str(self.split))

    def list_names(self) -> list[str]:
        root = Path(self.data_root)
        if self.splits is not None and self.split is not None:
            return read_split(self.split_source())
        found = {n: 0 for pattern in self.IMAGES for n in list_ids(root, pattern, self.split)}
        names = list(found)
        if not names:
            raise ValueError(self._nothing(root))
        if self.val_share and self.split is not None:
            held = [uniform_of('val_share', name) < self.val_share for name in names]
            names = [n for n, h in zip(names, held, strict=True) if h == (self.split == 'val')]
        if not names:
            raise ValueError(
                f'val_share={self.val_share:g} of {len(found)} pictures leaves none for split '
                f"'{self.split}'."
            )
        return names

    def load_image(self, info: dict) -> np.ndarray:
        picture = self._scaled(read_image(info['img_path'], self.exif_rotation), info['img_path'])
        if not self.channels:
            return picture
        parts = [picture.astype(np.float32)]
        for files in self.channels:
            path = self._find(files.path, info['img_id'])
            array = read_array(path, palette=False)
            array = array.astype(np.float32) * (1 if files.scale is None else files.scale)
            if array.shape[:2] != picture.shape[:2] or array.ndim > 3:
                raise DataFileError(
                    f'{path}: expected a channel as large as its picture {picture.shape[:2]}, got '
                    f'{array.shape}.'
                )
            parts.append(array.reshape(*picture.shape[:2], -1).astype(np.float32))
        return np.concatenate(parts, -1)

    def _scaled(self, picture: np.ndarray, path: str) -> np.ndarray:
        """Colours of 0 to 255; of another number of channels, the numbers times the scale."""
        scale = 1 if self.image_scale is None else self.image_scale
        if picture.shape[2] != 3 or picture.dtype == np.uint8:
            return picture if scale == 1 else picture.astype(np.float32) * np.float32(scale)
        picture = picture * np.float32(scale)
        low, high = float(picture.min()), float(picture.max())
        if self.image_scale is None or low < -0.5 or high > 255.5:
            said = 'unscaled' if self.image_scale is None else f'times {scale:g}'
            raise DataFileError(
                f'{path}: expected colours of 0 to 255, got floating point from {low:g} to '
                f'{high:g} ({said}). State what brings them there: images=dict(path=..., '
                'scale=255), or save them in 8 bits.'
            )
        return np.rint(picture).clip(0, 255).astype(np.uint8)

    def _patterns(self, labels: Mapping) -> list[str]:
        kinds = [self.IMAGES, *(LabelFiles.of(spec).path for spec in labels.values())]
        patterns = [pattern for kind in kinds for pattern in kind]
        return patterns + ([self.splits] if self.splits else [])

    def _check_split(self, split: str | None) -> None:
        named = any('{split}' in pattern for pattern in self.IMAGES)
        ways = [named, self.splits is not None, bool(self.val_share)]
        if split is None and named:
            raise ValueError(f'images={self.IMAGES} has a {{split}}, but split is None.')
        if split is not None and not any(ways):
            raise ValueError(
                f"Nothing tells split '{split}' from another: put {{split}} into images, give "
                "lists of names by splits='lists/{split}.txt', a share for validation by "
                'val_share=0.2, or take every picture by split=None.'
            )
        if not 0 <= self.val_share < 1:
            raise ValueError(
                f'Expected val_share to be at least 0 and below 1, got {self.val_share!r}.'
            )
        if self.val_share and (self.splits is not None or named):
            raise ValueError('val_share divides a folder that has no splits, but it has some.')
        if self.val_share and split not in (*_SHARED, None):
            raise ValueError(f"val_share knows no split '{split}'. " + hint(str(split), _SHARED))

    def _nothing(self, root: Path) -> str:
        pattern = self.IMAGES[0].replace('{split}', str(self.split))
        start = root / pattern.split('{id}')[0].rpartition('/')[0]
        if not start.is_dir():
            near = sorted(p.name for p in start.parent.glob('*') if p.is_dir())
            return f"{start}: no such folder, but images='{pattern}'. " + hint(start.name, near)
        kinds = Counter(path.suffix or 'no suffix' for path in start.rglob('*') if path.is_file())
        there = ', '.join(f'{number} of {kind}' for kind, number in kinds.most_common(4))
        return f"{start}: no file fits images='{pattern}'. The folder holds {there or 'no file'}."
