"""Writing scenes in the folder layouts of the real data sets."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mtpeft.datasets.scenes.classes import CLASSES, class_numbers
from mtpeft.datasets.scenes.labels import make_label
from mtpeft.datasets.scenes.render import Rendering
from mtpeft.tasks.palettes import class_palette
from mtpeft.utils.atomic import write_atomically

Files = dict[str, Callable[[], bytes]]
# One PASCAL-Part name for each part group; left stands for both sides.
_PART_NAMES = {1: 'head', 2: 'torso', 3: 'luarm', 4: 'llarm', 5: 'luleg', 6: 'llleg'}


def pascal_files(r: Rendering, img_id: str) -> Files:
    """Path and contents of every file of a picture in the ``PASCAL_MT`` layout."""
    context = class_numbers('context').astype(np.uint16)
    colors = np.round((r.normals.astype(np.float64) + 1) / 2 * 255).astype(np.uint8)
    return {
        f'JPEGImages/{img_id}.jpg': lambda: jpeg(r.image),
        f'pascal-context/trainval/{img_id}.mat': lambda: mat(LabelMap=context[r.scene_class]),
        f'semseg/VOC12/{img_id}.png': lambda: png(make_label(r, 'semseg'), class_palette(256)),
        f'human_parts/{img_id}.mat': lambda: mat(anno=part_annotation(r, img_id)),
        f'normals_distill/{img_id}.png': lambda: png(colors),
        f'sal_distill/{img_id}.png': lambda: png(make_label(r, 'sal') * np.uint8(255)),
    }


def nyud_files(r: Rendering, img_id: str) -> Files:
    """Path and contents of every file of a picture in the ``NYUD_MT`` layout."""
    return {
        f'images/{img_id}.jpg': lambda: jpeg(r.image),
        f'segmentation/{img_id}.png': lambda: png(make_label(r, 'semseg', 'nyud') + np.uint8(1)),
        f'depth/{img_id}.npy': lambda: npy(r.depth),
        f'normals/{img_id}.npy': lambda: npy(r.normals),
        f'edge/{img_id}.npy': lambda: npy(make_label(r, 'edge')),
    }


def object_classes(r: Rendering) -> list[int]:
    """VOC classes of the things that are seen, one entry a thing."""
    return [number for _, number in _objects(r)]


def _objects(r: Rendering) -> list[tuple[int, int]]:
    """Instance and VOC class of the visible things of VOC classes."""
    instances, first = np.unique(r.instance, return_index=True)
    numbers = class_numbers('pascal')[r.scene_class.ravel()[first]]
    return [(int(i), int(n)) for i, n in zip(instances, numbers, strict=True) if n > 0]


def part_annotation(r: Rendering, img_id: str) -> np.ndarray:
    """``anno`` of PASCAL-Part: imname and objects (class, class_ind, mask, parts)."""
    found = _objects(r)
    fields = [(name, object) for name in ('class', 'class_ind', 'mask', 'parts')]
    objects = np.zeros((1, len(found)), fields)
    names = {c.pascal: c.name for c in CLASSES}
    for k, (instance, number) in enumerate(found):
        mask = r.instance == instance
        parts = [(name, mask & (r.part == part)) for part, name in _PART_NAMES.items()]
        objects[0, k] = (
            names[number], number, mask.astype(np.uint8),
            _parts([(n, m) for n, m in parts if m.any()]),
        )  # fmt: skip
    anno = np.zeros((1, 1), [('imname', object), ('objects', object)])
    anno[0, 0] = (img_id, objects)
    return anno


def _parts(named: list[tuple[str, np.ndarray]]) -> np.ndarray:
    if not named:
        return np.zeros((0, 0))
    parts = np.zeros((1, len(named)), [('part_name', object), ('mask', object)])
    for k, (name, mask) in enumerate(named):
        parts[0, k] = (name, mask.astype(np.uint8))
    return parts


def mat(**variables: np.ndarray) -> bytes:
    """A compressed MATLAB 5 file."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, variables, do_compression=True)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    """A NumPy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def png(array: np.ndarray, palette: list | None = None) -> bytes:
    """A PNG of an RGB, grey, or palette picture."""
    picture = Image.fromarray(array)
    if palette is not None:
        picture.putpalette([channel for color in palette for channel in color])
    buffer = io.BytesIO()
    picture.save(buffer, 'PNG')
    return buffer.getvalue()


def jpeg(rgb: np.ndarray) -> bytes:
    """A JPEG of high quality, colours at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, 'JPEG', quality=95, subsampling=0)
    return buffer.getvalue()


def write_picture(root: Path, files: Files) -> None:
    """Write the files that do not exist yet, each whole or not at all."""
    for name, contents in files.items():
        if not (root / name).is_file():
            write_atomically(contents(), root / name)


def write_splits(root: Path, layout: str, split: str, classes: dict[str, list[int]]) -> None:
    """Write the list of a split, and for PASCAL which objects each picture shows."""
    lines = ''.join(f'{img_id}\n' for img_id in classes).encode()
    if layout == 'nyud':
        write_atomically(lines, root / 'gt_sets' / f'{split}.txt')
        return
    write_atomically(lines, root / 'ImageSets' / 'Context' / f'{split}.txt')
    objects = json.dumps(classes).encode()
    write_atomically(objects, root / 'ImageSets' / 'Parts' / f'{split}.txt')


LAYOUTS: dict[str, Callable[[Rendering, str], Files]] = {'pascal': pascal_files, 'nyud': nyud_files}
