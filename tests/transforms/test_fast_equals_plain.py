"""Every transform, on every kind of label, against the plain formulas in plain_reference.py."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from mtpeft.datasets.vectors import unit_vectors
from mtpeft.registry import TRANSFORMS
from mtpeft.tasks import build_tasks

spec = importlib.util.spec_from_file_location(
    'plain_reference', Path(__file__).with_name('plain_reference.py')
)
plain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plain)

VALUES = dict(type='DenseTask', loss={}, metric={}, headline='', lower_is_better=True)
#: every rule that a label may have, with usual and with other ignored values
TASKS = dict(
    semseg=dict(num_classes=21), edge=dict(), sal=dict(ignore_value=254), depth=dict(),
    many=dict(type='DenseTask', kind='classes', channels=700, loss={}, metric={}, headline='',
              lower_is_better=False),
    normals=dict(), nearest_normals=dict(**VALUES, kind='vectors', channels=3,
                                         interpolation='nearest', rotation='turn_vectors'),
    minus=dict(**VALUES, kind='values', channels=1, ignore_value=-1.0, scaling='divide'),
    flow=dict(**VALUES, kind='vectors', channels=3, ignore_value=5.0, hflip='negate_x',
              rotation='turn_vectors'),
    albedo=dict(**VALUES, kind='values', channels=3),
    codes=dict(**VALUES, kind='values', channels=6),
)  # fmt: skip
CASES = [
    ('flip', dict(prob=1.0)), ('flip', dict(prob=0.0)),
    ('scale_rotate', dict()), ('scale_rotate', dict(angles=(90, 90), scales=(1, 1))),
    ('scale_rotate', dict(angles=(0, 0), scales=(0.5, 0.5), img_fill=(1, 2, 3), outside='zero',
                          interpolation='cubic')),
    ('scale_crop', dict()), ('scale_crop', dict(window='centre', interpolation='cubic')),
    ('resize', dict(size=(53, 40))), ('resize', dict(size=(19, 96), nearest='corner')),
    ('resize', dict(size=(64, 30), keep_ratio=True, interpolation='area',
                    label_interpolation=dict(depth='nearest', normals='nearest'))),
    ('resize', dict(size=(33, 33), labels=False)),
    ('crop', dict(size=(20, 31))), ('pad', dict(size=(60, 70), img_fill=7)),
]  # fmt: skip
NAMES = dict(flip='MTRandomFlip', scale_rotate='MTRandomScaleRotate', resize='MTResize',
             scale_crop='MTRandomScaleCrop', crop='MTRandomCrop', pad='MTPad')  # fmt: skip


def a_label(task, size, holes, rng):
    """Blocks of classes, or smooth values with steps; ignored in ``holes``."""
    if task.kind in ('classes', 'binary'):
        highest = min(2 if task.kind == 'binary' else task.channels, 65535)
        kind = np.uint16 if highest > 255 else np.uint8
        label = rng.integers(0, highest, (-(-size[0] // 5), -(-size[1] // 4))).astype(kind)
        label = label.repeat(5, 0).repeat(4, 1)[: size[0], : size[1]].copy()
    else:
        shape = size if task.channels == 1 else (*size, task.channels)
        label = rng.uniform(1, 8, shape) * np.where(rng.random(shape) < 0.1, 1.5, 1)
        if task.kind == 'vectors':
            label = rng.normal(size=shape)
            label /= np.linalg.norm(label, axis=-1, keepdims=True)
        label = label.astype(np.float32)
    label[holes] = task.ignore_value
    return label


def a_sample(size, holes='some', seed=0, without=(), channels=3):
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, bool)
    if holes == 'some':
        mask = rng.random(size) < 0.2
        mask[size[0] // 3 : size[0] // 2] = True
    elif holes == 'all':
        mask[:] = True
    tasks = build_tasks(TASKS)
    return dict(
        img=rng.integers(0, 256, (*size, channels), dtype=np.uint8), tasks=tasks, img_path='x',
        labels={n: a_label(t, size, mask, rng) for n, t in tasks.items() if n not in without},
    )  # fmt: skip


def assert_same(fast, slow):
    np.testing.assert_array_equal(fast['img'], slow['img'])
    assert fast['img'].dtype == slow['img'].dtype
    assert fast.get('flip') == slow.get('flip')
    assert list(fast['labels']) == list(slow['labels'])
    for name, expected in slow['labels'].items():
        label, task = fast['labels'][name], slow['tasks'][name]
        assert label.dtype == expected.dtype and label.shape == expected.shape, name
        if task.kind in ('classes', 'binary'):
            np.testing.assert_array_equal(label, expected, err_msg=name)
            continue
        axis = -1 if label.ndim == 3 else None
        np.testing.assert_array_equal(
            task.valid(label, axis), task.valid(expected, axis), err_msg=name
        )
        np.testing.assert_allclose(label, expected, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize('size', [(41, 37), (1, 9), (48, 64)])
@pytest.mark.parametrize('holes', ['none', 'some', 'all'])
@pytest.mark.parametrize(('name', 'options'), CASES)
def test_a_transform_is_the_plain_one(name, options, size, holes):
    for seed in range(2):
        sample = a_sample(size, holes, seed, without=('edge', 'albedo') if seed else ())
        before = {k: v.copy() for k, v in sample['labels'].items()}
        np.random.seed(seed)
        slow = getattr(plain, name)(sample, **options)
        np.random.seed(seed)
        fast = TRANSFORMS.build(dict(type=NAMES[name], **options))(
            {**sample, 'labels': dict(sample['labels'])}
        )
        assert_same(fast, slow)
        for key, label in before.items():  # what was given is not written into
            np.testing.assert_array_equal(sample['labels'][key], label)


PASCAL = [('flip', {}), ('scale_rotate', {}), ('resize', dict(size=(32, 33))),
          ('flip', dict(prob=1.0))]  # fmt: skip
NYUD = [('flip', {}), ('scale_crop', {}), ('crop', dict(size=(30, 35))),
        ('resize', dict(size=(28, 45))), ('pad', dict(size=(40, 50)))]  # fmt: skip


@pytest.mark.parametrize('steps', [PASCAL, NYUD], ids=['pascal', 'nyud'])
@pytest.mark.parametrize('seed', range(4))
def test_a_pipeline_is_the_plain_one_to_the_packed_sample(steps, seed):
    """What one fast transform hands the next is in other memory, which must not matter."""
    slow = a_sample((37, 50), seed=seed, channels=3 + seed % 2)
    fast = {**slow, 'labels': {n: label.copy() for n, label in slow['labels'].items()}}
    np.random.seed(seed)
    for name, options in steps:
        slow = getattr(plain, name)(slow, **options)
    np.random.seed(seed)
    for name, options in [*((NAMES[n], o) for n, o in steps), ('PackMultiTaskInputs', {})]:
        if name.startswith('Pack'):  # which takes colours of 8 bits, or other numbers of channels
            fast['img'], slow['img'] = fast['img'][..., :3], slow['img'][..., :3]
        fast = TRANSFORMS.build(dict(type=name, **options))(fast)
    img, labels = plain.packed(slow)
    np.testing.assert_array_equal(fast['inputs'].numpy(), img)
    assert fast['inputs'].is_contiguous()
    found = fast['data_samples'].gt
    assert set(found) == set(labels)
    for name, expected in labels.items():
        assert found[name].is_contiguous()
        if expected.dtype == np.int64:
            np.testing.assert_array_equal(found[name].numpy(), expected, err_msg=name)
        else:
            np.testing.assert_allclose(found[name].numpy(), expected, rtol=1e-5, atol=2e-6)


def test_values_that_are_not_finite_are_invalid_as_before():
    sample = a_sample((30, 40), 'some')
    for name in ('depth', 'normals', 'minus', 'codes'):
        sample['labels'][name][4:9, 7:20] = np.nan
        sample['labels'][name][12, 3:9] = np.inf
    for name, options in (('scale_rotate', {}), ('resize', dict(size=(22, 53)))):
        np.random.seed(0)
        slow = getattr(plain, name)(sample, **options)
        np.random.seed(0)
        fast = TRANSFORMS.build(dict(type=NAMES[name], **options))(
            {**sample, 'labels': dict(sample['labels'])}
        )
        assert_same(fast, slow)


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.float32, np.float64])
def test_unit_vectors_are_the_plain_ones(kind):
    rng = np.random.default_rng(0)
    array = rng.uniform(-0.6, 0.6, (19, 23, 3))
    array[3:6, 4:9] = 0.02
    if kind in (np.uint8, np.uint16):
        array = np.round((array + 1) / 2 * np.iinfo(kind).max)
    array = array.astype(kind)
    vectors = unit_vectors(array, 'x.png')
    np.testing.assert_allclose(vectors, plain.unit_vectors(array), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(vectors.any(-1), plain.unit_vectors(array).any(-1))
    assert vectors.dtype == np.float32 and not vectors[4, 5].any()


def test_one_row_of_opencv_is_one_row_of_the_plane():
    """A strided window, as a crop leaves it, is what OpenCV is given in the end."""
    base = np.arange(12 * 9, dtype=np.float32).reshape(12, 9)
    window = base[2:9, 1:8]
    assert not window.flags.c_contiguous
    results = dict(img=np.zeros((7, 7, 3), np.uint8), labels=dict(depth=window),
                   tasks=build_tasks(['depth']))  # fmt: skip
    resized = TRANSFORMS.build(dict(type='MTResize', size=(14, 14)))(results)['labels']['depth']
    expected = cv2.resize(window.copy(), (14, 14), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resized, expected, rtol=1e-6)
