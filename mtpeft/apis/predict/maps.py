"""Maps as files that can be read without mtpeft.

==============  =================================  ==============================================
task            PNG                                .npy
==============  =================================  ==============================================
classes         8 bits with a palette (16 bits     class numbers, uint8 (uint16)
                for more than 256 classes)
binary          8 bits: probability = v / 255      probability, float32
values          16 bits: value = offset + scale v  values, float32
vectors, of 3   8 bits, R G B = x y z:             ``(H, W, 3)``, float32
                component = 2 v / 255 - 1
==============  =================================  ==============================================

Values of 2 or of more than 3 channels, and vectors of other than 3, are .npy files in any case.
"""

import io
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image

from mtpeft.tasks import DenseTask
from mtpeft.tasks.palettes import class_palette

Form = Literal['png', 'npy']
_MOST = 65535
_STEPS = {'m': 0.001}  # depth in millimetres, as cameras write it


class Encoded(NamedTuple):
    """A map as a file.

    Attributes:
        data: What the file holds.
        reading: What its task's description does not say: ``scale`` and ``offset`` of its own.
    """

    data: bytes
    reading: dict[str, float]


def suffix_of(task: DenseTask, form: Form) -> str:
    """``'.png'`` or ``'.npy'``."""
    three = task.label_channels in (1, 3)
    return '.png' if form == 'png' and three else '.npy'


def describe(task: DenseTask, form: Form) -> dict[str, Any]:
    """What the maps of a task are and how a file is read: JSON values."""
    said: dict[str, Any] = dict(kind=task.kind, channels=task.channels)
    if task.unit and task.kind != 'vectors':
        said['unit'] = task.unit
    if task.kind == 'classes':
        names = task.classes or [f'class {n}' for n in range(task.channels)]
        palette = task.palette or class_palette(task.channels)
        said |= dict(
            classes=list(map(str, names)), palette=[[int(c) for c in rgb] for rgb in palette]
        )
    if task.kind == 'vectors' and task.channels == 3:
        said['axes'] = 'x right, y down, z into the picture; unit length'
    return said | _format(task, suffix_of(task, form))


def _format(task: DenseTask, suffix: str) -> dict[str, Any]:
    if suffix == '.npy':
        return dict(file='npy', read='numpy.load(file) is the map')
    if task.kind == 'classes':
        palette = 'the number of the class'
        bits = 8 if task.channels <= 256 else 16
        return dict(file=f'png, {bits} bits' + ', palette' * (bits == 8), read=f'v is {palette}')
    if task.kind == 'binary':
        return dict(file='png, 8 bits', read='probability = scale v', scale=1 / 255, offset=0.0)
    if task.kind == 'vectors':
        return dict(
            file='png, 8 bits, R G B = x y z', read='component = offset + scale v',
            scale=2 / 255, offset=-1.0,
        )  # fmt: skip
    said = dict(file='png, 16 bits', read='value = offset + scale v')
    if task.unit in _STEPS:
        return said | dict(scale=_STEPS[task.unit], offset=0.0)
    return said | dict(note='scale and offset stand with each map')


def encode(task: DenseTask, array: np.ndarray, form: Form) -> Encoded:
    """A predicted map as a file.

    Args:
        task: What it is of.
        array: ``(H, W)`` or ``(H, W, C)``.
        form: What files are wanted.

    Raises:
        ValueError: numbers that are not finite, which a PNG cannot hold.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> encode(build_tasks(['depth'])['depth'], np.array([[70.0, 1.5]]), 'png').reading
        {'scale': 0.00106..., 'offset': 0.0}
    """
    if suffix_of(task, form) == '.npy':
        return Encoded(_npy(_slim(task, array)), {})
    if task.kind == 'classes':
        return Encoded(_classes(task, array), {})
    if not np.isfinite(array).all():
        share = 1 - np.isfinite(array).mean()
        raise ValueError(
            f"{share:.1%} of the predicted map of task '{task.name}' are not finite, which a PNG "
            'cannot hold. --maps npy keeps them; a model that was trained well has none.'
        )
    if task.kind == 'binary':
        return Encoded(_png(np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)), {})
    if task.kind == 'vectors':
        return Encoded(_png(np.rint((np.clip(array, -1, 1) + 1) * 127.5).astype(np.uint8)), {})
    return _values(task, array)


def _values(task: DenseTask, array: np.ndarray) -> Encoded:
    low, high = float(array.min()), float(array.max())
    step = _STEPS.get(task.unit)
    if step is not None and low >= 0 and high <= step * _MOST:
        scale, offset, reading = step, 0.0, {}
    else:
        offset = min(low, 0.0) if step is not None else low
        scale = max((high - offset) / _MOST, 1e-12)
        reading = dict(scale=scale, offset=offset)
    stored = np.rint((array.astype(np.float64) - offset) / scale)
    return Encoded(_png(np.clip(stored, 0, _MOST).astype(np.uint16)), reading)


def _classes(task: DenseTask, array: np.ndarray) -> bytes:
    if task.channels > 256:
        return _png(array.astype(np.uint16))
    picture = Image.fromarray(array.astype(np.uint8))
    palette = np.asarray(task.palette or class_palette(task.channels), np.uint8)
    picture.putpalette(palette.tobytes())
    stream = io.BytesIO()
    picture.save(stream, 'PNG', compress_level=4)
    return stream.getvalue()


def _slim(task: DenseTask, array: np.ndarray) -> np.ndarray:
    if task.kind == 'classes':
        return array.astype(np.uint8 if task.channels <= 256 else np.uint16)
    return array.astype(np.float32)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _png(array: np.ndarray) -> bytes:
    """Of ``(H, W)`` or, in the order R, G, B, ``(H, W, 3)``."""
    array = array if array.ndim == 2 else array[..., ::-1]
    done, data = cv2.imencode('.png', np.ascontiguousarray(array))
    if not done:
        raise ValueError(f'OpenCV cannot write an array {array.shape} of {array.dtype} as PNG.')
    return data.tobytes()
