"""How the files of a label are read, and the check that every label passes before a transform."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Literal

import cv2
import numpy as np

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_array, whole_numbers
from mtpeft.datasets.vectors import unit_vectors, with_signs
from mtpeft.tasks import DenseTask
from mtpeft.transforms.planes import all_finite, fill_but
from mtpeft.utils.suggest import hint

Patterns = str | Sequence[str]

#: the foreground of the commonest masks, and what is ignored by default
_WHITE = 255
_FIELDS = ('id', 'split')


@dataclass(frozen=True)
class LabelFiles:
    """Where the files of a label are, and what their numbers mean.

    ``classes`` and ``binary`` labels are whole numbers (grey, palette or ``.npy``), ``vectors``
    are ``(H, W, 3)`` values or colours of 8 or 16 bits, ``values`` numbers.

    Args:
        path: Pattern below the folder of the data; ``{id}`` is the picture, ``{split}`` the split.
            Of several, the first that exists counts.
        scale: ``values``: what one step of the file means, in the task's unit: ``1 / 1000`` for
            depth in millimetres. Whole numbers have no meaning without it.
        map: Stored numbers to classes, such as ``{255: 1}`` for a mask of 0 and 255. Others stay.
        first_class: The number that stands for class 0. With 1, a stored 0 is ignored.
        ignore: A stored number (or several) that says there is no label; NaN is ``float('nan')``.
        signs: ``vectors``: signs that turn the stored x, y, z into camera axes.

    Raises:
        TypeError: an option of another type.
        ValueError: a pattern has no ``{id}``, or other braces than these; a scale of 0.

    Example:
        >>> LabelFiles.of(dict(path='depth/{id}.png', scale=1 / 256)).path
        ('depth/{id}.png',)
    """

    path: Patterns
    scale: float | None = None
    map: Mapping[int, int] | None = None
    first_class: Literal[0, 1] | None = None
    ignore: float | Sequence[float] = ()
    signs: Sequence[float] | None = None

    def __post_init__(self) -> None:
        self._check_types()
        path = (self.path,) if isinstance(self.path, str) else tuple(self.path)
        object.__setattr__(self, 'path', path)
        for pattern in path:
            check_pattern(pattern)
        if self.scale is not None and not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f'Expected scale to be a number above 0, got {self.scale!r}.')
        if self.first_class not in (None, 0, 1):
            raise ValueError(f'Expected first_class to be 0 or 1, got {self.first_class!r}.')
        if self.first_class and self.map:
            raise ValueError('Expected map or first_class=1, which is a map itself, got both.')
        ignore = self.ignore if isinstance(self.ignore, Sequence) else (self.ignore,)
        object.__setattr__(self, 'ignore', tuple(ignore))

    def _check_types(self) -> None:
        path = [self.path] if isinstance(self.path, str) else self.path
        ignore = self.ignore if isinstance(self.ignore, list | tuple) else [self.ignore]
        pairs = [] if self.map is None else getattr(self.map, 'items', lambda: [('', '')])()
        wrong = {
            'path': not path or not isinstance(path, list | tuple)
                    or not all(isinstance(pattern, str) for pattern in path),
            'scale': not (self.scale is None or _is_number(self.scale)),
            'map': not all(_is_whole(old) and _is_whole(new) for old, new in pairs),
            'ignore': not all(map(_is_number, ignore)),
            'signs': not (self.signs is None or (isinstance(self.signs, list | tuple)
                          and all(sign in (1, -1) for sign in self.signs))),
        }  # fmt: skip
        expected = dict(
            path='a pattern, or several', scale='a number', map='whole numbers to whole numbers',
            ignore='a number, or several', signs='1 or -1 for each component',
        )  # fmt: skip
        for name in (name for name in wrong if wrong[name]):
            raise TypeError(
                f"{name} of a label's files: expected {expected[name]}, got "
                f'{getattr(self, name)!r}.'
            )

    @classmethod
    def of(cls, spec: 'Patterns | Mapping | LabelFiles') -> 'LabelFiles':
        """From what a config says: a pattern, several, or a dict of options.

        Raises:
            TypeError: an unknown option; the nearest names are given.
        """
        if isinstance(spec, LabelFiles):
            return spec
        if not isinstance(spec, Mapping):
            return cls(spec)
        known = cls.__dataclass_fields__
        for name in spec:
            if name not in known:
                raise TypeError(f"A label's files have no option '{name}'. " + hint(name, known))
        if 'path' not in spec:
            raise TypeError(f'Files of a label need a path, got only {", ".join(spec)}.')
        return cls(**spec)

    def read(self, path: Path, task: DenseTask) -> np.ndarray:
        """The label in a file, as the task's kind wants it.

        Raises:
            FileNotFoundError, DataFileError: naming the file.
        """
        whole = task.kind in ('classes', 'binary')
        return self.decode(read_array(path, palette=whole), task, path)

    def decode(self, array: np.ndarray, task: DenseTask, path: Path) -> np.ndarray:
        """The label in the numbers that the file ``path`` holds, see :meth:`read`."""
        whole = task.kind in ('classes', 'binary')
        if task.label_channels == 1 and array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        ignored = _among(array, self.ignore)
        if whole:
            label = self._classes(array, ignored, task, path)
        elif task.kind == 'vectors':
            label = unit_vectors(np.where(ignored, 0, array) if self.ignore else array, path)
            label = label if self.signs is None else with_signs(label, self.signs)
            ignored = ignored.all(-1)
        else:
            label = self._values(array, task, path)
        if self.ignore:
            fill_but(label, ~ignored, task.ignore_value)
        return label

    def _classes(
        self, array: np.ndarray, ignored: np.ndarray, task: DenseTask, path: Path
    ) -> np.ndarray:
        stored = np.where(ignored, 0, array) if self.ignore else array
        if self.map:
            given, stored = stored, stored.astype(np.float64)
            for old, new in self.map.items():
                stored[given == int(old)] = new
        label = whole_numbers(stored, path, max(task.channels, int(task.ignore_value)))
        if self.first_class == 1:
            outside = label == 0
            label = label - label.dtype.type(1)
            np.copyto(label, task.ignore_value, where=outside, casting='unsafe')
        return label

    def _values(self, array: np.ndarray, task: DenseTask, path: Path) -> np.ndarray:
        if self.scale is None and array.dtype.kind != 'f':
            raise DataFileError(
                f"{path}: holds whole numbers ({array.dtype}) for task '{task.name}', and nothing "
                f'says what one step means. Give the scale with the path, such as '
                f'dict(path=..., scale=0.001) for thousandths, scale=1 for the numbers themselves.'
            )
        if self.scale is None or self.scale == 1:
            return array.astype(np.float32)
        return (array.astype(np.float64) * self.scale).astype(np.float32)


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that does not name the picture, or has other braces.

    Raises:
        ValueError: with the fields that a pattern may have.
    """
    try:
        fields = [field for _, field, *_ in Formatter().parse(pattern) if field is not None]
    except ValueError as error:
        raise ValueError(f"The pattern '{pattern}' cannot be read: {error}.") from None
    for field in fields:
        if field not in _FIELDS:
            raise ValueError(f"The pattern '{pattern}' has a {{{field}}}. " + hint(field, _FIELDS))
    if 'id' not in fields:
        raise ValueError(
            f"The pattern '{pattern}' has no {{id}}, which stands for the name of the picture."
        )


def check_label(
    label: np.ndarray, task: DenseTask, size: tuple[int, int], source: str, advice: str = ''
) -> None:
    """Refuse a label that does not fit its task or its picture.

    Args:
        label: ``(H, W)`` or ``(H, W, C)``.
        task: What the label is for.
        size: ``(H, W)`` of the picture.
        source: The file (or whatever made the label), for the message.
        advice: What to do about another size.

    Raises:
        DataFileError: wrong shape, wrong type, a class beyond the task's, a binary label that is
            neither 0 nor 1, one of two classes that holds nothing but 0 and an ignored 255, or
            values that are not finite.
    """
    channels = task.label_channels
    shape = size if channels == 1 else (*size, channels)
    if label.shape != shape:
        raise DataFileError(
            f"{source}: expected a label of task '{task.name}' of shape {tuple(shape)}, as large "
            f'as its picture, got {label.shape}. '
            + (advice or 'Export it again at the size of the picture.')
        )
    if task.kind in ('classes', 'binary'):
        _check_classes(label, task, source)
    elif not np.issubdtype(label.dtype, np.floating):
        raise DataFileError(
            f"{source}: expected floating-point values for task '{task.name}', got {label.dtype}."
        )
    elif not all_finite(label):
        bad = int((~np.isfinite(label)).sum())
        raise DataFileError(
            f"{source}: {bad} values of task '{task.name}' are NaN or infinite. Mark pixels "
            f'without a label with {task.ignore_value:g} instead.'
        )


def _check_classes(label: np.ndarray, task: DenseTask, source: str) -> None:
    if label.dtype not in (np.uint8, np.uint16):
        raise DataFileError(
            f"{source}: expected class indices (uint8, or uint16) for task '{task.name}', got "
            f'{label.dtype}.'
        )
    limit = 2 if task.kind == 'binary' else task.channels
    if label.max(initial=0) < limit:
        return
    present = np.flatnonzero(_counts(label))
    beyond = [int(v) for v in present if v >= limit and v != task.ignore_value]
    if beyond:
        raise DataFileError(
            f"{source}: task '{task.name}' has {limit} classes (0..{limit - 1}, "
            f'{task.ignore_value:g} is ignored), but the label holds {beyond[:8]}. Set '
            f'num_classes of the task to fit the label, or export the label again.'
        )
    if limit == 2 and task.ignore_value == _WHITE and list(present) == [0, _WHITE]:
        raise DataFileError(
            f"{source}: the label of task '{task.name}' holds only 0 and 255, as masks do whose "
            'foreground is 255; but 255 means ignored here, so nothing would be learnt of it. '
            'Export it with 1 for the foreground, or say it with the path: dict(path=..., '
            'map={255: 1}). If 255 does mean ignored and there is no foreground, give ignored '
            'pixels another number, say 254, in the file and as ignore_value=254 of the task.'
        )


def _counts(label: np.ndarray) -> np.ndarray:
    if label.dtype == np.uint8:
        return cv2.calcHist([label], [0], None, [256], [0, 256])
    return np.bincount(label.ravel(), minlength=256)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return str(value).removeprefix('-').isdigit()


def _among(array: np.ndarray, numbers: Sequence[float]) -> Any:
    found = np.zeros(array.shape, bool)
    for number in numbers:
        found |= np.isnan(array) if np.isnan(number) else array == number
    return found
