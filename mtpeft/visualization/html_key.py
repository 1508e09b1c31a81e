"""What the colours of a map mean, as HTML that follows the page's own type and colours."""

import base64
from html import escape

import cv2
import numpy as np

from mtpeft.tasks import DenseTask
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.key import present_classes

_STOPS = 9
_DISC = 96


def html_key(
    task: DenseTask, array: np.ndarray, value_range: tuple[float, float] | None = None
) -> str:
    """The key of a map: names of the classes that are seen, a bar with units, or a half sphere.

    Args:
        task: What the map is of.
        array: The map, ``(H, W)`` or ``(H, W, C)``.
        value_range: Values at the ends of the bar, of tasks of values.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> html_key(build_tasks(['sal'])['sal'], np.zeros((1, 1))).count('probability')
        1
    """
    if task.kind == 'classes':
        return _names(task, array)
    if task.kind == 'binary':
        return _bar(task, (0.0, 1.0), 'probability')
    if task.kind == 'vectors' and task.channels == 3:
        return _half_sphere(task)
    return _bar(task, value_range or (0.0, 1.0), task.unit)


def _names(task: DenseTask, array: np.ndarray) -> str:
    numbers = array.ravel().astype(np.int64).clip(0, task.channels)
    shares = np.bincount(numbers, minlength=task.channels) / array.size
    spans = []
    for number in present_classes(task, array):
        colour = _css(colorize(task, np.full((1, 1), number))[0, 0])
        name = task.classes[number] if task.classes else f'class {number}'
        spans.append(
            f'<span><i class="swatch" style="background:{colour}"></i>{escape(str(name))}'
            f' <small>{_percent(shares[number])}</small></span>'
        )
    return f'<div class="key names">{"".join(spans)}</div>'


def _percent(share: float) -> str:
    return f'{share:.0%}' if share >= 0.01 else '&lt;1%'


def _bar(task: DenseTask, ends: tuple[float, float], unit: str) -> str:
    low, high = ends
    ramp = np.linspace(low, high, _STOPS)[None]
    array = ramp if task.label_channels == 1 else ramp[..., None].repeat(task.channels, -1)
    colours = colorize(task, array, (low, max(high, low + 1e-9)))[0]
    stops = ', '.join(map(_css, colours))
    return (
        f'<div class="key bar"><b style="background:linear-gradient(to right, {stops})"></b>'
        f'<p><span>{low:.3g}</span><span>{escape(unit)}</span><span>{high:.3g}</span></p></div>'
    )


def _half_sphere(task: DenseTask) -> str:
    x, y = np.meshgrid(*[np.linspace(-1, 1, _DISC)] * 2)
    z = -np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    rgb = colorize(task, np.stack([x, y, z], -1))
    alpha = np.where(x * x + y * y <= 1, 255, 0).astype(np.uint8)
    data = cv2.imencode('.png', np.dstack([rgb[..., ::-1], alpha]))[1].tobytes()
    source = base64.b64encode(data).decode()
    return (
        '<div class="key normals"><span>left</span>'
        f'<span class="upright">up<img src="data:image/png;base64,{source}" alt="directions">down'
        '</span><span>right</span></div>'
    )


def _css(rgb: np.ndarray) -> str:
    return 'rgb({}, {}, {})'.format(*map(int, rgb))
