"""What an exported file says about itself, as texts by key."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mtpeft.export.exportable import Exportable
from mtpeft.tasks import DenseTask
from mtpeft.version import __version__

_OUTPUTS = {
    'argmax': 'class indices (B, H, W) int64',
    'sigmoid': 'probabilities (B, H, W) float32',
    'normalize': 'unit vectors (B, H, W, C) float32',
    'none': 'values (B, H, W), of several channels (B, H, W, C), float32',
}


def described(
    module: Exportable,
    size: Sequence[int],
    dynamic_size: bool,
    half: bool,
    transforms: Sequence[Any] = (),
) -> dict[str, str]:
    """Texts by key, which ONNX and torch.export keep beside the weights.

    ``mtpeft`` is the version; ``tasks``, ``input`` and ``merged`` are JSON: what each output means,
    what the input is, and how many layers are merged.

    Args:
        module: What is exported.
        size: Height and width that it was exported at.
        dynamic_size: Other sizes are taken too.
        half: The network computes in float16.
        transforms: What a picture passes in the config's test before it is normalised.
    """
    shape = '(B, C, H, W)' if module.raw else '(B, H, W, C)'
    kind = 'float32' if module.raw or module.channels != 3 else 'uint8'
    given = dict(
        name=module.input_name,
        shape=shape,
        dtype=kind,
        channels=module.channels,
        order='RGB',
        normalised_outside=module.raw,
        size=list(size),
        dynamic_size=dynamic_size,
        transforms=[str(step) for step in transforms],
    )
    if module.raw:
        prepare = module.model.data_preprocessor
        given.update(mean=_numbers(prepare.mean), std=_numbers(prepare.std))
        given['order'] = 'RGB' if prepare.bgr_to_rgb else 'BGR'
    tasks = {name: _task(task, module.raw) for name, task in module.tasks.items()}
    return {
        'mtpeft': __version__,
        'tasks': json.dumps(tasks),
        'input': json.dumps(given),
        'precision': 'float16' if half else 'float32',
    }


def _task(task: DenseTask, raw: bool) -> Mapping[str, Any]:
    output = f'logits (B, {task.channels}, H, W) float32' if raw else _OUTPUTS[task.activation]
    known = dict(kind=task.kind, output=output, unit=task.unit if task.kind == 'values' else '')
    if task.classes is not None:
        known['classes'] = list(task.classes)
    elif task.kind == 'classes':
        known['classes'] = [str(i) for i in range(task.channels)]
    if task.kind == 'vectors':
        known['axes'] = 'camera axes, x right'
    return known


def _numbers(tensor: Any) -> list[float]:
    return [round(float(x), 6) for x in tensor.flatten()]
