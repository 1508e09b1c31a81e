"""The transforms and readers as plain formulas over whole arrays: what the fast ones must equal.

These are the transforms of mtpeft before they ran plane by plane (2026-11-30). Each takes a results
dict and gives a new one; random draws come in the same order from NumPy's global generator.
"""

import dataclasses

import cv2
import numpy as np

MODES = {'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC, 'area': cv2.INTER_AREA}
NEAREST = {'centre': cv2.INTER_NEAREST_EXACT, 'corner': cv2.INTER_NEAREST}


def flip(results, prob=0.5):
    if np.random.rand() >= prob:
        return {**results, 'flip': False}

    def mirror(label, task):
        flipped = label[:, ::-1].copy()
        if task.hflip == 'negate_x':
            flipped[task.valid(flipped, -1), 0] *= -1
        return flipped

    return changed(results, results['img'][:, ::-1], mirror, flip=True)


def scale_rotate(results, angles=(-20, 20), scales=(0.75, 1.25), img_fill=0, outside='ignore',
                 interpolation='linear'):  # fmt: skip
    img = results['img']
    size = img.shape[:2]
    centre = ((size[1] - 1) / 2, (size[0] - 1) / 2)
    angle, scale = np.random.uniform(*angles), np.random.uniform(*scales)
    matrix = cv2.getRotationMatrix2D(centre, angle, scale)
    fill = np.broadcast_to(np.atleast_1d(img_fill).astype(float), img.shape[2]).tolist()
    colours = 3 if img.shape[2] >= 3 else 0
    parts = [slice(colours)] * bool(colours)
    parts += [slice(i, i + 1) for i in range(colours, img.shape[2])]
    moved = [
        cv2.warpAffine(
            np.ascontiguousarray(img[..., part]), matrix, size[::-1], flags=MODES[interpolation],
            borderValue=tuple(fill[part]),
        ).reshape(*size, -1)
        for part in parts
    ]  # fmt: skip
    zero = outside == 'zero'

    def warp_label(label, task):
        def warp(array, nearest):
            classes = task.kind in ('classes', 'binary')
            value = 0 if classes and zero else task.ignore_value
            return cv2.warpAffine(
                array, matrix, size[::-1], flags=cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT, borderValue=(value,) * 4 if nearest else 0,
            )  # fmt: skip

        turned = resample(label, task, warp)
        linear = matrix[:, :2]
        by = float(np.sqrt(np.linalg.det(linear)))
        return scale_values(turn(turned, task, linear / by), task, by)

    return changed(results, np.concatenate(moved, -1), warp_label)


def scale_crop(results, scales=(1.0, 1.2, 1.5), window='random', interpolation='linear'):
    height, width = results['img'].shape[:2]
    scale = scales[np.random.randint(len(scales))]
    size = round(height * scale), round(width * scale)
    rooms = size[0] - height, size[1] - width
    top, left = (r // 2 if window == 'centre' else np.random.randint(r + 1) for r in rooms)
    place = slice(top, top + height), slice(left, left + width)
    large = cv2.resize(results['img'], size[::-1], interpolation=MODES[interpolation])
    return changed(
        results, large.reshape(*size, -1)[place],
        lambda label, task: scale_values(resize_label(label, task, size)[place], task, scale),
    )  # fmt: skip


def resize(results, size, keep_ratio=False, interpolation='linear', labels=True,
           label_interpolation=(), nearest='centre'):  # fmt: skip
    img = results['img']
    size = (size, size) if isinstance(size, int) else tuple(size)
    if keep_ratio:
        scale = min(size[0] / img.shape[0], size[1] / img.shape[1])
        size = tuple(max(round(side * scale), 1) for side in img.shape[:2])
    if img.shape[:2] != size:
        resized = cv2.resize(img, size[::-1], interpolation=MODES[interpolation])
        img = resized.reshape(*size, img.shape[2])

    def resized_label(label, task):
        mode = dict(label_interpolation).get(task.name, task.interpolation)
        return resize_label(label, dataclasses.replace(task, interpolation=mode), size, nearest)

    return changed(results, img, resized_label if labels else lambda label, task: label)


def crop(results, size):
    window = []
    for length, wanted in zip(results['img'].shape[:2], size, strict=True):
        start = np.random.randint(max(length - wanted, 0) + 1)
        window.append(slice(start, start + wanted))
    window = tuple(window)
    return changed(results, results['img'][window], lambda label, task: label[window])


def pad(results, size, img_fill=0):
    img = results['img']
    bottom, right = (max(w - n, 0) for w, n in zip(size, img.shape[:2], strict=True))

    def padded(array, value):
        sides = ((0, bottom), (0, right)) + ((0, 0),) * (array.ndim - 2)
        return np.pad(array, sides, constant_values=value)

    return changed(
        results, padded(img, img_fill), lambda label, task: padded(label, task.ignore_value)
    )


def packed(results):
    """The picture and the labels as a sample holds them, ``(C, H, W)``."""
    labels = {}
    for name, label in results['labels'].items():
        first = label[None] if label.ndim == 2 else label.transpose(2, 0, 1)
        whole = results['tasks'][name].kind in ('classes', 'binary')
        labels[name] = first.astype(np.int64 if whole else np.float32)
    return results['img'].transpose(2, 0, 1), labels


def unit_vectors(array):
    """Unit vectors of ``(H, W, 3)`` values or colours, 0 where shorter than 1/10."""
    if array.dtype in (np.uint8, np.uint16):
        array = array.astype(np.float32) * (2 / np.iinfo(array.dtype).max) - 1
    array = array.astype(np.float32)
    length = np.linalg.norm(array, axis=-1, keepdims=True)
    return np.where(length > 0.1, array / np.maximum(length, 0.1), 0).astype(np.float32)


def changed(results, img, change, **more):
    labels = {
        name: np.ascontiguousarray(change(label, results['tasks'][name]))
        for name, label in results['labels'].items()
    }
    return {**results, 'img': np.ascontiguousarray(img), 'img_shape': img.shape[:2],
            'labels': labels, **more}  # fmt: skip


def resize_label(label, task, size, nearest='centre'):
    def move(array, is_nearest):
        mode = NEAREST[nearest] if is_nearest else cv2.INTER_LINEAR
        return cv2.resize(array, size[::-1], interpolation=mode)

    return label if label.shape[:2] == size else resample(label, task, move)


def resample(label, task, move):
    """Linear values are sums over valid pixels by their weights; invalid below weight 1/2."""
    if task.interpolation == 'nearest':
        return by_channels(label, lambda part: move(part, True))
    axis = -1 if label.ndim == 3 else None
    valid = task.valid(label, axis)
    known = np.where(valid[..., None] if axis else valid, label, 0).astype(np.float32)
    weight = move(valid.astype(np.float32), False)
    total = by_channels(known, lambda part: move(part, False))
    kept = weight >= 0.5
    if axis:
        weight = weight[..., None]
    values = total / np.maximum(weight, 0.5)
    if task.kind == 'vectors':
        length = np.linalg.norm(values, axis=-1)
        kept = kept & (length > 1e-3)
        values = values / np.maximum(length, 1e-3)[..., None]
    values[~kept] = task.ignore_value
    return values.astype(label.dtype)


def turn(label, task, rotation):
    if task.rotation != 'turn_vectors':
        return label
    turned = label.copy()
    turned[..., :2] = label[..., :2] @ rotation.T.astype(label.dtype)
    turned[~task.valid(label, -1)] = task.ignore_value
    return turned


def scale_values(label, task, scale):
    if task.scaling != 'divide':
        return label
    valid = task.valid(label, -1 if label.ndim == 3 else None)
    return np.where(valid[..., None] if label.ndim == 3 else valid, label / scale, label).astype(
        label.dtype
    )


def by_channels(array, move):
    if array.ndim == 2 or array.shape[-1] <= 4:
        return move(array)
    return np.stack([move(np.ascontiguousarray(c)) for c in np.moveaxis(array, -1, 0)], -1)
